"""Words with tags, in the files of CoNLL's shared tasks and their like."""

import dataclasses
import gzip
import itertools
import pathlib
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from etils import epath

from bert_jax.data.summary import Summary

SEPARATOR = re.compile('[ \t]+')
TYPED = re.compile('[BIESLU]-.+')
MARKS = frozenset('OBIESLU')
IOBES = str.maketrans('LU', 'ES')  # what BILOU calls otherwise
FORMAT = 'expected a line for each word, the word first and its tag last'


@dataclasses.dataclass(frozen=True)
class Sentence:
    """where: path:line of its first word."""

    words: list[str]
    tags: list[str] | None
    where: str


class Scheme(NamedTuple):
    """name: BIO, IOB1, IOBES, BILOU, or plain for tags that mark no entities.

    ill_formed: tags that may not follow the one before them, or not be followed by the next.
    """

    name: str
    ill_formed: int


def read(
    path: str | pathlib.Path, *, tagged: bool | None = True, summary: Summary | None = None
) -> list[Sentence]:
    """The sentences of a CoNLL file, which blank lines end; .gz is read too.

    Columns are separated by spaces or tabs; what lies between the word and its tag is not read.
    -DOCSTART- lines and comments (`# ...` before a sentence) are left out, and counted in
    `summary`, as ill-formed tags are. With tagged=False a file may have words only, and tags are
    not read; with None they are where lines have more than a word. Raises ValueError, with file
    and line, for all else.
    """
    path, summary = pathlib.Path(path).expanduser(), summary or Summary()
    lines = _lines(path)
    certain = [SEPARATOR.split(line) for line in lines if line and not line.startswith('# ')]
    width = next((len(columns) for columns in certain if columns[0] != '-DOCSTART-'), 1)
    tagged = width > 1 if tagged is None else tagged
    known = {columns[-1] for columns in certain}
    sentences: list[Sentence] = []
    first: dict[str, str] = {}  # tag -> where it was seen first
    inside = False
    for number, line in enumerate(lines, 1):
        columns, where = SEPARATOR.split(line), f'{path}:{number}'
        if not line or columns[0] == '-DOCSTART-':
            inside = False
            if line:
                summary.count('-DOCSTART- lines, left out', where)
            continue
        if not inside and line.startswith('# ') and not _is_word(columns, width, known):
            summary.count('comment lines, left out', where)
            continue
        if tagged and len(columns) == 1:
            raise ValueError(f'{where} has a word without a tag, {line[:80]!r}; {FORMAT}')
        if len(columns) != width:
            raise ValueError(
                f'{where} has {len(columns)} columns, {line[:80]!r}, and the lines before it have '
                f'{width}; {FORMAT}, with spaces or tabs between columns and nowhere else'
            )
        if not inside:
            sentences.append(Sentence([], [] if tagged else None, where))
            inside = True
        sentences[-1].words.append(columns[0])
        if tagged and (tags := sentences[-1].tags) is not None:
            tags.append(columns[-1])
            first.setdefault(columns[-1], where)
    _check(path, sentences, width)
    _check_tags(path, first)
    if tagged and (found := scheme([s.tags or [] for s in sentences])).ill_formed:
        what = f'ill-formed {found.name} tags, read as conlleval does'
        summary.count(what, number=found.ill_formed)
    return sentences


def write(
    sentences: Sequence[Sentence], tags: Sequence[Sequence[str]], path: epath.PathLike
) -> None:
    """A CoNLL file of the words with these tags, word TAB tag; `read` reads it back."""
    blocks = []
    for sentence, names in zip(sentences, tags, strict=True):
        for word in sentence.words:
            if not word or set(word) & set(' \t\n') or word == '-DOCSTART-':
                raise ValueError(f'{sentence.where}: {word!r} can not stand in a CoNLL file')
        pairs = zip(sentence.words, names, strict=True)
        blocks.append(''.join(f'{word}\t{tag}\n' for word, tag in pairs))
    epath.Path(path).write_bytes('\n'.join(blocks).encode())


def scheme(tags: Iterable[Sequence[str]]) -> Scheme:
    """What kind of tags sentences have; an I- that begins an entity is right in IOB1 alone, which
    has a B- only right after an entity of the same type."""
    tags = list(tags)
    distinct = set(itertools.chain.from_iterable(tags))
    if not _marks_entities(distinct):
        return Scheme('plain', 0)
    pairs = [pair for s in tags for pair in zip(['O', *s], [*s, 'O'], strict=True)]
    follows = [a != 'O' and b != 'O' and a[1:] == b[1:] for a, b in pairs]
    marks = [(a[0].translate(IOBES), b[0].translate(IOBES)) for a, b in pairs]
    if {tag[0] for tag in distinct} & set('ESLU'):
        ill = 0
        for (a, b), same in zip(marks, follows, strict=True):
            opened, goes_on = a in 'BI', b in 'IE'
            ill += (opened or goes_on) and not (opened and goes_on and same)
        return Scheme('BILOU' if {tag[0] for tag in distinct} & set('LU') else 'IOBES', ill)
    loose = [b for (_, b), same in zip(marks, follows, strict=True) if not same]
    if 'I' in loose and 'B' not in loose:
        return Scheme('IOB1', 0)
    return Scheme('BIO', loose.count('I'))


def label_names(sentences: Sequence[Sentence]) -> list[str]:
    """The tags that occur, O first, the others sorted; a label's id is its place."""
    found = set(itertools.chain.from_iterable(map(_tags, sentences)))
    return ['O', *sorted(found - {'O'})]


def _lines(path: pathlib.Path) -> list[str]:
    """Without what surrounds them; only newlines end them, not what Unicode has of the kind."""
    if not path.is_file():
        raise ValueError(f'{path} is no file; {FORMAT}')
    data = path.read_bytes()
    try:
        data = gzip.decompress(data) if path.suffix == '.gz' else data
        text = data.decode('utf-8')
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f'{path} is damaged ({error}); replace it') from error
    except UnicodeDecodeError as error:
        line = data.count(b'\n', 0, error.start) + 1
        raise ValueError(
            f'{path}:{line} is not UTF-8 ({error.reason} {data[error.start]:#x}); convert the file'
        ) from error
    return [line.strip(' \t\r') for line in text.removeprefix('\ufeff').split('\n')]


def _is_word(columns: list[str], width: int, known: set[str]) -> bool:
    """Of a line that starts with `# `: the word # has as many columns as others, and a tag."""
    return len(columns) == width and columns[-1] in known


def _check(path: pathlib.Path, sentences: list[Sentence], width: int) -> None:
    if not sentences:
        raise ValueError(f'{path} has no sentence; {FORMAT}')
    numbered = all(s.words == [str(i + 1) for i in range(len(s.words))] for s in sentences)
    if width > 2 and numbered:
        raise ValueError(f'{path}: the first column numbers the words; {FORMAT}')


def _check_tags(path: pathlib.Path, first: dict[str, str]) -> None:
    if not _marks_entities(set(first)):
        return
    typed = any(map(TYPED.fullmatch, first))
    for tag, where in first.items():
        if tag != 'O' and not (TYPED.fullmatch(tag) if typed else tag in MARKS):
            raise ValueError(
                f'{where} has the tag {tag!r}, and others are of the form B-TYPE; expected O, '
                'or B-, I-, E-, S- (in BILOU B-, I-, L-, U-) and a type'
            )
    places = {tag[0]: where for tag, where in first.items()}
    if places.keys() & set('ES') and places.keys() & set('LU'):
        both = ', '.join(f'{mark}- in {where}' for mark, where in places.items() if mark in 'ESLU')
        raise ValueError(f'{path} mixes tags of IOBES and BILOU ({both}); choose one of them')


def _marks_entities(distinct: set[str]) -> bool:
    """B-TYPE and its like, or bare B, I and O; others are tags of words, as parts of speech."""
    return any(map(TYPED.fullmatch, distinct)) or distinct <= MARKS


def _tags(sentence: Sentence) -> list[str]:
    if sentence.tags is None:
        raise ValueError(f'{sentence.where} has no tags; read the file with its tags')
    return sentence.tags

"""Sentences of words with tags: files of CoNLL's shared tasks and their like, and jsonl."""

import dataclasses
import itertools
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from etils import epath

from bert_jax.data import files
from bert_jax.data.labelled import examples
from bert_jax.data.summary import Summary

SEPARATOR = re.compile('[ \t]+')
TYPED = re.compile('[BIESLU]-.+')
MARKS = frozenset('OBIESLU')
IOBES = str.maketrans('LU', 'ES')  # BILOU's marks by their names in IOBES
FORMAT = 'expected a line for each word, the word first and its tag last'


@dataclasses.dataclass(frozen=True)
class Sentence:
    """where: path:line of its first word, or of its object in a jsonl file."""

    words: list[str]
    tags: list[str] | None
    where: str


class Scheme(NamedTuple):
    """name: BIO, IOB1, IOBES, BILOU, or plain for tags that don't mark entities.

    ill_formed: the number of tags that may not follow the tag before them, or may not be followed
    by the next.
    """

    name: str
    ill_formed: int


def read(
    path: str | os.PathLike[str], *, tagged: bool | None = True, summary: Summary | None = None
) -> list[Sentence]:
    """The sentences of a file, as `iter_file` gives them, with their tags checked.

    `summary` counts ill-formed tags too. Raises ValueError, with file and line, for tags of which
    some mark entities and others don't, and for tags of both IOBES and BILOU.
    """
    summary = summary or Summary()
    sentences = list(iter_file(path, tagged=tagged, summary=summary))
    tags = [sentence.tags for sentence in sentences if sentence.tags is not None]
    if tags and (found := _checked_scheme(str(path), sentences, tags)).ill_formed:
        what = f'ill-formed {found.name} tags, read as conlleval does'
        summary.count(what, number=found.ill_formed)
    return sentences


def iter_file(
    path: str | os.PathLike[str], *, tagged: bool | None = True, summary: Summary | None = None
) -> Iterator[Sentence]:
    """The sentences of a .jsonl file, a line at a time, or of a CoNLL file, which is read whole.

    A line of jsonl is an object with `words` and, for tags, `tags`: lists of strings of the same
    length. In a CoNLL file a line is a word and a blank line ends a sentence; columns are
    separated by spaces or tabs, and those between the word and its tag are not read. -DOCSTART-
    lines and comments (`# ...` before a sentence) are left out and counted in `summary`. With
    tagged=False tags are neither needed nor read; with None they are read if the first word has
    one. Raises ValueError, with file and line, for whatever is not a sentence of words.
    """
    path = pathlib.Path(path).expanduser()
    suffix = files.kind(path)[0]
    if suffix == '.json':
        raise ValueError(f'{path} is not a CoNLL file by its name, nor .jsonl; {FORMAT}')
    if suffix == '.jsonl':
        sentences = _jsonl(path, tagged)
    else:
        sentences = iter(_columns(path, tagged, summary or Summary()))
    empty = True
    for sentence in sentences:
        empty = False
        yield sentence
    if empty:
        raise ValueError(f'{path} has no sentence; {FORMAT}')


def write(
    sentences: Sequence[Sentence], tags: Sequence[Sequence[str]], path: epath.PathLike
) -> None:
    """Writes a CoNLL file of the words with these tags, word TAB tag; `read` reads it back."""
    blocks = []
    for sentence, names in zip(sentences, tags, strict=True):
        for word in sentence.words:
            if not word or set(word) & set(' \t\n') or word == '-DOCSTART-':
                raise ValueError(f'{sentence.where}: a CoNLL file can not hold the word {word!r}')
        pairs = zip(sentence.words, names, strict=True)
        blocks.append(''.join(f'{word}\t{tag}\n' for word, tag in pairs))
    epath.Path(path).write_bytes('\n'.join(blocks).encode())


def scheme(tags: Iterable[Sequence[str]]) -> Scheme:
    """The scheme of the tags of sentences. Only IOB1 has entities that begin with I-; its B- stands
    only right after an entity of the same type."""
    tags = list(tags)
    distinct = set(itertools.chain.from_iterable(tags))
    if not mark_entities(distinct):
        return Scheme('plain', 0)
    pairs = [pair for s in tags for pair in zip(['O', *s], [*s, 'O'], strict=True)]
    same_type = [a != 'O' and b != 'O' and a[1:] == b[1:] for a, b in pairs]
    marks = [(a[0].translate(IOBES), b[0].translate(IOBES)) for a, b in pairs]
    if {tag[0] for tag in distinct} & set('ESLU'):
        ill_formed = 0
        for (a, b), same in zip(marks, same_type, strict=True):
            opened, continues = a in 'BI', b in 'IE'
            ill_formed += (opened or continues) and not (opened and continues and same)
        return Scheme('BILOU' if {tag[0] for tag in distinct} & set('LU') else 'IOBES', ill_formed)
    first = [b for (_, b), same in zip(marks, same_type, strict=True) if not same]
    if 'I' in first and 'B' not in first:
        return Scheme('IOB1', 0)
    return Scheme('BIO', first.count('I'))


def label_names(sentences: Sequence[Sentence]) -> list[str]:
    """The tags that occur, O first and the others sorted; a label's id is its index."""
    for sentence in sentences:
        if sentence.tags is None:
            raise ValueError(f'{sentence.where} has no tags; read the file with its tags')
    found = {tag for sentence in sentences for tag in sentence.tags or ()}
    return ['O', *sorted(found - {'O'})]


def mark_entities(distinct: set[str]) -> bool:
    """Whether tags are of the form B-TYPE, or bare B, I and O. Others are tags of words alone, as
    parts of speech."""
    return any(map(TYPED.fullmatch, distinct)) or distinct <= MARKS


def _jsonl(path: pathlib.Path, tagged: bool | None) -> Iterator[Sentence]:
    for record, where in examples.records(path, 'words'):
        words = _strings(record, 'words', where)
        with_tags = 'tags' in record if tagged is None else tagged
        tags = _strings(record, 'tags', where) if with_tags else None
        if tags is not None and len(tags) != len(words):
            raise ValueError(f"{where} has {len(words)} 'words' and {len(tags)} 'tags'")
        yield Sentence(words, tags, where)


def _strings(record: dict, name: str, where: str) -> list[str]:
    values = record.get(name)
    if not isinstance(values, list) or not values:
        raise ValueError(f'{where}: {name!r} is {values!r:.60}; expected a list of strings')
    if '' in values:
        raise ValueError(f'{where} has an empty string in {name!r}; remove it')
    return [examples.characters(value, name, where) for value in values]


def _columns(path: pathlib.Path, tagged: bool | None, summary: Summary) -> list[Sentence]:
    lines = [line.strip(' \t\r\n') for line in files.lines(path)]
    certain = [SEPARATOR.split(line) for line in lines if line and not line.startswith('# ')]
    width = next((len(columns) for columns in certain if columns[0] != '-DOCSTART-'), 1)
    tagged = width > 1 if tagged is None else tagged
    known = {columns[-1] for columns in certain}
    sentences: list[Sentence] = []
    inside = False
    for number, line in enumerate(lines, 1):
        columns, where = SEPARATOR.split(line), f'{path}:{number}'
        if not line or columns[0] == '-DOCSTART-':
            inside = False
            if line:
                summary.count('-DOCSTART- lines, left out', where)
            continue
        # The word # has as many columns as other words, and a tag that others have.
        is_word = len(columns) == width and columns[-1] in known
        if not inside and line.startswith('# ') and not is_word:
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
        if (tags := sentences[-1].tags) is not None:
            tags.append(columns[-1])
    numbered = all(s.words == [str(i + 1) for i in range(len(s.words))] for s in sentences)
    if width > 2 and sentences and numbered:
        raise ValueError(f'{path}: the first column numbers the words; {FORMAT}')
    return sentences


def _checked_scheme(path: str, sentences: Sequence[Sentence], tags: list[list[str]]) -> Scheme:
    first: dict[str, str] = {}  # tag -> where it occurs first
    for sentence in sentences:
        for i, tag in enumerate(sentence.tags or ()):
            if tag not in first:
                file, _, line = sentence.where.rpartition(':')
                first[tag] = sentence.where if '.jsonl' in file else f'{file}:{int(line) + i}'
    typed = any(map(TYPED.fullmatch, first))
    for tag, where in first.items() if mark_entities(set(first)) else ():
        if tag != 'O' and not (TYPED.fullmatch(tag) if typed else tag in MARKS):
            raise ValueError(
                f'{where} has the tag {tag!r}, and others are of the form B-TYPE; expected O, '
                'or B-, I-, E-, S- (in BILOU B-, I-, L-, U-) and a type'
            )
    found = scheme(tags)
    marks = {tag[0]: where for tag, where in first.items()}
    if found.name == 'BILOU' and marks.keys() & set('ES'):
        both = ', '.join(f'{mark}- in {where}' for mark, where in marks.items() if mark in 'ESLU')
        raise ValueError(f'{path} mixes tags of IOBES and BILOU ({both}); choose one of them')
    return found

"""Sentences of words with tags: CoNLL files and .jsonl files."""

import dataclasses
import itertools
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath

from bert_jax.data import files
from bert_jax.data.labelled import examples
from bert_jax.data.labelled.bad_rows import OnError, each
from bert_jax.data.summary import Summary

SEPARATOR = re.compile('[ \t]+')
TYPED = re.compile('[BIESLU]-.+')
MARKS = frozenset('OBIESLU')
IOBES = str.maketrans('LU', 'ES')  # the marks of BILOU -> those of IOBES
FORMAT = 'expected a line for each word, with the word first and its tag last'


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A sentence. where: 'path:line' of its first word or, in a .jsonl file, of its object.
    columns: all values of that object, if the caller asked for them."""

    words: list[str]
    tags: list[str] | None
    where: str
    columns: Mapping[str, Any] | None = None


class Scheme(NamedTuple):
    """A scheme of tags.

    name: BIO, IOB1, IOBES or BILOU, or plain for tags that do not mark entities. ill_formed: the
    number of tags that may not stand beside the tag before or after them.
    """

    name: str
    ill_formed: int


def read(
    path: str | os.PathLike[str], *, tagged: bool | None = True, summary: Summary | None = None
) -> list[Sentence]:
    """The sentences of a file, as `iter_file` reads them, with their tags checked.

    `summary` counts ill-formed tags too. Raises ValueError, with file and line, if only some of the
    tags mark entities, and if tags of IOBES and of BILOU are mixed.
    """
    summary = summary or Summary()
    sentences = list(iter_file(path, tagged=tagged, summary=summary))
    _check_tags(str(path), sentences)
    name, ill_formed = scheme([sentence.tags or [] for sentence in sentences])
    if ill_formed:
        summary.count(f'ill-formed {name} tags, read as conlleval does', number=ill_formed)
    return sentences


def iter_file(
    path: str | os.PathLike[str],
    *,
    tagged: bool | None = True,
    summary: Summary | None = None,
    columns: bool = False,
    on_error: OnError | None = None,
) -> Iterator[Sentence]:
    """Reads the sentences of a .jsonl file one by one, or a CoNLL file as a whole.

    A line of .jsonl is an object with `words` and, for tags, `tags`: two lists of strings of the
    same length. A line of a CoNLL file is a word and its tag, in the first and the last of several
    columns, which spaces or tabs separate; a blank line ends a sentence. -DOCSTART- lines and
    comments (`# ...` before a sentence) are left out and counted in `summary`. tagged: whether to
    read tags; None reads them if the first word has one. columns: whether a sentence of a .jsonl
    file has all values of its object. Raises ValueError, with file and line, for any other line,
    unless `on_error` is given (see `bad_rows.each`).
    """
    path = pathlib.Path(path).expanduser()
    suffix = files.kind(path)[0]
    if suffix == '.json':
        raise ValueError(f'{path}: expected a .jsonl file or a CoNLL file, not .json; {FORMAT}')
    empty = True
    if suffix == '.jsonl':
        read = _jsonl(path, tagged, columns, on_error)
    else:
        read = _columns(path, tagged, summary or Summary(), on_error)
    for sentence in read:
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
                raise ValueError(f'{sentence.where}: a CoNLL file cannot hold the word {word!r}')
        pairs = zip(sentence.words, names, strict=True)
        blocks.append(''.join(f'{word}\t{tag}\n' for word, tag in pairs))
    epath.Path(path).write_bytes('\n'.join(blocks).encode())


def scheme(tags: Iterable[Sequence[str]]) -> Scheme:
    """The scheme of the tags of sentences.

    In IOB1 an entity begins with I-, or with B- directly after an entity of the same type. In all
    other schemes it never begins with I-.
    """
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
    """The tags that occur, O first and the others sorted; the id of a label is its index."""
    tags = {tag for sentence in sentences for tag in sentence.tags or ()}
    return ['O', *sorted(tags - {'O'})]


def mark_entities(tags: set[str]) -> bool:
    """Whether tags mark entities. If so, some have the form B-TYPE, or all are single marks, such
    as B. Other tags, such as parts of speech, belong to single words."""
    return any(map(TYPED.fullmatch, tags)) or tags <= MARKS


def _jsonl(
    path: pathlib.Path, tagged: bool | None, columns: bool, on_error: OnError | None
) -> Iterator[Sentence]:
    def sentence(found: tuple[dict[str, Any], str]) -> Sentence:
        record, where = found
        words = _strings(record, 'words', where)
        with_tags = 'tags' in record if tagged is None else tagged
        tags = _strings(record, 'tags', where) if with_tags else None
        if tags is not None and len(tags) != len(words):
            raise ValueError(f"{where} has {len(words)} 'words' and {len(tags)} 'tags'")
        return Sentence(words, tags, where, record if columns else None)

    yield from each(examples.records(path, 'words', on_error), sentence, on_error)


def _strings(record: dict, name: str, where: str) -> list[str]:
    values = record.get(name)
    if not isinstance(values, list) or not values:
        raise ValueError(f'{where}: {name!r} is {values!r:.60}; expected a list of strings')
    if '' in values:
        raise ValueError(f'{where} has an empty string in {name!r}; remove it')
    return [examples.characters(value, name, where) for value in values]


def _columns(
    path: pathlib.Path, tagged: bool | None, summary: Summary, on_error: OnError | None
) -> Iterator[Sentence]:
    lines = [line.strip(' \t\r\n') for line in files.lines(path)]
    certain = [SEPARATOR.split(line) for line in lines if line and not line.startswith('# ')]
    words = [columns for columns in certain if columns[0] != '-DOCSTART-']
    width = len(words[0]) if words else 1
    tagged = width > 1 if tagged is None else tagged
    known_tags = {columns[-1] for columns in certain}
    blocks: list[list[tuple[int, list[str]]]] = [[]]  # (number of the line, columns) of each word
    for number, line in enumerate(lines, 1):
        columns = SEPARATOR.split(line)
        if not line or columns[0] == '-DOCSTART-':
            blocks += [[]] if blocks[-1] else []
            if line:
                summary.count('-DOCSTART- lines, left out', f'{path}:{number}')
            continue
        # A line with the word '#' has as many columns as the others, and a tag that others have.
        is_word = len(columns) == width and columns[-1] in known_tags
        if not blocks[-1] and line.startswith('# ') and not is_word:
            summary.count('comment lines, left out', f'{path}:{number}')
            continue
        blocks[-1].append((number, columns))
    blocks = [block for block in blocks if block]
    numbered = all(c[0] == str(i) for block in blocks for i, (_, c) in enumerate(block, 1))
    if width > 2 and blocks and numbered:
        raise ValueError(f'{path}: the first column numbers the words; {FORMAT}')

    def sentence(block: list[tuple[int, list[str]]]) -> Sentence:
        for number, columns in block:
            where, line = f'{path}:{number}', ' '.join(columns)
            if tagged and len(columns) == 1:
                raise ValueError(f'{where} has a word without a tag, {line[:80]!r}; {FORMAT}')
            if len(columns) != width:
                raise ValueError(
                    f'{where} has {len(columns)} columns, {line[:80]!r}, and the lines before it '
                    f'have {width}; {FORMAT}, and spaces or tabs only between columns'
                )
        tags = [columns[-1] for _, columns in block] if tagged else None
        return Sentence([columns[0] for _, columns in block], tags, f'{path}:{block[0][0]}')

    yield from each(blocks, sentence, on_error)


def _check_tags(path: str, sentences: Sequence[Sentence]) -> None:
    first: dict[str, str] = {}  # tag -> the place where it occurs first
    for sentence in sentences:
        for i, tag in enumerate(sentence.tags or ()):
            if tag not in first:
                file, _, line = sentence.where.rpartition(':')
                first[tag] = sentence.where if '.jsonl' in file else f'{file}:{int(line) + i}'
    if not mark_entities(set(first)):
        return
    typed = any(map(TYPED.fullmatch, first))
    for tag, where in first.items():
        if tag != 'O' and not (TYPED.fullmatch(tag) if typed else tag in MARKS):
            raise ValueError(
                f'{where} has the tag {tag!r}, but other tags have the form B-TYPE; expected O, '
                'or B-, I-, E-, S- (in BILOU B-, I-, L-, U-) and a type'
            )
    marks = {tag[0]: where for tag, where in first.items()}
    if marks.keys() & set('ES') and marks.keys() & set('LU'):
        both = ', '.join(f'{mark}- in {where}' for mark, where in marks.items() if mark in 'ESLU')
        raise ValueError(f'{path} mixes tags of IOBES and BILOU ({both}); use one of them')

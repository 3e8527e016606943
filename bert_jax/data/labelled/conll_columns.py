"""Reads words and tags from columns. Spaces or tabs separate the columns, and a blank line ends a
sentence."""

import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bert_jax.data import files
from bert_jax.data.file_kinds import text_kind
from bert_jax.data.labelled import column_doubts
from bert_jax.data.labelled.bad_rows import OnError, each
from bert_jax.data.labelled.sentence import Sentence
from bert_jax.data.summary import Summary

SEPARATOR = re.compile('[ \t]+')
DOCSTART = re.compile(r'-+docstart-+(\(.*\))?', re.IGNORECASE)
# Comments before a sentence, and the marks of documents in CoNLL-2012.
COMMENT = re.compile(r'# |#(begin|end) document\b')
FORMAT = 'expected a line for each word, with the word first and its tag last'
WORD_NAMES = frozenset(('word', 'words', 'token', 'tokens', 'form'))
TAG_NAMES = frozenset(
    ('tag', 'tags', 'label', 'labels', 'ner', 'ner_tag', 'ner_tags', 'pos', 'upos', 'xpos', 'chunk')
)
EMPTY = 'and O or _ in an empty cell'
LONG = 400  # words; a longer sentence may be several, without blank lines between them
LOOKED_AT = 20  # lines that are looked at before the file is read as columns


class Layout(NamedTuple):
    """The columns of a file. word, tag: the indices of the words and, if they are read, the tags.
    width: how many columns each line has. header: whether the first line names the columns."""

    width: int
    word: int = 0
    tag: int = -1
    header: bool = False


Block = list[tuple[int, list[str]]]  # a sentence: the number and the columns of each line


def read(
    path: pathlib.Path,
    tagged: bool | None,
    summary: Summary,
    on_error: OnError | None,
    columns: bool = False,
) -> Iterator[Sentence]:
    """The sentences of a file, see `conll.iter_file`.

    columns: whether a sentence keeps its other columns. Each of them is a list with a value for
    each word. A column without a name is named column_2, column_3, ... Raises ValueError for a file
    that looks like something else.
    """
    lines = [line.strip(' \t\r\n') for line in files.lines(path)]
    looks = text_kind(lines[:LOOKED_AT])
    if looks and not looks.startswith('a table'):
        raise ValueError(f'{path}:1 {lines[0][:60]!r} looks like {looks}; {FORMAT}')
    if _is_by_sentence(lines):
        raise ValueError(
            f'{path}:1 {lines[0][:60]!r} looks like a sentence and its tags, with a tab between '
            'them; write a line with words, a tab and tags above, and name the file .tsv'
        )
    certain = [SEPARATOR.split(line) for line in lines if line and not COMMENT.match(line)]
    words = [cells for cells in certain if not DOCSTART.fullmatch(cells[0])]
    layout = _layout(words[0] if words else [''])
    width, header = layout.width, words[0] if layout.header else None
    needs_tags = tagged is True
    tagged = layout.tag != layout.word if tagged is None else tagged
    known_tags = {cells[-1] for cells in certain}
    blocks: list[Block] = [[]]
    for number, line in enumerate(lines, 1):
        cells = SEPARATOR.split(line)
        if not line or DOCSTART.fullmatch(cells[0]):
            blocks += [[]] if blocks[-1] else []
            if line:
                summary.count('-DOCSTART- lines, left out', f'{path}:{number}')
            continue
        # A line with the word '#' has as many columns as the others, and a tag that others have.
        is_word = len(cells) == width and cells[-1] in known_tags
        if not blocks[-1] and COMMENT.match(line) and not is_word:
            summary.count('comment lines, left out', f'{path}:{number}')
            continue
        if cells == header:
            summary.count('lines with names of columns, left out', f'{path}:{number}')
            continue
        blocks[-1].append((number, cells))
    blocks = [block for block in blocks if block]
    rows = [cells for block in blocks for _, cells in block if len(cells) == width]
    ordered = [_ordered(cells, layout) for cells in rows]
    if ordered and (doubt := column_doubts.find(ordered, len(blocks), tagged, needs_tags)):
        raise ValueError(f'{path}:{blocks[0][0][0]}: {doubt}; {FORMAT}')
    _describe(path, layout, tagged, summary)
    names = header or ['', *(f'column_{i}' for i in range(2, width + 1))]
    summary.headers[str(path)] = dict.fromkeys(names, '')

    def sentence(block: Block) -> Sentence:
        return _sentence(path, block, layout, tagged, names if columns else None, summary)

    yield from each(blocks, sentence, on_error)


def _sentence(
    path: pathlib.Path,
    block: Block,
    layout: Layout,
    tagged: bool,
    names: Sequence[str] | None,
    summary: Summary,
) -> Sentence:
    """A sentence. names: those of all columns, if the sentence keeps its other columns."""
    for number, cells in block:
        _check_width(f'{path}:{number}', cells, layout.width, tagged)
    where = f'{path}:{block[0][0]}'
    if len(block) > LONG:
        summary.count(f'sentences of more than {LONG} words (a blank line ends a sentence)', where)
    words = [cells[layout.word] for _, cells in block]
    tags = [cells[layout.tag] for _, cells in block] if tagged else None
    if names is None:
        return Sentence(words, tags, where)
    others = [(i, name) for i, name in enumerate(names) if i != layout.word]
    return Sentence(words, tags, where, {n: [cells[i] for _, cells in block] for i, n in others})


def _is_by_sentence(lines: Sequence[str]) -> bool:
    """Returns whether each line has two parts with the same number of words and a tab between them,
    and some parts have several words."""
    parts = [[part.split() for part in line.split('\t')] for line in lines if line]
    same = all(len(both) == 2 and len(both[0]) == len(both[1]) for both in parts)
    return bool(parts) and same and any(len(both[0]) > 1 for both in parts)


def _layout(first: Sequence[str]) -> Layout:
    """The layout of a file with this first line, which may name the columns."""
    names, width = [name.lower() for name in first], len(first)
    word = next((i for i, name in enumerate(names) if name in WORD_NAMES), None)
    tags = [i for i, name in enumerate(names) if name in TAG_NAMES]
    if word is not None and (tags or width == 1):
        return Layout(width, word, tags[-1] if tags else word, True)
    return Layout(width, 0, width - 1)


def _ordered(columns: list[str], layout: Layout) -> list[str]:
    """The columns with the word first and the tag last."""
    if (layout.word, layout.tag) == (0, len(columns) - 1):
        return columns
    others = [c for i, c in enumerate(columns) if i not in (layout.word, layout.tag)]
    return [columns[layout.word], *others, columns[layout.tag]]


def _check_width(where: str, columns: list[str], width: int, tagged: bool) -> None:
    line = ' '.join(columns)
    if tagged and len(columns) == 1:
        raise ValueError(f'{where} has a word without a tag, {line[:80]!r}; {FORMAT}, {EMPTY}')
    if len(columns) != width:
        raise ValueError(
            f'{where} has {len(columns)} columns, {line[:80]!r}, but the lines before it have '
            f'{width}; {FORMAT}, spaces or tabs only between columns, {EMPTY}'
        )


def _describe(path: pathlib.Path, layout: Layout, tagged: bool, summary: Summary) -> None:
    said = f'word: column {layout.word + 1} of {layout.width}'
    if tagged:
        said += f', tag: column {layout.tag + 1}'
    summary.columns[str(path)] = said

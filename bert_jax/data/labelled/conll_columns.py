"""Reads words and tags from columns. Spaces or tabs separate the columns, and a blank line ends a
sentence."""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from bert_jax.data import files
from bert_jax.data.file_kinds import text_kind
from bert_jax.data.labelled import column_doubts
from bert_jax.data.labelled.bad_rows import each
from bert_jax.data.labelled.sentence import Sentence, SentenceFile

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
LOOKED_AT = 20  # lines that are looked at before the file is read as columns


class Layout(NamedTuple):
    """The columns of a file. width: how many columns each line has. word, tag: the indices of the
    words and the tags. header: the line that names the columns, if there is one."""

    width: int
    word: int
    tag: int
    header: list[str] | None = None


Block = list[tuple[int, list[str]]]  # a sentence: the number and the columns of each line


def read(file: SentenceFile) -> Iterator[Sentence]:
    """The sentences of a file, see `conll.iter_file`.

    If a sentence keeps its other columns, each of them is a list with a value for each word. A
    column without a name is named column_2, column_3, ... Raises ValueError for a file that looks
    like something else.
    """
    path, summary = file.path, file.summary
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
    tagged = layout.tag != layout.word if file.tagged is None else file.tagged
    blocks = _blocks(file, lines, layout, {cells[-1] for cells in certain})
    rows = [cells for block in blocks for _, cells in block if len(cells) == layout.width]
    ordered = [_ordered(cells, layout) for cells in rows]
    if ordered and (doubt := column_doubts.find(ordered, len(blocks), file.tagged)):
        raise ValueError(f'{path}:{blocks[0][0][0]}: {doubt}; {FORMAT}')
    summary.columns[str(path)] = f'word: column {layout.word + 1} of {layout.width}'
    if tagged:
        summary.columns[str(path)] += f', tag: column {layout.tag + 1}'
    names = layout.header or ['', *(f'column_{i}' for i in range(2, layout.width + 1))]
    summary.headers[str(path)] = dict.fromkeys(names, '')

    def sentence(block: Block) -> Sentence:
        for number, cells in block:
            _check_width(f'{path}:{number}', cells, layout.width, tagged)
        where = f'{path}:{block[0][0]}'
        file.count_long(block, where)
        columns = [list(column) for column in zip(*(cells for _, cells in block), strict=True)]
        tags = columns[layout.tag] if tagged else None
        others = {name: columns[i] for i, name in enumerate(names) if i != layout.word}
        return Sentence(columns[layout.word], tags, where, others if file.columns else None)

    yield from each(blocks, sentence, file.on_error)


def _blocks(
    file: SentenceFile, lines: Sequence[str], layout: Layout, known_tags: Collection[str]
) -> list[Block]:
    """The sentences. Comments and names of columns are left out and counted.

    known_tags: the last columns of lines that are certainly words.
    """
    blocks: list[Block] = [[]]
    for number, line in enumerate(lines, 1):
        cells, where = SEPARATOR.split(line), f'{file.path}:{number}'
        # A line with the word '#' has as many columns as the others, and a tag that others have.
        is_word = len(cells) == layout.width and cells[-1] in known_tags
        if not line:
            blocks.append([])
        elif DOCSTART.fullmatch(cells[0]):
            blocks.append([])
            file.summary.count('-DOCSTART- lines, left out', where)
        elif not blocks[-1] and COMMENT.match(line) and not is_word:
            file.summary.count('comment lines, left out', where)
        elif cells == layout.header:
            file.summary.count('lines with names of columns, left out', where)
        else:
            blocks[-1].append((number, cells))
    return [block for block in blocks if block]


def _is_by_sentence(lines: Sequence[str]) -> bool:
    """Returns whether each line has two parts with the same number of words and a tab between them,
    and some parts have several words."""
    parts = [[part.split() for part in line.split('\t')] for line in lines if line]
    same = all(len(both) == 2 and len(both[0]) == len(both[1]) for both in parts)
    return bool(parts) and same and any(len(both[0]) > 1 for both in parts)


def _layout(first: list[str]) -> Layout:
    """The layout of a file with this first line, which may name the columns."""
    names, width = [name.lower() for name in first], len(first)
    word = next((i for i, name in enumerate(names) if name in WORD_NAMES), None)
    tags = [i for i, name in enumerate(names) if name in TAG_NAMES]
    if word is not None and (tags or width == 1):
        return Layout(width, word, tags[-1] if tags else word, first)
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

"""Reasons to doubt that a file has columns of words and tags.

Any text whose lines have the same number of spaces looks like columns. So this module checks
whether the columns are prose, numbers or markup, or words and tags in the wrong order.
"""

import itertools
import re
from collections.abc import Sequence

from bert_jax.data.file_kinds import separator
from bert_jax.data.labelled.tags import MARKS, SMALL, TYPED

NUMBER = re.compile(r'\d+([-.]\d+)?')  # as in CoNLL-U: 3, 3-4, 3.1
# Ids of annotations, such as T1 in brat files, and numbers, such as dates and times.
NO_WORD = re.compile(r'[A-Z]\d+|[\W\d_]*\d[\W\d_]*')
DECIMAL = re.compile(r'[+-]?\d+(\.\d+)?([eE][+-]?\d+)?%?')
MANY = 50  # words; with fewer words, the number of different tags says little
LONG_WORD = 20  # characters; sentences without spaces are longer on average
SENTENCE_ENDS = '。！？.!?…।॥።'
JOINED = re.compile(r'.+[/_|]([A-Z]{1,5}\$?|[BIESLU]-.+)')  # a word and its tag: Anna/NNP
NO_MARK = {'-', '_'}
CODES = 100  # numbers that may be tags


def find(rows: Sequence[Sequence[str]], blocks: int, tagged: bool | None) -> str:
    """Returns why the rows do not look like words with their columns; '' if they do.

    rows: the columns of each word; all rows have the same number of columns. blocks: the number of
    sentences. tagged: True if the last column must have tags; None if it may have placeholders
    instead, such as _; False if it is not read as tags.
    """
    columns = list(zip(*rows, strict=True))
    if len(columns) == 1:
        return _single(columns[0])
    words, last = columns[0], columns[-1]
    if len(rows) > 1 and all(map(NUMBER.fullmatch, words)):
        keep = 'keep the columns of words and tags (for example, cut -f2,4 FILE)'
        numbers = f'the first column numbers the words; {keep}'
        return numbers if len(columns) > 2 else 'all words are numbers'
    if len(rows) > 1 and len(columns) > 2 and all(map(NO_WORD.fullmatch, words)):
        return f'the first column has no words ({_some(words)})'
    again = sum(a == b for a, b in itertools.pairwise(words))
    if len(columns) > 2 and len(rows) > 3 and 2 * again > len(rows):
        return f'the first column has the same value in many lines ({_some(words)})'
    if _entity(words) and len(rows) > 1 and (tagged is False or not _entity(last)):
        return f'the first column has tags ({_some(words)}) and not words'
    if tagged is False:
        if _short_blocks(rows, blocks) or _annotated(columns):
            return ''
        return (
            f'its lines look like text ({" ".join(rows[0])[:60]!r}), not like a word with columns'
        )
    if set(last) <= MARKS or any(map(TYPED.fullmatch, last)):  # `tags.check` looks at these
        return ''
    for i, column in enumerate(columns[1:-1], 2):
        if entity := _entity(column):
            return f'column {i} marks entities ({entity}), but the last does not ({_some(last)})'
        if 'B' in column and set(column) <= MARKS | NO_MARK:
            return f'column {i} has marks ({_some(column)}) without types; join them, as in B-PER'
    if len(rows) > 1 and len(set(last)) == 1 and not last[0].isalnum():
        return f'the last column is {last[0]!r} everywhere' if tagged else ''
    return _plain(rows, columns, blocks)


def _single(words: Sequence[str]) -> str:
    if len(words) > 1 and all(separator(word.strip(',;|')) for word in words):
        return f'the columns are separated by {separator(words[0])!r}; save the file as .csv'
    ends = sum(len(word) > 1 and word[-1] in SENTENCE_ENDS for word in words)
    if len(words) > 1 and all(map(JOINED.fullmatch, words)):
        return f'words and tags are joined ({_some(words)}); put a tab between them'
    if sum(map(len, words)) > LONG_WORD * len(words) or 2 * ends > len(words):
        return f'its lines look like text ({words[0][:30]!r}) and not like words'
    return ''


def _plain(rows: Sequence[Sequence[str]], columns: Sequence[Sequence[str]], blocks: int) -> str:
    """Returns a reason to doubt tags that do not mark entities; '' if there is none."""
    words, last = columns[0], columns[-1]
    kinds, count = set(last), len(rows)
    if all(map(DECIMAL.fullmatch, kinds)):
        others = any(all(map(DECIMAL.fullmatch, column)) for column in columns[1:-1])
        if others or len(kinds) > min(CODES, max(count / 2, 2)) or not all(map(str.isdigit, kinds)):
            return f'the last column has numbers ({_some(last)}) and not tags'
        return ''
    codes, fewer = sum(map(_is_code, kinds)), len(set(words)) < len(kinds)
    turned = all(map(_is_code, words)) and 2 * codes < len(kinds)
    if fewer and (turned or (count > MANY and 3 * len(set(words)) < len(kinds))):
        return f'the first column looks like tags ({_some(words)}), the last like words'
    if 2 * len(kinds) <= count or count < 2:
        return ''
    if count > MANY or (2 * codes < len(kinds) and not _short_blocks(rows, blocks)):
        return (
            f'the last column has {len(kinds):,} different values for {count:,} words '
            f'({_some(last)}), so it looks like words and not like tags'
        )
    return ''


def _short_blocks(rows: Sequence[Sequence[str]], blocks: int) -> bool:
    """Returns whether the lines look like a word and its tag: they have two columns, and sentences
    have several lines."""
    return len(rows[0]) == 2 and blocks > 1 and 1.5 * blocks <= len(rows) <= MANY


def _annotated(columns: Sequence[Sequence[str]]) -> bool:
    """Returns whether a column after the words has tags, codes or numbers, or few values for many
    words."""
    words, count = len(set(columns[0])), len(columns[0])
    various = words > count / 4 or count > 10 * MANY  # in a long text words are repeated
    for column in columns[1:]:
        kinds = set(column)
        marks = {kind.upper() for kind in kinds} <= MARKS
        if _entity(column) or marks or 2 * sum(map(_is_code, kinds)) > len(kinds):
            return True
        few = count > 3 and 4 * len(kinds) <= count and len(kinds) <= words
        if various and (few or all(map(DECIMAL.fullmatch, kinds))):
            return True
    return False


def _entity(column: Sequence[str]) -> str:
    """Returns a value of the form B-TYPE; '' if a value in the column has another form and is not
    O. The letters may be small."""
    kinds = dict.fromkeys(column)
    typed = [kind for kind in kinds if TYPED.fullmatch(kind.upper())]
    return typed[0] if typed and kinds.keys() - {*typed} <= {'O', 'o'} else ''


def _is_code(value: str) -> bool:
    """Returns whether the value is written like a tag: without small letters, or like b-per or
    B-per."""
    if value.isdigit():
        return False
    typed = SMALL.fullmatch(value) or TYPED.fullmatch(value)
    return bool(typed) or not any(char.islower() for char in value)


def _some(column: Sequence[str]) -> str:
    return ', '.join([*dict.fromkeys(column)][:3])

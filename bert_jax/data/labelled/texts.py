"""Texts and pairs of texts as rows of token ids."""

import collections
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from bert_jax.data.row_format import BERT, RowFormat
from bert_jax.data.tokenizers.tokenizer import Tokenizer

EMPTY = 'texts without a token'
UNKNOWN = 'texts of unknown tokens alone'
HALF_UNKNOWN = 'texts of which more than half is unknown tokens'
REPLACED = 'texts with U+FFFD, a character that another program could not decode'
MISSING = 'texts that look like missing values, such as NA'
SPECIAL = 'texts with the name of a special token, read as characters'
# How pandas, R, Excel, JSON, PyTorch and data sets write that a value is missing, in lower case.
NO_VALUE = frozenset(('na', 'n/a', '#n/a', '<na>', 'nan', 'none', 'null', 'nil', '?'))
NO_VALUE |= {'_', '-', '--', '-100'}
Text = str | tuple[str, str]


def listed(texts: Any) -> list[Any]:
    """The texts, or the words of a text, as a list. Raises ValueError if `texts` has no items."""
    try:
        return list(texts)
    except TypeError as error:
        raise ValueError(f'expected a text or a list of texts, not {texts!r:.60}') from error


class Row(NamedTuple):
    """The tokens of one example, special tokens included."""

    input_ids: list[int]
    token_type_ids: list[int]


class TextEncoder:
    """Encodes texts as rows of at most `longest` tokens.

    A mask marker in a text becomes the mask token. types: the number of token types of the model.
    truncated: the number of texts so far that were cut, because they were longer than `longest`.
    odd: for each way in which a text has another content than it seems, the indices of such texts
    in the last call of `encode` or `windows`. totals: the numbers of such texts so far.
    """

    def __init__(
        self, vocabulary: Tokenizer, longest: int, types: int = 2, row_format: RowFormat = BERT
    ):
        self.vocabulary, self.longest, self.types = vocabulary, longest, types
        self.row_format, self.truncated = row_format, 0
        self.odd: dict[str, list[int]] = {}
        self.totals: collections.Counter[str] = collections.Counter()
        names = sorted({*vocabulary.special_pieces.all()} - {*vocabulary.mask_markers})
        encoded = zip(names, vocabulary.encode_batch(names), strict=True)
        plain = [re.escape(name) for name, ids in encoded if len(ids) > 1]
        self._special = re.compile('|'.join(plain) or '(?!)')

    def encode(self, texts: Sequence[Text]) -> list[Row]:
        """A row for each text or pair of texts. A text that is too long is cut; of a pair, the
        longer text is cut first.

        Raises ValueError for objects that are neither texts nor pairs, and for a pair if the model
        has only one token type.
        """
        rows = []
        for segments in self._segments(texts):
            room = self.row_format.room(len(segments), self.longest)
            if sum(map(len, segments)) > room:
                self.truncated += 1
                segments = _truncated(segments, room)
            rows.append(self._row(segments))
        return rows

    def windows(self, texts: Sequence[Text]) -> list[list[Row]]:
        """The rows of each text or pair of texts; a text that is too long has several rows. Each
        row of a long pair has the first text, cut to half of the row, and a part of the second.
        Raises ValueError as `encode` does."""
        windows = []
        for *first, text in self._segments(texts):
            room = self.row_format.room(len(first) + 1, self.longest)
            if first and len(first[0]) + len(text) > room:
                self.truncated += len(first[0]) > room // 2
                first = [first[0][: room // 2]]
            size = room - sum(map(len, first))
            starts = range(0, max(len(text), 1), size)
            windows.append([self._row([*first, text[i : i + size]]) for i in starts])
        return windows

    def _segments(self, texts: Sequence[Text]) -> Iterator[list[list[int]]]:
        """The token ids of each text, as one segment, or of each pair, as two segments."""
        if isinstance(texts, str):
            raise ValueError(f'expected a list of texts, not one text: [{texts[:40]!r}]')
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                self._check_pair(text, index)
        pairs = [(text,) if isinstance(text, str) else text for text in texts]
        split = self.vocabulary.mask_pattern.split
        parts = [[split(text) for text in pair] for pair in pairs]
        flat = itertools.chain.from_iterable(itertools.chain.from_iterable(parts))
        encoded = iter(self.vocabulary.encode_batch(list(flat)))
        self.odd = collections.defaultdict(list)
        for index, pair in enumerate(parts):
            segments = [self._joined(itertools.islice(encoded, len(text))) for text in pair]
            self._look(index, pairs[index], segments)
            yield segments
        self.totals.update({name: len(indices) for name, indices in self.odd.items()})

    def _look(self, index: int, pair: Sequence[str], segments: list[list[int]]) -> None:
        """Notes what is odd about a text or a pair of texts."""
        unknown = sum(ids.count(self.vocabulary.specials.unk) for ids in segments)
        if not all(segments):
            self.odd[EMPTY].append(index)
        elif unknown == sum(map(len, segments)):
            self.odd[UNKNOWN].append(index)
        elif 2 * unknown > sum(map(len, segments)):
            self.odd[HALF_UNKNOWN].append(index)
        if any(len(text) < 9 and text.strip().lower() in NO_VALUE for text in pair):
            self.odd[MISSING].append(index)
        if any('\ufffd' in text for text in pair):
            self.odd[REPLACED].append(index)
        if any(map(self._special.search, pair)):
            self.odd[SPECIAL].append(index)

    def _joined(self, parts: Iterator[list[int]]) -> list[int]:
        """The parts, joined by mask tokens."""
        ids = list(next(parts))
        for part in parts:
            ids += [self.vocabulary.specials.mask, *part]
        return ids

    def _row(self, segments: list[list[int]]) -> Row:
        return Row(*self.row_format.row(segments, self.vocabulary.specials))

    def _check_pair(self, pair: Any, index: int) -> None:
        texts = isinstance(pair, tuple | list) and all(isinstance(part, str) for part in pair)
        if not texts or len(pair) != 2:
            raise ValueError(f'text {index} is {pair!r:.60}; expected a string, or a pair of them')
        if max(self.row_format.types) >= max(self.types, 1):
            raise ValueError(f'text {index} is a pair, but this model has only one token type')


def _truncated(segments: list[list[int]], room: int) -> list[list[int]]:
    """The segments, cut so that they fit: tokens are removed from the end of the longer one."""
    if len(segments) == 1:
        return [segments[0][:room]]
    first, second = segments
    shorter = min(len(first), len(second), room // 2)
    if len(first) <= len(second):
        return [first[:shorter], second[: room - shorter]]
    return [first[: room - shorter], second[:shorter]]

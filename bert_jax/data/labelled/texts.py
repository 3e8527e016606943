"""Texts as rows of token ids, and rows as batches of few shapes (numpy only)."""

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bert_jax.data.tokenizers.tokenizer import Tokenizer

Text = str | tuple[str, str]

# A batch has one of these lengths and, but for the last of a length, TOKENS tokens: few shapes, so
# few compilations, and little padding.
LENGTHS = (*range(16, 128, 16), *range(128, 256, 32), *range(256, 513, 64))
TOKENS = 2048


class Row(NamedTuple):
    """Of one text or pair, or of a piece of it, with its special tokens."""

    input_ids: list[int]
    token_type_ids: list[int]


class Encoder:
    """Texts to rows of at most `longest` tokens. A mask marker in a text is the mask token.

    truncated: how many texts so far were longer and lost their end.
    """

    def __init__(self, vocabulary: Tokenizer, longest: int, types: int = 2):
        self.vocabulary, self.longest, self.types = vocabulary, longest, types
        self.truncated = 0

    def encode(self, texts: Sequence[Text], longest: int | None = None) -> list[Row]:
        """[CLS] A [SEP], or [CLS] A [SEP] B [SEP] for a pair; of what is too long the longer of
        the two loses its end. longest: in place of the encoder's, and not more."""
        longest = min(longest or self.longest, self.longest)
        rows = []
        for first, second in self._ids(texts):
            room = longest - (2 if second is None else 3)
            if len(first) + len(second or ()) > room:
                self.truncated += 1
                first, second = _truncated(first, second, room)
            rows.append(self._row(first, second))
        return rows

    def pieces(self, texts: Sequence[Text]) -> list[list[Row]]:
        """The same, but what is too long becomes several rows; of a pair A stands in each, cut to
        half of the room."""
        pieces = []
        for first, second in self._ids(texts):
            if second is None:
                room = self.longest - 2
                starts = range(0, max(len(first), 1), room)
                pieces.append([self._row(first[i : i + room], None) for i in starts])
                continue
            room = self.longest - 3
            if len(first) + len(second) > room:
                self.truncated += len(first) > room // 2
                first = first[: room // 2]
            rest = room - len(first)
            starts = range(0, max(len(second), 1), rest)
            pieces.append([self._row(first, second[i : i + rest]) for i in starts])
        return pieces

    def _ids(self, texts: Sequence[Text]) -> list[tuple[list[int], list[int] | None]]:
        if isinstance(texts, str):
            raise ValueError(f'expected a list of texts, not one text: [{texts[:40]!r}]')
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                self._check_pair(text, place)
        flat = [part for text in texts for part in ((text,) if isinstance(text, str) else text)]
        marker = '|'.join(map(re.escape, self.vocabulary.mask_markers))
        parts = [re.split(marker, text) for text in flat]
        encoded = iter(self.vocabulary.encode_batch(list(itertools.chain.from_iterable(parts))))
        mask = [self.vocabulary.mask_id]

        def joined(part: list[str]) -> list[int]:
            between = itertools.islice(encoded, len(part))
            return functools.reduce(lambda a, b: [*a, *mask, *b], between)

        ids = iter([joined(part) for part in parts])
        return [
            (next(ids), None) if isinstance(text, str) else (next(ids), next(ids)) for text in texts
        ]

    def _check_pair(self, pair: Any, place: int) -> None:
        whole = isinstance(pair, tuple | list) and all(isinstance(part, str) for part in pair)
        if not whole or len(pair) != 2:
            raise ValueError(f'text {place} is {pair!r:.60}; expected a string, or a pair of them')
        if self.types < 2:
            raise ValueError(f'text {place} is a pair, and this model knows one type of token only')

    def _row(self, first: list[int], second: list[int] | None) -> Row:
        cls, sep = self.vocabulary.cls_id, self.vocabulary.sep_id
        ids = [cls, *first, sep]
        types = [0] * len(ids)
        if second is not None:
            ids += [*second, sep]
            types += [1] * (len(second) + 1)
        return Row(ids, types)


def batches(
    rows: Sequence[Row], pad_id: int, longest: int, multiple: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Batches of rows of like length, shortest first: the rows' places in `rows`, int64[n], and
    input_ids, token_type_ids and attention_mask, int32[batch, length] with batch >= n, a multiple
    of `multiple`."""
    sizes = np.array([len(row.input_ids) for row in rows], np.int64)
    order = np.argsort(sizes, kind='stable')
    lengths = np.array([*(n for n in LENGTHS if n < longest), longest])
    buckets = np.searchsorted(lengths, sizes[order])
    for bucket in np.unique(buckets):
        members, length = order[buckets == bucket], int(lengths[bucket])
        full = max(TOKENS // length // multiple, 1) * multiple
        few = max(full // 8 // multiple, 1) * multiple
        for i in range(0, len(members), full):
            places = members[i : i + full]
            shape = (few if len(places) <= few else full, length)
            ids, types, mask = np.full(shape, pad_id, np.int32), *np.zeros((2, *shape), np.int32)
            for row, place in enumerate(places):
                size = sizes[place]
                ids[row, :size], types[row, :size] = rows[place]
                mask[row, :size] = 1
            yield places, {'input_ids': ids, 'token_type_ids': types, 'attention_mask': mask}


def _truncated(
    first: list[int], second: list[int] | None, room: int
) -> tuple[list[int], list[int] | None]:
    """Cuts the longer one, a token at a time, until both fit."""
    if second is None:
        return first[:room], None
    shorter = min(len(first), len(second), room // 2)
    if len(first) <= len(second):
        return first[: max(shorter, room - len(second))], second[: room - shorter]
    return first[: room - shorter], second[: max(shorter, room - len(first))]

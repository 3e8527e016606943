"""Texts and pairs of texts as rows of token ids."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from bert_jax.data.tokenizers.tokenizer import Tokenizer

Text = str | tuple[str, str]

MASK = '[MASK]'


class Row(NamedTuple):
    """The tokens of one example, special tokens included."""

    input_ids: list[int]
    token_type_ids: list[int]


class TextEncoder:
    """Encodes texts as rows of at most `longest` tokens.

    A mask token that is typed in a text becomes the mask token. types: how many token types the
    model has. truncated: how many texts so far were longer than `longest` and lost their end.
    """

    def __init__(self, vocabulary: Tokenizer, longest: int, types: int = 2):
        self.vocabulary, self.longest, self.types = vocabulary, longest, types
        self.truncated = 0

    def encode(self, texts: Sequence[Text], longest: int | None = None) -> list[Row]:
        """A row for each text or pair of texts. A row that would be too long loses tokens at the
        end of the longer text. longest: a lower limit than the encoder's.

        Raises ValueError for anything but texts and pairs, and for a pair if the model has one
        token type.
        """
        longest = min(longest or self.longest, self.longest)
        rows = []
        for first, second in self._ids(texts):
            room = longest - (2 if second is None else 3)
            if len(first) + len(second or ()) > room:
                self.truncated += 1
                first, second = _truncated(first, second, room)
            rows.append(self._row(first, second))
        return rows

    def windows(self, texts: Sequence[Text]) -> list[list[Row]]:
        """As `encode`, but a text that is too long becomes several rows. Each row of a pair has
        the first text, cut to half of the room, and a part of the second."""
        windows = []
        for first, second in self._ids(texts):
            if second is None:
                room = self.longest - 2
                starts = range(0, max(len(first), 1), room)
                windows.append([self._row(first[i : i + room], None) for i in starts])
                continue
            room = self.longest - 3
            if len(first) + len(second) > room:
                self.truncated += len(first) > room // 2
                first = first[: room // 2]
            rest = room - len(first)
            starts = range(0, max(len(second), 1), rest)
            windows.append([self._row(first, second[i : i + rest]) for i in starts])
        return windows

    def _ids(self, texts: Sequence[Text]) -> list[tuple[list[int], list[int] | None]]:
        """Token ids of each text, without special tokens other than masks."""
        if isinstance(texts, str):
            raise ValueError(f'expected a list of texts, not one text: [{texts[:40]!r}]')
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                self._check_pair(text, index)
        flat = [part for text in texts for part in ((text,) if isinstance(text, str) else text)]
        parts = [text.split(MASK) for text in flat]
        encoded = iter(self.vocabulary.encode_batch(list(itertools.chain.from_iterable(parts))))
        mask = [self.vocabulary.mask_id]

        def joined(part: list[str]) -> list[int]:
            between = itertools.islice(encoded, len(part))
            return functools.reduce(lambda a, b: [*a, *mask, *b], between)

        ids = iter([joined(part) for part in parts])
        return [
            (next(ids), None) if isinstance(text, str) else (next(ids), next(ids)) for text in texts
        ]

    def _check_pair(self, pair: Any, index: int) -> None:
        texts = isinstance(pair, tuple | list) and all(isinstance(part, str) for part in pair)
        if not texts or len(pair) != 2:
            raise ValueError(f'text {index} is {pair!r:.60}; expected a string, or a pair of them')
        if self.types < 2:
            raise ValueError(f'text {index} is a pair, but this model has only one token type')

    def _row(self, first: list[int], second: list[int] | None) -> Row:
        cls, sep = self.vocabulary.cls_id, self.vocabulary.sep_id
        ids = [cls, *first, sep]
        types = [0] * len(ids)
        if second is not None:
            ids += [*second, sep]
            types += [1] * (len(second) + 1)
        return Row(ids, types)


def _truncated(
    first: list[int], second: list[int] | None, room: int
) -> tuple[list[int], list[int] | None]:
    """Cuts the longer text until both fit: as if one token at a time."""
    if second is None:
        return first[:room], None
    shorter = min(len(first), len(second), room // 2)
    if len(first) <= len(second):
        return first[: max(shorter, room - len(second))], second[: room - shorter]
    return first[: room - shorter], second[: max(shorter, room - len(first))]

"""The layout of a row: the positions of its segments of text, special tokens and padding.

The layout depends on the family of the model. A segment is a run of tokens of text, for example the
first text of a pair. A sequence is some segments with their special tokens. A row holds one
sequence, or several sequences one after the other (packing), and padding.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bert_jax.config import ModelConfig
from bert_jax.data.tokenizers.specials import Specials


class Places(NamedTuple):
    """The content of each place in a batch of rows; arrays or tensors [rows, length].

    segment: int32, the index of the segment. A special token belongs to the segment before it; at
    the beginning of a sequence, to the one after it. offset: int32, the distance from the start of
    the segment; negative before it. is_text: bool, false for special tokens and padding. is_row:
    bool, false for padding. token_type: int32, 0 for padding. special: int32, the id of the special
    token or of padding; unspecified for text.
    """

    segment: Any
    offset: Any
    is_text: Any
    is_row: Any
    token_type: Any
    special: Any


class _Spans(NamedTuple):
    """The segment that each place belongs to; arrays or tensors that broadcast to [rows, length].

    place: the index of the place after padding on the left, which has negative indices. end: [rows,
    1], the place after the last sequence. segment: the index of the segment. offset: the distance
    from the start of the segment, and beyond: from its end; they are negative before these. last:
    bool, whether the segment is the last one of its sequence. number: the index of the segment in
    its sequence.
    """

    place: Any
    end: Any
    segment: Any
    offset: Any
    beyond: Any
    last: Any
    number: Any


@dataclasses.dataclass(frozen=True)
class RowFormat:
    """The special tokens of a sequence, by their roles in `tokenizer.specials`, and token types.

    before, between, after: the special tokens before the first segment, between two segments and
    after the last segment. types: the token type of each segment; more segments have the last
    type. A special token has the type of its segment (see Places). pooled_last: whether the token
    that represents the sequence is its last one instead of its first. pooled_type: the type of that
    token, if it is not that of its segment. pad_left: whether padding is on the left.
    """

    before: tuple[str, ...]
    between: tuple[str, ...]
    after: tuple[str, ...]
    types: tuple[int, ...] = (0,)
    pooled_last: bool = False
    pooled_type: int | None = None
    pad_left: bool = False

    def num_specials(self, num_segments: int) -> int:
        """The number of special tokens in a sequence of `num_segments` segments."""
        return len(self.before) + (num_segments - 1) * len(self.between) + len(self.after)

    def room(self, num_segments: int, length: int) -> int:
        """The number of tokens of text that fit in a sequence of `length` tokens."""
        return length - self.num_specials(num_segments)

    def size(self, lengths: Sequence[Any]) -> Any:
        """The length of a sequence from the lengths of its segments (integers or arrays)."""
        return sum(lengths) + self.num_specials(len(lengths))

    def starts(self, lengths: Sequence[Any]) -> list[Any]:
        """The place in the sequence where each segment starts (integers or arrays)."""
        starts = [len(self.before)]
        for length in lengths[:-1]:
            starts.append(starts[-1] + length + len(self.between))
        return starts

    def pooled(self, size: Any) -> Any:
        """The place of the pooled token in a sequence of `size` tokens."""
        return size - 1 if self.pooled_last else 0

    def row(
        self, segments: Sequence[Sequence[int]], specials: Specials[int]
    ) -> tuple[list[int], list[int]]:
        """(input_ids, token_type_ids) of a sequence, without padding."""
        ids = _ids(self.before, specials)
        types = [self.types[0]] * len(ids)
        for i, segment in enumerate(segments):
            ids += segment
            ids += _ids(self.between if i < len(segments) - 1 else self.after, specials)
            types += [self.types[min(i, len(self.types) - 1)]] * (len(ids) - len(types))
        if self.pooled_type is not None:
            types[self.pooled(len(ids))] = self.pooled_type
        return ids, types

    def place(
        self,
        lengths: Any,
        length: int,
        specials: Specials[int],
        group: Any = None,
        where: Callable[..., Any] = np.where,
    ) -> Places:
        """The content of each place of rows of `length` tokens.

        lengths: int32[rows, segments]. group: int32[rows, segments], the number of the sequence
        that each segment belongs to, ascending from 1. Segments that a row does not have are at the
        end, with length 0 and group 0. None: all segments form one sequence. where: np.where for
        arrays, tf.where for tensors.
        """
        spans = self._spans(lengths, length, group, where)
        is_row = (spans.place >= 0) & (spans.place < spans.end)
        is_text = is_row & (spans.offset >= 0) & (spans.beyond < 0)
        types = where(is_row, self._types_at(spans, where), 0)
        special = where(is_row, self._specials_at(spans, specials, where), specials.pad)
        return Places(spans.segment, spans.offset, is_text, is_row, types, special)

    def _spans(self, lengths: Any, length: int, group: Any, where: Callable[..., Any]) -> _Spans:
        """The segment of each place, and the distances from its ends; see `place`."""
        count = lengths.shape[1]
        opens, closes, number, exists = _frames(group, count, where)
        areas, starts, end = [], [], lengths[:, :1] * 0
        for i in range(count):
            areas.append(end)
            starts.append(end + opens[i] * len(self.before))
            trailing = closes[i] * len(self.after) + (1 - closes[i]) * len(self.between)
            end = starts[i] + lengths[:, i : i + 1] + exists[i] * trailing
        column = np.arange(length, dtype=np.int32)[None, :]
        place = end - length + column if self.pad_left else end * 0 + column

        def per_place(values: Sequence[Any]) -> Any:
            """The value of each place's segment. values: a number or [rows, 1] per segment."""
            chosen = place * 0 + values[0]
            for area, value in zip(areas[1:], values[1:], strict=True):
                chosen = where(place >= area, value, chosen)
            return chosen

        offset = place - per_place(starts)
        beyond = offset - per_place([lengths[:, i : i + 1] for i in range(count)])
        last, numbers = per_place(closes) > 0, per_place(number)
        return _Spans(place, end, per_place(range(count)), offset, beyond, last, numbers)

    def _specials_at(
        self, spans: _Spans, specials: Specials[int], where: Callable[..., Any]
    ) -> Any:
        """int32[rows, length]: the special token of each place; padding at all other places."""
        special = spans.place * 0 + specials.pad
        for i, token in enumerate(_ids(self.before, specials)):
            special = where(spans.offset == i - len(self.before), token, special)
        for i, token in enumerate(_ids(self.between, specials)):
            special = where(~spans.last & (spans.beyond == i), token, special)
        for i, token in enumerate(_ids(self.after, specials)):
            special = where(spans.last & (spans.beyond == i), token, special)
        return special

    def _types_at(self, spans: _Spans, where: Callable[..., Any]) -> Any:
        """int32[rows, length]: the token type of each place. Places of padding have one, too."""
        types = spans.place * 0 + self.types[0]
        for i, segment_type in enumerate(self.types[1:], 1):
            types = where(spans.number >= i, segment_type, types)
        if self.pooled_type is not None:
            pooled = (spans.number == 0) & (spans.offset == -len(self.before))
            if self.pooled_last:
                pooled = spans.last & (spans.beyond == len(self.after) - 1)
            types = where(pooled, self.pooled_type, types)
        return types


BERT = RowFormat(('cls',), ('sep',), ('sep',), types=(0, 1))
_ROBERTA = RowFormat(('cls',), ('sep', 'sep'), ('sep',))
# XLM never trained its <s>, so a row begins with </s> (facebookresearch/XLM, issue 130).
_XLM = RowFormat(('sep',), ('sep',), ('sep',))
# The two specials at the end: the second one, <cls>, represents the sequence.
_XLNET = RowFormat(
    (), ('sep',), ('sep', 'cls'), (0, 1), pooled_last=True, pooled_type=2, pad_left=True
)
_WITHOUT_TYPES = dataclasses.replace(BERT, types=(0,))
# The layout of rows by `ModelConfig.model_type`, and other values of `ModelConfig.row_format`.
ROW_FORMATS: Mapping[str, RowFormat] = {
    'bert': BERT,
    'electra': BERT,
    'albert': BERT,
    'distilbert': _WITHOUT_TYPES,
    'modernbert': _WITHOUT_TYPES,
    'roberta': _ROBERTA,
    'xlm-roberta': _ROBERTA,
    'camembert': _ROBERTA,
    'xlm': _XLM,
    'flaubert': _XLM,
    'xlnet': _XLNET,
    'xlm-bos': RowFormat(('bos',), ('sep',), ('sep',)),  # as transformers fine-tunes XLM
}


def format_of(model: ModelConfig) -> RowFormat:
    """The layout of the rows of a model."""
    return ROW_FORMATS[model.row_format or model.model_type]


def _ids(roles: Sequence[str], specials: Specials[int]) -> list[int]:
    ids = specials.by_role()
    if missing := [role for role in roles if role not in ids]:
        raise ValueError(f'the vocabulary has no special token for {", ".join(missing)}')
    return [ids[role] for role in roles]


def _frames(group: Any, count: int, where: Callable[..., Any]) -> tuple[list[Any], ...]:
    """Four lists with an entry per segment, each a number or int32[rows, 1]: 1 if the segment is
    the first of its sequence, 1 if it is the last, its index in the sequence, and 1 if the row has
    it (otherwise 0)."""
    if group is None:
        firsts, lasts = [1] + [0] * (count - 1), [0] * (count - 1) + [1]
        return firsts, lasts, list(range(count)), [1] * count
    columns = [group[:, i : i + 1] for i in range(count)]
    zeros = columns[0] * 0
    opens, closes, exists = list[Any](), list[Any](), list[Any]()
    number = list[Any]()
    for column, before, after in zip(
        columns, [zeros, *columns], [*columns[1:], zeros], strict=False
    ):
        exists.append(where(column > 0, 1, zeros))
        opens.append(where((column > 0) & (column != before), 1, zeros))
        closes.append(where(column != after, 1, zeros))
        number.append(where(opens[-1] > 0, 0, number[-1] + 1) if number else zeros)
    return opens, closes, number, exists

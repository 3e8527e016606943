"""The layout of a row: its special tokens, segments of text and token types.

The layout depends on the family of the model. A segment is a run of tokens of text, for example the
first text of a pair. A sequence is some segments with their special tokens. A row holds one
sequence, or several sequences one after the other, and padding.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bert_jax.config import ModelConfig
from bert_jax.data.tokenizers.specials import Specials

TEXT = ''  # the role of a block of text


class Block(NamedTuple):
    """A special token, or the text of a segment.

    role: the role of the special token, or TEXT. segment: the index of the segment in the row. A
    special token belongs to the segment before it; at the beginning of a sequence, to the one after
    it. token_type: the token type of all its tokens.
    """

    role: str
    segment: int
    token_type: int


@dataclasses.dataclass(frozen=True)
class RowFormat:
    """The special tokens of a sequence, by their roles in `tokenizer.specials`, and token types.

    before, between, after: the special tokens before the first segment, between two segments and
    after the last segment. types: the token type of each segment; more segments have the last
    type. A special token has the type of its segment (see Block). pooled_last: whether the token
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

    @functools.cache  # noqa: B019 (there are few formats)
    def blocks(self, segments: int, sequences: int = 1) -> tuple[Block, ...]:
        """The content of a row of `segments` segments, without padding. sequences: the number of
        sequences, of equally many segments."""
        blocks, per_sequence = list[Block](), segments // sequences
        for first in range(0, segments, per_sequence):
            sequence, last = list[Block](), first + per_sequence - 1
            for i in range(first, last + 1):
                before = self.before if i == first else ()
                after = self.between if i < last else self.after
                token_type = self.types[min(i, len(self.types) - 1)]
                sequence += [Block(role, i, token_type) for role in (*before, TEXT, *after)]
            if self.pooled_type is not None:
                place = self.pooled(len(sequence))
                sequence[place] = sequence[place]._replace(token_type=self.pooled_type)
            blocks += sequence
        return tuple(blocks)

    def row(
        self, segments: Sequence[Sequence[int]], specials: Specials[int]
    ) -> tuple[list[int], list[int]]:
        """(input_ids, token_type_ids) of a sequence, without padding."""
        blocks, ids, types = self.blocks(len(segments)), list[int](), list[int]()
        for block, special in zip(blocks, special_ids(blocks, specials), strict=True):
            ids += segments[block.segment] if block.role == TEXT else [special]
            types += [block.token_type] * (len(ids) - len(types))
        return ids, types


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


def special_ids(blocks: Sequence[Block], specials: Specials[int]) -> list[int]:
    """The id of the special token of each block; for text, the id of padding. Raises ValueError if
    the vocabulary has no such token."""
    ids = specials.by_role() | {TEXT: specials.pad}
    if missing := [block.role for block in blocks if block.role not in ids]:
        raise ValueError(f'the vocabulary has no special token for {", ".join(missing)}')
    return [ids[block.role] for block in blocks]

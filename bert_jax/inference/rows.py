"""Rows of token ids in the format of a family of models."""

from collections.abc import Sequence

from bert_jax.data.row_format import BERT, ROW_FORMATS
from bert_jax.data.tokenizers.specials import Specials


def row_of(
    segments: Sequence[Sequence[int]], model_type: str, specials: Specials[int]
) -> list[int]:
    """Returns the ids of a row with these segments of text, special tokens included.

    A model_type without a row of its own has that of BERT.
    """
    return ROW_FORMATS.get(model_type, BERT).row(segments, specials)[0]

"""Rows of four families, as lists and as arrays."""

import dataclasses
import itertools
import types

import numpy as np
import pytest
import tensorflow as tf

from bert_jax.config import DataConfig, Phase
from bert_jax.data.pretraining.segments import Segments, lay_out
from bert_jax.data.row_format import BERT, RowFormat
from bert_jax.data.row_shapes import RowShape
from bert_jax.data.tokenizers.specials import Specials

SPECIALS = Specials(pad=0, unk=1, cls=2, sep=3, mask=4, bos=5, eos=6)
ROBERTA = RowFormat(('bos',), ('eos', 'eos'), ('eos',))
XLNET = RowFormat(
    (), ('sep',), ('sep', 'cls'), types=(0, 1), pooled_last=True, pooled_type=2, pad_left=True
)
XLM = RowFormat(('eos',), ('eos',), ('eos',))
FORMATS = {'bert': BERT, 'roberta': ROBERTA, 'xlnet': XLNET, 'xlm': XLM}
A, B = [11, 12, 13], [21, 22]

PAIRS = {
    'bert': ([2, *A, 3, *B, 3], [0, 0, 0, 0, 0, 1, 1, 1], 0),
    'roberta': ([5, *A, 6, 6, *B, 6], [0] * 9, 0),
    'xlnet': ([*A, 3, *B, 3, 2], [0, 0, 0, 0, 1, 1, 1, 2], 7),
    'xlm': ([6, *A, 6, *B, 6], [0] * 8, 0),
}
SINGLES = {
    'bert': ([2, *A, 3], [0] * 5, 0),
    'roberta': ([5, *A, 6], [0] * 5, 0),
    'xlnet': ([*A, 3, 2], [0, 0, 0, 0, 2], 4),
    'xlm': ([6, *A, 6], [0] * 5, 0),
}


@pytest.mark.parametrize('name', FORMATS)
def test_pairs_and_single_texts(name):
    row_format = FORMATS[name]
    for segments, expected in (([A, B], PAIRS[name]), ([A], SINGLES[name])):
        ids, kinds, pooled = expected
        assert row_format.row(segments, SPECIALS) == (ids, kinds)
        lengths = [len(segment) for segment in segments]
        assert row_format.size(lengths) == len(ids)
        assert row_format.room(len(segments), len(ids)) == sum(lengths)
        assert row_format.pooled(len(ids)) == pooled
        for start, segment in zip(row_format.starts(lengths), segments, strict=True):
            assert ids[start : start + len(segment)] == segment
    # The arithmetic works for arrays too.
    first, second = row_format.starts([np.array([3, 1]), np.array([2, 2])])
    assert (second - first).tolist() == [3 + len(row_format.between), 1 + len(row_format.between)]


def laid_out(row_format, rows, length, shape):
    """input_ids, token_type_ids and numbers of tokens of rows of segments, through `lay_out`."""
    lengths = np.array([[len(segment) for segment in row] for row in rows])
    tokens = [0, *itertools.chain.from_iterable(itertools.chain.from_iterable(rows))]
    starts = np.reshape(1 + np.cumsum(lengths) - lengths.ravel(), lengths.shape)
    stream = types.SimpleNamespace(
        row_format=row_format,
        shape=shape,
        phase=Phase(1, length),
        data=DataConfig(),
        vocabulary=types.SimpleNamespace(
            specials=SPECIALS, ends_word=None, is_continuation=np.zeros(100, bool)
        ),
        read=lambda source, is_text: (tf.gather(tf.constant(tokens), source), is_text),
    )
    segments = Segments(tf.constant(starts), tf.constant(lengths))
    layout = lay_out(stream, segments)
    assert np.isin(layout.input_ids[layout.is_text], tokens[1:]).all()
    arrays = layout.input_ids, layout.token_type_ids, layout.attention_mask
    assert {array.dtype.name for array in arrays} == {'int32'}
    ids, kinds, is_row = (array.numpy() for array in arrays)
    return ids.tolist(), kinds.tolist(), is_row.sum(1).tolist()


def padded(values, length, left):
    padding = [0] * (length - len(values))
    return padding + values if left else values + padding


@pytest.mark.parametrize('name', FORMATS)
@pytest.mark.parametrize('count', [1, 2, 3])
def test_arrays_give_the_same_rows_as_lists(name, count):
    row_format, length = FORMATS[name], 24
    rows = [[A, B, A][:count], [B, [31], [41, 42, 43, 44]][:count], [[51], A, B][:count]]
    ids, kinds, sizes = laid_out(row_format, rows, length, RowShape(count))
    lists = [row_format.row(row, SPECIALS) for row in rows]
    assert ids == [padded(row, length, row_format.pad_left) for row, _ in lists]
    assert kinds == [padded(kind, length, row_format.pad_left) for _, kind in lists]
    assert sizes == [len(row) for row, _ in lists]


def test_a_role_that_the_vocabulary_lacks_is_named() -> None:
    without = dataclasses.replace(SPECIALS, bos=None)
    with pytest.raises(ValueError, match='no special token for bos'):
        RowFormat(('bos',), ('sep',), ('sep',)).row([A], without)


@pytest.mark.parametrize('name', FORMATS)
def test_several_sequences_in_a_row(name):
    """Each text of a row is a sequence, and has the token type of its place in the row."""
    row_format, length = FORMATS[name], 24
    rows = [[A, B], [[31], [41, 42]], [B, A]]
    ids, kinds, _ = laid_out(row_format, rows, length, RowShape(2, sequences=2))
    for i, row in enumerate(rows):
        lists = [
            dataclasses.replace(row_format, types=row_format.types[-1:] if k else (0,)).row(
                [segment], SPECIALS
            )
            for k, segment in enumerate(row)
        ]
        together = [
            list(itertools.chain.from_iterable(parts)) for parts in zip(*lists, strict=True)
        ]
        assert ids[i] == padded(together[0], length, row_format.pad_left)
        assert kinds[i] == padded(together[1], length, row_format.pad_left)

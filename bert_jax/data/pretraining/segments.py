"""Segments of a corpus as the rows of a batch, as TensorFlow graph operations.

A Segmenter chooses the segments of each row, and returns them with the labels that depend on the
choice. `lay_out` puts the segments into rows of any RowFormat.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from bert_jax.data.pretraining.chunks import Chunks, make_chunks
from bert_jax.data.pretraining.stream import Draws, Stream
from bert_jax.data.store.format import Store


class Segments(NamedTuple):
    """The text of each row, as runs of the corpus's tokens.

    start, length: int64[rows, segments], in tokens of the stream. group: int32[rows, segments], the
    sequence of each segment as in `RowFormat.place`; None if each row is one sequence.
    """

    start: tf.Tensor
    length: tf.Tensor
    group: tf.Tensor | None = None


class Segmenter(NamedTuple):
    """A way to choose the segments of rows.

    segments_per_row: the largest number of segments in a row. columns: the number of random numbers
    that a row uses. min_documents: the number of documents that a split needs. draw: (stream,
    position int64[rows, 1], draws) -> the rows' segments and their labels by name, int32[rows, ...]
    each. chunks: (store, tokens in a row) -> the chunks, one for each row.
    """

    segments_per_row: int
    columns: int
    min_documents: int
    draw: Callable[[Stream, tf.Tensor, Draws], tuple[Segments, dict[str, tf.Tensor]]]
    chunks: Callable[[Store, int], Chunks] = make_chunks


class Layout(NamedTuple):
    """Rows of tokens, [rows, length] each.

    is_text: bool, False for special tokens and padding. words: int32, the index of the word of each
    place that is text, in ascending order; None unless words are masked whole.
    """

    input_ids: tf.Tensor  # int32
    token_type_ids: tf.Tensor  # int32
    attention_mask: tf.Tensor  # int32
    is_text: tf.Tensor
    words: tf.Tensor | None


def lay_out(stream: Stream, segments: Segments) -> Layout:
    """The rows of `segments`."""
    lengths = tf.cast(segments.length, tf.int32)
    places = stream.row_format.place(
        lengths, stream.max_seq_length, stream.specials, segments.group, tf.where
    )
    # The source of special tokens and padding could lie outside of the array, so it is set to 0, a
    # guard token.
    start = _per_place(segments.start, places.segment)
    source = tf.where(places.is_text, start + tf.cast(places.offset, tf.int64), 0)
    ids, is_text = stream.read(source, places.is_text)
    ids = tf.where(places.is_text, ids, places.special)
    words = None
    if stream.data.whole_word_masking or stream.data.max_ngram > 1:
        begins = ~tf.gather(stream.is_continuation, ids) | (places.offset == 0)
        words = tf.cumsum(tf.cast(begins & is_text, tf.int32), axis=1)
    return Layout(ids, places.token_type, tf.cast(places.is_row, tf.int32), is_text, words)


def _per_place(values: tf.Tensor, segment: tf.Tensor) -> tf.Tensor:
    """[rows, segments] values -> [rows, length], the value of each place's segment."""
    chosen = values[:, :1]
    for i in range(1, values.shape[1]):
        chosen = tf.where(segment == i, values[:, i : i + 1], chosen)
    return chosen

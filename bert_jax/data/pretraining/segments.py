"""Segments of a corpus as the rows of a batch, as TensorFlow graph operations.

A Segmenter chooses the segments of each row, and returns them with the labels that depend on the
choice. `lay_out` puts the segments into rows of any RowFormat.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from bert_jax.data.pretraining import masks
from bert_jax.data.pretraining.chunks import Chunks, make_chunks
from bert_jax.data.pretraining.stream import Draws, Stream
from bert_jax.data.row_shapes import RowShape
from bert_jax.data.store.format import Store


class Segments(NamedTuple):
    """The text of each row, as runs of the corpus's tokens.

    start, length: int64[rows, segments], in tokens of the stream. group: int32[rows, segments], the
    sequence of each segment as in `RowFormat.place`; None if each row is one sequence. is_reversed:
    bool[rows, 1], whether the tokens of each segment run backwards; None if no row is reversed.
    """

    start: tf.Tensor
    length: tf.Tensor
    group: tf.Tensor | None = None
    is_reversed: tf.Tensor | None = None


class Layout(NamedTuple):
    """Rows of tokens, [rows, length] each.

    position_ids: int32, from 0 in each sequence. is_text: bool, False for special tokens and
    padding. begins_word: bool, whether a word begins at each place that is text. words: int32, the
    index of the word of each place that is text, in ascending order; None unless words are masked
    whole. is_reversed: see `Segments`.
    """

    input_ids: tf.Tensor  # int32
    token_type_ids: tf.Tensor  # int32
    attention_mask: tf.Tensor  # int32
    position_ids: tf.Tensor
    is_text: tf.Tensor
    begins_word: tf.Tensor
    words: tf.Tensor | None
    is_reversed: tf.Tensor | None


class Targets(NamedTuple):
    """A way to choose the tokens of rows that are predicted.

    columns: the number of random numbers that a row uses. draw: (stream, rows, draws) -> arrays of
    the batch by name, among them input_ids and masked_lm_{positions,ids,weights}.
    """

    columns: Callable[[Stream], int]
    draw: Callable[[Stream, Layout, Draws], dict[str, tf.Tensor]]


MASKS = Targets(
    masks.columns,
    lambda stream, row, draws: masks.masks(stream, row.input_ids, row.is_text, row.words, draws),
)


class Segmenter(NamedTuple):
    """A way to choose the segments of rows.

    shape: the number of segments in a row. columns: the number of random numbers that a row uses.
    draw: (stream, position int64[rows, 1], draws) -> the rows' segments and their labels by name,
    int32[rows, ...] each. chunks: (store, tokens in a row) -> the chunks, one for each row.
    left_out: the documents that have no chunk. targets: how the tokens that are predicted are
    chosen. continues: whether each row continues the row at its place in the batch before.
    """

    shape: RowShape
    columns: int
    draw: Callable[[Stream, tf.Tensor, Draws], tuple[Segments, dict[str, tf.Tensor]]]
    chunks: Callable[[Store, int], Chunks] = make_chunks
    left_out: str = 'documents of one token'
    targets: Targets = MASKS
    continues: bool = False

    def draws(self, stream: Stream, first: tf.Tensor, rows: int) -> Draws:
        """The random numbers of the rows first .. first + rows - 1."""
        return Draws(stream, first, rows, self.columns + self.targets.columns(stream))


def lay_out(stream: Stream, segments: Segments) -> Layout:
    """The rows of `segments`."""
    lengths = tf.cast(segments.length, tf.int32)
    places = stream.row_format.place(
        lengths, stream.max_seq_length, stream.specials, segments.group, tf.where
    )
    # The source of special tokens and padding could lie outside of the array, so it is set to 0, a
    # guard token.
    start, offset = _per_place(segments.start, places.segment), places.offset
    if segments.is_reversed is not None:
        last = _per_place(lengths, places.segment) - 1
        offset = tf.where(segments.is_reversed, last - offset, offset)
    source = tf.where(places.is_text, start + tf.cast(offset, tf.int64), 0)
    ids, is_text = stream.read(source, places.is_text)
    ids = tf.where(places.is_text, ids, places.special)
    begins = _begins_word(stream, ids)
    if segments.is_reversed is not None and stream.ends_word is not None:
        backwards = tf.reverse(_begins_word(stream, tf.reverse(ids, [1])), [1])
        begins = tf.where(segments.is_reversed, backwards, begins)
    begins = (begins | (offset == 0)) & is_text
    words = None
    if stream.data.whole_word_masking or stream.data.max_ngram > 1:
        words = tf.cumsum(tf.cast(begins, tf.int32), axis=1)
    types = places.token_type
    if stream.languages:
        types = tf.gather(tf.constant(stream.languages, tf.int32), places.segment)
        types = tf.where(places.is_row, types, 0)
    positions = tf.zeros_like(ids) + tf.range(stream.max_seq_length)
    if segments.group is not None:  # each sequence has one segment
        positions = places.offset + len(stream.row_format.before)
    attention_mask = tf.cast(places.is_row, tf.int32)
    return Layout(
        ids, types, attention_mask, positions, is_text, begins, words, segments.is_reversed
    )


def _begins_word(stream: Stream, ids: tf.Tensor) -> tf.Tensor:
    """bool of the shape of `ids`: whether each token begins a word. If the vocabulary marks ends of
    words, this depends on the token before, and otherwise on the token itself."""
    if stream.ends_word is None:
        return ~tf.gather(stream.is_continuation, ids)
    return tf.pad(tf.gather(stream.ends_word, ids[:, :-1]), [[0, 0], [1, 0]])


def _per_place(values: tf.Tensor, segment: tf.Tensor) -> tf.Tensor:
    """[rows, segments] values -> [rows, length], the value of each place's segment."""
    chosen = values[:, :1]
    for i in range(1, values.shape[1]):
        chosen = tf.where(segment == i, values[:, i : i + 1], chosen)
    return chosen

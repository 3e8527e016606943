"""Segments of a corpus as the rows of a batch, as TensorFlow graph operations.

A Segmenter chooses the segments of each row, and returns them with the labels that depend on the
choice. `lay_out` puts the segments into rows of any RowFormat.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from bert_jax.data.pretraining import masks
from bert_jax.data.pretraining.chunks import Chunks, make_chunks
from bert_jax.data.pretraining.masks import Layout
from bert_jax.data.pretraining.stream import Draws, Stream
from bert_jax.data.row_format import TEXT, special_ids
from bert_jax.data.store.format import Store


class Segments(NamedTuple):
    """The text of each row, as runs of the corpus's tokens.

    start, length: int64[rows, segments], in tokens of the stream. is_reversed: bool[rows, 1],
    whether the tokens of each segment run backwards; None if no row is reversed.
    """

    start: tf.Tensor
    length: tf.Tensor
    is_reversed: tf.Tensor | None = None


class Targets(NamedTuple):
    """A way to choose the tokens of rows that are predicted.

    columns: the number of random numbers that a row uses. draw: (stream, rows, draws) -> arrays of
    the batch by name, among them input_ids and masked_lm_{positions,ids,weights}.
    """

    columns: Callable[[Stream], int]
    draw: Callable[[Stream, Layout, Draws], dict[str, tf.Tensor]]


MASKS = Targets(masks.columns, masks.masks)


class Segmenter(NamedTuple):
    """A way to choose the segments of rows.

    columns: the number of random numbers that a row uses. draw: (stream, position int64[rows, 1],
    draws) -> the rows' segments and their labels by name, int32[rows, ...] each. chunks: (store,
    tokens in a row) -> the chunks, one for each row. left_out: the documents that have no chunk.
    targets: how the tokens that are predicted are chosen. continues: whether each row continues the
    row at its place in the batch before.
    """

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
    shape, length, specials = stream.shape, stream.phase.max_seq_length, stream.vocabulary.specials
    starts = tf.split(segments.start, shape.segments, axis=1)
    lengths = tf.split(tf.cast(segments.length, tf.int32), shape.segments, axis=1)
    blocks = stream.row_format.blocks(shape.segments, shape.sequences)
    # begins, texts: the places at which each block and each text begin. size: the length of a row
    # without padding.
    begins, texts, size = list[tf.Tensor](), list[tf.Tensor](), tf.zeros_like(lengths[0])
    for block in blocks:
        begins.append(size)
        texts += [size] if block.role == TEXT else []
        size += lengths[block.segment] if block.role == TEXT else 1
    # Padding on the left has negative places. 0 * size gives the places the shape [rows, length].
    place = tf.range(length) + (size - length if stream.row_format.pad_left else 0 * size)
    is_row = (place >= 0) & (place < size)

    def of_block(values: Sequence[Any]) -> tf.Tensor:
        """The value of the block of each place, [rows, length]. values: a number or an array [rows,
        1] for each block. Padding belongs to the last block; padding on the left to the first."""
        chosen = values[0]
        for begin, before, value in zip(begins[1:], values[:-1], values[1:], strict=True):
            chosen = chosen if value is before else tf.where(place >= begin, value, chosen)
        return chosen

    is_text = is_row & of_block([block.role == TEXT for block in blocks])
    offset = in_segment = place - of_block([texts[block.segment] for block in blocks])
    if segments.is_reversed is not None:
        last = of_block([lengths[block.segment] for block in blocks]) - 1
        offset = tf.where(segments.is_reversed, last - offset, offset)
    # The source of special tokens and padding could lie outside of the array, so it is set to 0, a
    # guard token.
    source = of_block([starts[block.segment] for block in blocks]) + tf.cast(offset, tf.int64)
    text, is_ordinary = stream.read(tf.where(is_text, source, 0), is_text)
    special = tf.where(is_row, of_block(special_ids(blocks, specials)), specials.pad)
    ids = tf.where(is_text, text, special)
    begins_word = _begins_word(stream, ids)
    if segments.is_reversed is not None and stream.vocabulary.ends_word is not None:
        backwards = tf.reverse(_begins_word(stream, tf.reverse(ids, [1])), [1])
        begins_word = tf.where(segments.is_reversed, backwards, begins_word)
    begins_word = (begins_word | (offset == 0)) & is_ordinary
    types = tf.where(is_row, of_block([block.token_type for block in blocks]), 0)
    positions = tf.zeros_like(ids) + tf.range(length)
    if shape.sequences > 1:  # each sequence has one segment
        positions = in_segment + len(stream.row_format.before)
    attention_mask = tf.cast(is_row, tf.int32)
    row = ids, types, attention_mask, positions, is_ordinary, begins_word
    return Layout(*row, segments.is_reversed)


def _begins_word(stream: Stream, ids: tf.Tensor) -> tf.Tensor:
    """bool of the shape of `ids`: whether each token begins a word. If the vocabulary marks ends of
    words, this depends on the token before, and otherwise on the token itself."""
    if stream.vocabulary.ends_word is None:
        return ~tf.gather(stream.vocabulary.is_continuation, ids)
    return tf.pad(tf.gather(stream.vocabulary.ends_word, ids[:, :-1]), [[0, 0], [1, 0]])

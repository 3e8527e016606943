"""Rows of running text for masked words alone, as TensorFlow graph operations.

A row is filled with the sentences of a chunk (`chunks`). Every chunk except the last one has more
tokens than a row, so its first or last sentence is cut. Either rows continue across the ends of
documents, with a separator after each document (FULL-SENTENCES in Liu et al., 2019, section 4.2),
or each row has text of only one document (DOC-SENTENCES).
"""

import tensorflow as tf

from bert_jax.data.pretraining.chunks import make_chunks, make_full_chunks
from bert_jax.data.pretraining.segments import Segmenter, Segments
from bert_jax.data.pretraining.stream import Draws, Stream, chunk_of


def running_text(
    stream: Stream, position: tf.Tensor, draws: Draws
) -> tuple[Segments, dict[str, tf.Tensor]]:
    """The text of the rows at `position` (int64[rows, 1]); there are no labels."""
    _, chunk = chunk_of(stream, position)
    start, stop = tf.gather(stream.chunks.begin, chunk), tf.gather(stream.chunks.stop, chunk)
    more = tf.maximum(stop - start - stream.room, 0)
    # A third of the rows is cut at the end, a third at the front, and a third anywhere.
    start += tf.clip_by_value(draws.below(3 * more + 1) - more, 0, more)
    stop = tf.minimum(start + stream.room, stop)
    if stream.chunks.separators is not None:  # rows neither begin nor end with a separator
        start += tf.cast(stream.is_separator(start), tf.int64)
        stop -= tf.cast(stream.is_separator(stop - 1), tf.int64)
    return Segments(start, stop - start), {}


WITHIN_DOCUMENTS = Segmenter(1, running_text, make_chunks)
ACROSS_DOCUMENTS = Segmenter(1, running_text, make_full_chunks)

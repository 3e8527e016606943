"""Sentence pairs for a whole batch at once, as TensorFlow graph operations.

As in Devlin et al. (2019), appendix A.2, and google-research/bert, a chunk of whole sentences is
split into A and B between two sentences, and half of the time B is replaced by text of another
document.

Only the meaning of A and B may show whether B is random. So a random B is the second part of
another chunk, which is split in the same way. Then B never begins a document, and the text of B
alone has the same distribution for both labels. The lengths of A and B do not depend on the label.

A and B are cut to fit a row, A at one of its ends or both, and B at one. If B follows A, text may
be missing between them. With config.data.adjacent_pairs only the front of A and the end of B are
cut, so that B continues A.
"""

import tensorflow as tf

from bert_jax.data.pretraining.segments import Segmenter, Segments
from bert_jax.data.pretraining.stream import Draws, Stream, alternating, chunk_of

CANDIDATES = 8  # chunks of other documents drawn for a random B; the one nearest in length is taken
COLUMNS = CANDIDATES + 6  # random numbers that a row uses
# Added to the difference in length of a candidate if one of the two chunks is a single sentence and
# the other is not.
OTHER_KIND = 1 << 40


def sentence_pairs(
    stream: Stream, position: tf.Tensor, draws: Draws
) -> tuple[Segments, dict[str, tf.Tensor]]:
    """The segments A and B of the rows at `position` (int64[rows, 1]), and next_sentence_labels,
    int32[rows], which are 1 if B is random."""
    epoch, chunk = chunk_of(stream, position)
    start, middle, stop, alone = _split(stream, chunk, tf.cast(draws.take(1), tf.int64))
    random = _random_next(stream, chunk, epoch, draws)
    other, other_stop = _other_document(stream, chunk, stop - middle, alone, draws)
    a_length, own_length, other_length = middle - start, stop - middle, other_stop - other
    b_length = _common_length(own_length, other_length)
    most = tf.constant(stream.room, tf.int64)
    short = draws.chance(stream.data.short_seq_prob)
    shorter = 2 + draws.below(most - 1)
    a_kept, b_kept = _trimmed(a_length, b_length, tf.where(short, shorter, most))
    a_start = start + draws.below(a_length - a_kept + 1)
    b_start = tf.where(random, other, middle)
    cut = tf.where(random, other_length, own_length) - b_kept
    if stream.data.adjacent_pairs:
        a_start = middle - a_kept
    else:
        b_start += tf.where(draws.chance(0.5), cut, tf.zeros_like(cut))
    segments = Segments(tf.concat([a_start, b_start], axis=1), tf.concat([a_kept, b_kept], axis=1))
    return segments, {'next_sentence_labels': tf.cast(random[:, 0], tf.int32)}


def _split(
    stream: Stream, chunk: tf.Tensor, fraction: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Splits each chunk into two parts, between two sentences or inside a single sentence.

    Returns the start of the first part, the start and the end of the second part, and whether the
    chunk is a single sentence. All have the shape of `chunk`. fraction: random int64 in [0, 2**32).
    """
    first, end = tf.gather(stream.chunks.start, chunk), tf.gather(stream.chunks.end, chunk)
    start, stop = tf.gather(stream.sentences, first), tf.gather(stream.sentences, end)
    alone = end - first == 1
    parts = tf.where(alone, stop - start, end - first)
    choice = 1 + tf.bitwise.right_shift(fraction * (parts - 1), tf.constant(32, tf.int64))
    boundary = tf.gather(stream.sentences, tf.where(alone, first, first + choice))
    return start, tf.where(alone, start + choice, boundary), stop, alone


def _random_next(stream: Stream, chunk: tf.Tensor, epoch: tf.Tensor, draws: Draws) -> tf.Tensor:
    """bool[rows, 1]: whether B is random text."""
    probability = stream.data.random_next_prob
    drawn = draws.chance(probability)
    if probability != 0.5:
        return drawn
    # A row with a random B does not show the second part of its chunk. So half of the chunks have a
    # random B in epoch 2e, and the other half in epoch 2e + 1.
    return alternating(stream, 'next', chunk, epoch)


def _other_document(
    stream: Stream, chunk: tf.Tensor, wanted: tf.Tensor, alone: tf.Tensor, draws: Draws
) -> tuple[tf.Tensor, tf.Tensor]:
    """The start and the end of a random B, int64[rows, 1] each.

    B is the second part of a chunk of another document. Of several candidates, the one whose length
    is nearest to `wanted` is chosen. If `alone`, B begins inside a sentence. The candidates are
    drawn from all chunks of other documents, so a long document is drawn more often.
    """
    own = tf.gather(stream.chunks.document, chunk)
    first_chunk = stream.chunks.first_chunk
    own_first, own_end = tf.gather(first_chunk, own), tf.gather(first_chunk, own + 1)
    count = own_end - own_first
    other, fraction = draws.below_with_remainder(stream.num_chunks - count, CANDIDATES)
    other += tf.where(other >= own_first, count, 0)
    start, middle, stop, other_alone = _split(stream, other, fraction)
    # The label must not decide whether B begins inside a sentence.
    inside = tf.clip_by_value(stop - wanted, start + 1, stop - 1)
    middle = tf.where(alone & ~other_alone, inside, middle)
    other_kind = tf.cast(alone != other_alone, tf.int64)
    difference = tf.abs(stop - middle - wanted) + OTHER_KIND * other_kind
    best = tf.argmin(difference, axis=1)[:, None]
    return tf.gather(middle, best, batch_dims=1), tf.gather(stop, best, batch_dims=1)


def _common_length(own: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """The length of B for both labels. If the two texts differ in length, both are cut, because a
    model can see whether the end of a text was cut."""
    cut = tf.cast(own != other, tf.int64)
    return tf.maximum(tf.minimum(own, other) - cut, 1)


def _trimmed(a: tf.Tensor, b: tf.Tensor, budget: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Lengths after tokens are taken from the longer text until both fit the budget."""
    a_kept = tf.minimum(a, tf.maximum(budget - b, (budget + 1) // 2))
    return a_kept, tf.minimum(b, budget - a_kept)


SENTENCE_PAIRS = Segmenter(COLUMNS, sentence_pairs)

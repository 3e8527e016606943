"""Sentence pairs for a whole batch at once, as TensorFlow graph operations.

Devlin et al. (2019), appendix A.2, and google-research/bert: a chunk of whole sentences is split
into A and B at one of them; half of the time B is replaced by text of another document.

What can be seen of a row without reading it must not tell which B it has. So the lengths of A and
B are found without looking at the label, and a random B is, like a real one, the end of a chunk:
it begins and ends with sentences and has the length of the B it stands in for, as nearly as one of
a few candidates does. What they differ by is cut from the longer one.
"""

import tensorflow as tf

from bert_jax.data.pretraining.segments import Segmenter, Segments
from bert_jax.data.pretraining.stream import Draws, Stream, chunk_of, shuffle

CANDIDATES = 8  # chunks of other documents drawn for a random B; the one nearest in length is taken
COLUMNS = CANDIDATES + 6  # random numbers a row takes


def sentence_pairs(
    stream: Stream, position: tf.Tensor, draws: Draws
) -> tuple[Segments, dict[str, tf.Tensor]]:
    """A and B of the rows at `position` (int64[rows, 1]), and whether B is random as
    next_sentence_labels, int32[rows]."""
    epoch, chunk = chunk_of(stream, position)
    first, end = tf.gather(stream.chunk_start, chunk), tf.gather(stream.chunk_end, chunk)
    start, stop = tf.gather(stream.sentences, first), tf.gather(stream.sentences, end)
    alone = end - first == 1  # one sentence: split inside it
    choice = 1 + draws.below(tf.where(alone, stop - start, end - first) - 1)
    boundary = tf.gather(stream.sentences, tf.where(alone, first, first + choice))
    middle = tf.where(alone, start + choice, boundary)

    random = _random_next(stream, chunk, epoch, draws)
    other, other_stop = _other_document(stream, chunk, stop - middle, alone, draws)
    a_length = middle - start
    b_length = tf.minimum(stop - middle, other_stop - other)  # whichever it is
    most = tf.constant(stream.room, tf.int64)
    short = draws.chance(stream.data.short_seq_prob)
    shorter = 2 + draws.below(most - 1)
    a_kept, b_kept = _trimmed(a_length, b_length, tf.where(short, shorter, most))
    b_start, b_stop = tf.where(random, other, middle), tf.where(random, other_stop, stop)
    a_start = start + draws.below(a_length - a_kept + 1)
    b_start += draws.below(b_stop - b_start - b_kept + 1)
    segments = Segments(
        tf.concat([a_start, b_start], axis=1), tf.concat([a_kept, b_kept], axis=1)
    )
    return segments, {'next_sentence_labels': tf.cast(random[:, 0], tf.int32)}


def _random_next(stream: Stream, chunk: tf.Tensor, epoch: tf.Tensor, draws: Draws) -> tf.Tensor:
    """bool[rows, 1]: whether B is random text."""
    probability = stream.data.random_next_prob
    drawn = draws.chance(probability)
    if probability != 0.5:
        return drawn
    # A random B displaces half of its chunk. So a chunk's label flips with every other epoch: half
    # of the chunks are random in each, and of any two (2e and 2e + 1) one shows a chunk whole.
    first_half = shuffle(stream, 'next', chunk, epoch // 2) < stream.num_chunks // 2
    return tf.math.logical_xor(first_half, epoch % 2 == 1)


def _trimmed(a: tf.Tensor, b: tf.Tensor, budget: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Lengths after taking tokens from the longer one until both fit the budget."""
    a_kept = tf.minimum(a, tf.maximum(budget - b, (budget + 1) // 2))
    return a_kept, tf.minimum(b, budget - a_kept)


def _other_document(
    stream: Stream, chunk: tf.Tensor, wanted: tf.Tensor, inside: tf.Tensor, draws: Draws
) -> tuple[tf.Tensor, tf.Tensor]:
    """Start and end of a text in another document, of about `wanted` tokens: the end of a chunk,
    from the start of a sentence on, or from anywhere in one where `inside` is true.

    Drawn among the other documents' chunks, so long documents are likelier.
    """
    own = tf.gather(stream.chunk_document, chunk)
    own_first, own_end = tf.gather(stream.first_chunk, own), tf.gather(stream.first_chunk, own + 1)
    count = own_end - own_first
    other = draws.below(stream.num_chunks - count, CANDIDATES)
    other += tf.where(other >= own_first, count, 0)
    end = tf.gather(stream.chunk_end, other)
    stop = tf.gather(stream.sentences, end)
    begin = tf.gather(stream.document_start, tf.gather(stream.chunk_document, other))
    exact = tf.maximum(stop - wanted, begin)
    found = tf.searchsorted(stream.sentences, tf.reshape(exact, [-1]), 'right', tf.int64)
    after = tf.minimum(tf.reshape(found, other.shape), end - 1)
    low = tf.gather(stream.sentences, tf.maximum(after - 1, 0))
    low, high = tf.maximum(low, begin), tf.gather(stream.sentences, after)
    start = tf.where(exact - low < high - exact, low, high)
    start = tf.where(inside, exact, start)
    best = tf.argmin(tf.abs(stop - start - wanted), axis=1)[:, None]
    return tf.gather(start, best, batch_dims=1), tf.gather(stop, best, batch_dims=1)



SENTENCE_PAIRS = Segmenter(2, COLUMNS, 2, sentence_pairs)

"""Two texts in order or swapped, for sentence-order prediction (Lan et al., 2020, section 3.1).

A chunk of whole sentences of one document is split into two texts near its middle, between two
sentences. Half of the time, the texts are swapped. A model must not be able to see this without
reading the texts. So both texts have the same length and begin with a sentence. Both are cut at the
end, the shorter one by a few tokens, because otherwise only one of them would end with a complete
sentence.
"""

import tensorflow as tf

from bert_jax.data.pretraining.segments import Segmenter, Segments
from bert_jax.data.pretraining.stream import Draws, Stream, alternating, chunk_of

COLUMNS = 5  # the random numbers that each row uses
MAX_EXTRA_CUT = 8  # the shorter text loses at most this many extra tokens
SPREAD = 16  # the random place is at most 1/SPREAD of the chunk from its middle


def ordered_pairs(
    stream: Stream, position: tf.Tensor, draws: Draws
) -> tuple[Segments, dict[str, tf.Tensor]]:
    """The two texts of the rows at `position` (int64[rows, 1]), and sentence_order_labels,
    int32[rows], which are 1 if the texts are swapped."""
    epoch, chunk = chunk_of(stream, position)
    start, middle, stop, alone = _split(stream, chunk, draws)
    one, two = middle - start, stop - middle
    shorter_part = tf.minimum(one, two)
    length = shorter_part - 1 - draws.below(tf.minimum(shorter_part // 4, MAX_EXTRA_CUT) + 1)
    most = tf.constant(stream.room // 2, tf.int64)
    short = draws.chance(stream.data.short_seq_prob)
    length = tf.maximum(tf.minimum(length, tf.where(short, 1 + draws.below(most), most)), 1)
    # If the chunk is a single sentence, the second text begins inside the sentence. So the first
    # text begins inside it, too.
    inside = tf.minimum(1 + draws.below(one - length), one - length)
    first, second = start + tf.where(alone, inside, tf.zeros_like(inside)), middle
    swapped = alternating(stream, 'order of sentences', chunk, epoch)
    starts = [tf.where(swapped, second, first), tf.where(swapped, first, second)]
    segments = Segments(tf.concat(starts, axis=1), tf.concat([length, length], axis=1))
    return segments, {'sentence_order_labels': tf.cast(swapped[:, 0], tf.int32)}


def _split(
    stream: Stream, chunk: tf.Tensor, draws: Draws
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """The start, the split and the end of each chunk, in tokens of the stream, int64[rows, 1], and
    whether the chunk is a single sentence.

    The split is the sentence boundary that is nearest to a random place around the middle. A chunk
    of one sentence is split at that place.
    """
    first, end = tf.gather(stream.chunks.start, chunk), tf.gather(stream.chunks.end, chunk)
    start, stop = tf.gather(stream.sentences, first), tf.gather(stream.sentences, end)
    size = stop - start
    around = draws.below(size // (SPREAD // 2) + 1) - size // SPREAD
    wanted = tf.clip_by_value(start + size // 2 + around, start + 1, stop - 1)
    above = tf.searchsorted(stream.sentences, wanted[:, 0], out_type=tf.int64)[:, None]
    high = tf.gather(stream.sentences, tf.clip_by_value(above, first + 1, end - 1))
    low = tf.gather(stream.sentences, tf.clip_by_value(above - 1, first + 1, end - 1))
    nearest = tf.where(high - wanted < wanted - low, high, low)
    alone = end - first == 1
    return start, tf.where(alone, wanted, nearest), stop, alone


SENTENCE_ORDER = Segmenter(COLUMNS, ordered_pairs)

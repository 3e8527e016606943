"""Targets of permutation language modelling and the order of their prediction, as TensorFlow graph
operations (Yang et al., 2019, sections 2.2, 2.3 and 2.6).

The text of a row is divided into parts. In a part of `n * K` tokens, a run of n tokens is
predicted, n <= config.data.max_ngram, with 1/K = config.data.masked_lm_prob. The probability of n
is proportional to 1/n, and a run begins with a word if its part has a word that leaves room for it.
As in zihangdai/xlnet, n counts tokens and not words.

The order is random. Tokens that are not predicted have the lowest number, so that all tokens see
them and they see no target. Special tokens are never predicted, but have a place in the order.
"""

import functools

import tensorflow as tf

from bert_jax.data.pretraining.masks import Layout, num_targets, run_lengths
from bert_jax.data.pretraining.segments import Targets
from bert_jax.data.pretraining.stream import Draws, Stream

HALF = 1 << 30  # in a row with memory, tokens after the first `reuse_len` have larger numbers
RANDOM = 29  # bits of a number in the order; such a number is smaller than HALF


def columns(stream: Stream) -> int:
    """The number of random numbers that a row uses."""
    return 2 * stream.phase.max_seq_length + 3 * _parts(stream)


def _parts(stream: Stream) -> int:
    """The largest number of parts of a row."""
    return stream.phase.max_seq_length // round(1 / stream.phase.masked_lm_prob) + 1


def permuted(reuse_len: int, stream: Stream, row: Layout, draws: Draws) -> dict[str, tf.Tensor]:
    """Returns input_ids, masked_lm_{positions,ids,weights} and factorization_order, int32[rows,
    length] (see `EncoderInputs`). The tokens are not changed.

    reuse_len: in a run with memory, the number of tokens at the start of a row that become memory;
    otherwise 0. These tokens do not attend to the tokens after them, but those attend to them.
    """
    ids, phase = row.input_ids, stream.phase
    length, slots = phase.max_seq_length, phase.max_predictions_per_seq
    score = _scores(stream, row, draws)
    wanted = num_targets(stream, row.is_text)
    _, best = tf.math.top_k(score, slots)
    positions = tf.sort(tf.where(tf.range(slots) < wanted, best, length), axis=1)
    rows = tf.repeat(tf.range(tf.shape(ids)[0])[:, None], slots, axis=1)
    places = tf.stack([rows, positions], axis=-1)
    # Unused slots have the position `length`, which is cut off.
    is_target = tf.pad(tf.zeros_like(ids), [[0, 0], [0, 1]])
    is_target = tf.tensor_scatter_nd_update(is_target, places, tf.ones_like(positions))[:, :length]
    place = tf.range(length)
    bits = length.bit_length()  # the place makes the numbers of a row unique
    random = tf.bitwise.right_shift(draws.take(length), tf.constant(32 - RANDOM + bits, tf.uint32))
    number = 1 + tf.cast(random, tf.int32) * (1 << bits) + place
    is_special = (row.attention_mask > 0) & ~row.is_text
    order = tf.where((is_target > 0) | is_special, number, 0)
    if reuse_len:
        order += tf.where(place < reuse_len, 0, HALF)
    chosen = positions < length
    positions = tf.where(chosen, positions, 0)
    return {
        'input_ids': ids,
        'factorization_order': order,
        'masked_lm_positions': positions,
        'masked_lm_ids': tf.where(chosen, tf.gather(ids, positions, batch_dims=1), 0),
        'masked_lm_weights': tf.cast(chosen, tf.float32),
    }


def _scores(stream: Stream, row: Layout, draws: Draws) -> tf.Tensor:
    """int32[rows, length]: the tokens with the highest scores are predicted. The tokens of a run
    have the same score, above those of other tokens of text; what is not text has -1."""
    parts, rate = _parts(stream), stream.phase.masked_lm_prob
    size = run_lengths(draws.take(parts), stream.data.max_ngram)
    lengths = tf.constant([0, *(round(n / rate) for n in range(1, stream.data.max_ngram + 1))])
    width = tf.gather(lengths, size)
    end = tf.cumsum(width, axis=1)
    drawn = tf.cast(draws.take(parts), tf.int64) * tf.cast(width - size + 1, tf.int64)
    begin = (
        end - width + tf.cast(tf.bitwise.right_shift(drawn, tf.constant(32, tf.int64)), tf.int32)
    )
    # Tokens are counted in the direction of the text.
    token = tf.cumsum(tf.cast(row.is_text, tf.int32), axis=1) - 1
    if row.is_reversed is not None:
        token = tf.where(row.is_reversed, token[:, -1:] - token, token)
    length = stream.phase.max_seq_length
    begin = tf.minimum(begin, length)
    starts = tf.sort(tf.where(row.begins_word, token, length), axis=1)
    starts = tf.pad(starts, [[0, 0], [0, 1]], constant_values=length)
    following = tf.gather(starts, tf.searchsorted(starts, begin), batch_dims=1)
    begin = tf.where(following + size <= end, following, begin)
    part = tf.minimum(tf.searchsorted(end, token, 'right'), parts - 1)
    first = tf.gather(begin, part, batch_dims=1)
    in_run = (token >= first) & (token < first + tf.gather(size, part, batch_dims=1))

    def random(count: int) -> tf.Tensor:
        shift = tf.constant(32 - RANDOM, tf.uint32)
        return tf.cast(tf.bitwise.right_shift(draws.take(count), shift), tf.int32)

    of_part, of_token = random(parts), random(length)
    score = tf.where(in_run, HALF + tf.gather(of_part, part, batch_dims=1), of_token)
    return tf.where(row.is_text, score, -1)


def targets(reuse_len: int) -> Targets:
    """Returns the way to choose the targets of rows. reuse_len: see `permuted`."""
    return Targets(columns, functools.partial(permuted, reuse_len))

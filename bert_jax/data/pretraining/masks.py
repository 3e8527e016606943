"""Which tokens of a batch are predicted and what stands in their place (Devlin et al., 2019,
section 3.1 and appendix A.1), as TensorFlow graph operations."""

import tensorflow as tf

from bert_jax.data.pretraining.stream import Draws, Stream


def columns(stream: Stream) -> int:
    """Random numbers a row takes."""
    return stream.max_seq_length + stream.max_predictions


def masks(
    stream: Stream, ids: tf.Tensor, is_text: tf.Tensor, words: tf.Tensor | None, draws: Draws
) -> dict[str, tf.Tensor]:
    """`ids` (int32[rows, length]) with masks, and masked_lm_{positions,ids,weights}: 15 % of the
    text, at least one token, at most `max_predictions`; 80 % of it [MASK], 10 % another token."""
    length, slots = stream.max_seq_length, stream.max_predictions
    score = tf.bitcast(
        tf.bitwise.right_shift(draws.take(length), tf.constant(1, tf.uint32)), tf.int32
    )
    if words is not None:
        score = tf.gather(score, tf.minimum(words, length - 1), batch_dims=1)
    ranked, positions = tf.math.top_k(tf.where(is_text, score, -1), min(slots + 1, length))
    tokens = tf.reduce_sum(tf.cast(is_text, tf.int32), axis=1, keepdims=True)
    wanted = tf.cast(tf.cast(tokens, tf.float32) * stream.data.masked_lm_prob + 0.5, tf.int32)
    wanted = tf.minimum(tf.clip_by_value(wanted, 1, slots), tokens)
    chosen = tf.range(slots)[None, :] < wanted
    if words is not None:
        # The last word may have come in by halves: then it stays out (unless it is the only one).
        next_score = tf.gather(ranked, wanted, batch_dims=1)
        cut = (ranked[:, :slots] == next_score) & (ranked[:, :1] != next_score)
        chosen &= ~cut
    positions = tf.sort(tf.where(chosen, positions[:, :slots], length), axis=1)
    chosen = positions < length
    positions = tf.where(chosen, positions, 0)
    original = tf.gather(ids, positions, batch_dims=1)
    count = len(stream.ordinary_ids)
    drawn = draws.below(10 * count, slots)  # tenths: 8 for [MASK], 1 for each ordinary token
    other = tf.gather(stream.ordinary_ids, drawn % count)
    shown = tf.where(drawn < 9 * count, other, original)
    shown = tf.where(drawn < 8 * count, stream.specials.mask, shown)
    change = tf.where(chosen, shown - original, 0)  # an unused slot leaves place 0 as it is
    rows = tf.repeat(tf.range(tf.shape(ids)[0])[:, None], slots, axis=1)
    return {
        'input_ids': tf.tensor_scatter_nd_add(ids, tf.stack([rows, positions], -1), change),
        'masked_lm_positions': positions,
        'masked_lm_ids': tf.where(chosen, original, 0),
        'masked_lm_weights': tf.cast(chosen, tf.float32),
    }

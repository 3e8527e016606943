"""The tokens of a batch that are predicted and what replaces them, as TensorFlow graph operations
(Devlin et al., 2019, section 3.1 and appendix A.1)."""

import tensorflow as tf

from bert_jax.data.pretraining.stream import Draws, Stream


def columns(stream: Stream) -> int:
    """The number of random numbers that a row takes."""
    return stream.max_seq_length + stream.max_predictions


def masks(
    stream: Stream, ids: tf.Tensor, is_text: tf.Tensor, words: tf.Tensor | None, draws: Draws
) -> dict[str, tf.Tensor]:
    """`ids` (int32[rows, length]) with masks, and masked_lm_{positions,ids,weights}.

    is_text: bool[rows, length], the tokens that may be predicted. words: int32[rows, length], the
    index of each token's word; None to choose single tokens. 15 % of the text is predicted, at
    least one token and at most `max_predictions`; 80 % of it becomes the mask token and 10 %
    another token.
    """
    length, slots = stream.max_seq_length, stream.max_predictions
    score = tf.bitcast(
        tf.bitwise.right_shift(draws.take(length), tf.constant(1, tf.uint32)), tf.int32
    )
    tokens = tf.reduce_sum(tf.cast(is_text, tf.int32), axis=1, keepdims=True)
    wanted = tf.cast(tf.cast(tokens, tf.float32) * stream.data.masked_lm_prob + 0.5, tf.int32)
    wanted = tf.minimum(tf.clip_by_value(wanted, 1, slots), tokens)
    if words is None:
        _, positions = tf.math.top_k(tf.where(is_text, score, -1), slots)
        chosen = tf.range(slots)[None, :] < wanted
    else:
        score = tf.gather(score, tf.minimum(words, length - 1), batch_dims=1)
        ranked, positions = tf.math.top_k(tf.where(is_text, score, -1), length)
        chosen = _whole_words(ranked, wanted)
    positions = tf.sort(tf.where(chosen, positions, length), axis=1)[:, :slots]
    chosen = positions < length
    positions = tf.where(chosen, positions, 0)
    original = tf.gather(ids, positions, batch_dims=1)
    count = len(stream.ordinary_ids)
    drawn = draws.below(10 * count, slots)  # tenths: 8 for the mask, 1 for each ordinary token
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


def _whole_words(ranked: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """bool[rows, length], which tokens are predicted: words in the order of their scores, leaving
    out each one that does not fit into `wanted` tokens with those before it, as in
    google-research/bert.

    ranked: int32[rows, length], descending, the scores of the tokens, equal inside a word; negative
    for what is not text. wanted: int32[rows, 1]. If no word fits, a part of the first is predicted.
    """
    ascending = -ranked
    first = tf.searchsorted(ascending, ascending)
    after = tf.searchsorted(ascending, ascending, 'right')
    place = tf.range(ranked.shape[1])[None, :]
    size, rest = after - first, after - 1 - place

    def fitting(chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        left = wanted - tf.reduce_sum(tf.cast(chosen, tf.int32), axis=1, keepdims=True)
        return left, (ranked >= 0) & ~chosen & (size <= left)

    def take(chosen: tf.Tensor) -> tuple[tf.Tensor]:
        # A word that did not fit once does not fit later, as `left` only gets smaller.
        left, candidates = fitting(chosen)
        until_end_of_word = tf.cumsum(tf.cast(candidates, tf.int32), axis=1) + rest
        return (chosen | candidates & (until_end_of_word <= left),)

    (chosen,) = tf.while_loop(
        lambda chosen: tf.reduce_any(fitting(chosen)[1]), take, (tf.zeros_like(ranked, tf.bool),)
    )
    return tf.where(tf.reduce_any(chosen, axis=1, keepdims=True), chosen, place < wanted)

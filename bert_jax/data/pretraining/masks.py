"""The masked tokens of a batch, as TensorFlow graph operations.

See Devlin et al. (2019), section 3.1 and appendix A.1, and for runs of several words Lan et al.
(2020), section 3.1.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from bert_jax.config import DataConfig
from bert_jax.data.pretraining.stream import Draws, Stream
from bert_jax.data.tokenizers.tokenizer import Tokenizer

# Shares of tokens that begin a word. They are about 0.85 in English and 0.6 in Finnish.
MOST_STARTS, FEWEST_STARTS = 0.99, 0.1


class Layout(NamedTuple):
    """Rows of tokens, [rows, length] each.

    position_ids: int32, from 0 in each sequence. is_text: bool, False for special tokens and
    padding. begins_word: bool, whether a word begins at each place that is text. is_reversed:
    bool[rows, 1], whether the texts of each row run backwards; None if no row is reversed.
    """

    input_ids: tf.Tensor  # int32
    token_type_ids: tf.Tensor  # int32
    attention_mask: tf.Tensor  # int32
    position_ids: tf.Tensor
    is_text: tf.Tensor
    begins_word: tf.Tensor
    is_reversed: tf.Tensor | None


def columns(stream: Stream) -> int:
    """The number of random numbers that a row uses."""
    scores = 2 if stream.data.max_ngram > 1 else 1
    return scores * stream.phase.max_seq_length + stream.phase.max_predictions_per_seq


def masks_words(data: DataConfig) -> bool:
    """Returns whether words are masked as a whole, and not single tokens."""
    return data.whole_word_masking or data.max_ngram > 1


def odd_words(vocabulary: Tokenizer, ids: np.ndarray) -> str:
    """A warning if masking whole words differs little from masking tokens, or if a word is as long
    as a sentence; otherwise ''.

    Both happen in text without spaces. ids: int[tokens], a sample of the text.
    """
    begins = float(vocabulary.word_starts(ids).mean()) if len(ids) else 0.5
    if begins > MOST_STARTS:
        return (
            f'{begins:.1%} of the tokens are words of their own, so masking whole words '
            '(config.data.whole_word_masking, max_ngram) is nearly the same as masking tokens. In '
            'text without spaces, put spaces between the words to mask them as a whole'
        )
    if begins < FEWEST_STARTS:
        return (
            f'a word has {1 / max(begins, 1e-6):.0f} tokens on average, so masking whole words '
            '(config.data.whole_word_masking, max_ngram) masks long pieces of text. In text '
            'without spaces, put spaces between the words'
        )
    return ''


def masks(stream: Stream, row: Layout, draws: Draws) -> dict[str, tf.Tensor]:
    """The arrays of a batch: input_ids, int32[rows, length], with masks, and
    masked_lm_{positions,ids,weights}, [rows, max_predictions_per_seq].

    row: the rows without masks. A share of `masked_lm_prob` of the text is predicted
    (`num_targets`). config.data.mask_shares says how often a predicted token becomes the mask
    token, becomes another token, or stays as it is.
    """
    ids, is_text = row.input_ids, row.is_text
    length, slots = stream.phase.max_seq_length, stream.phase.max_predictions_per_seq
    score = tf.bitcast(
        tf.bitwise.right_shift(draws.take(length), tf.constant(1, tf.uint32)), tf.int32
    )
    wanted = num_targets(stream, is_text)
    if not masks_words(stream.data):
        _, positions = tf.math.top_k(tf.where(is_text, score, -1), slots)
        positions = tf.sort(tf.where(tf.range(slots) < wanted, positions, length), axis=1)
    else:
        words = tf.cumsum(tf.cast(row.begins_word, tf.int32), axis=1)
        if stream.data.max_ngram > 1:
            words = _runs_of_words(words, draws.take(length), stream.data.max_ngram)
        score = tf.gather(score, tf.minimum(words, length - 1), batch_dims=1)
        positions = _positions_of_words(tf.where(is_text, score, -1), wanted, slots)
    chosen = positions < length
    positions = tf.where(chosen, positions, 0)
    original = tf.gather(ids, positions, batch_dims=1)
    count, (masked, replaced, _) = len(stream.vocabulary.ordinary_ids), stream.data.mask_shares
    # The range of the random numbers is divided in thousandths: the first part stands for the mask
    # token, the second part for another token, and the rest for no change.
    drawn = draws.below(1000 * count, slots)
    first, end = round(1000 * masked) * count, round(1000 * (masked + replaced)) * count
    choice = (drawn - first) * count // max(end - first, 1)
    other = tf.gather(stream.vocabulary.ordinary_ids, tf.clip_by_value(choice, 0, count - 1))
    shown = tf.where(drawn < end, other, original)
    shown = tf.where(drawn < first, stream.vocabulary.specials.mask, shown)
    change = tf.where(chosen, shown - original, 0)  # an unused slot adds 0 to the token at place 0
    rows = tf.repeat(tf.range(tf.shape(ids)[0])[:, None], slots, axis=1)
    return {
        'input_ids': tf.tensor_scatter_nd_add(ids, tf.stack([rows, positions], -1), change),
        'masked_lm_positions': positions,
        'masked_lm_ids': tf.where(chosen, original, 0),
        'masked_lm_weights': tf.cast(chosen, tf.float32),
    }


def num_targets(stream: Stream, is_text: tf.Tensor) -> tf.Tensor:
    """The number of tokens to predict in each row, int32[rows, 1]: a share of `masked_lm_prob` of
    the text, at least one token and at most `max_predictions_per_seq`."""
    tokens = tf.reduce_sum(tf.cast(is_text, tf.int32), axis=1, keepdims=True)
    wanted = tf.cast(tf.cast(tokens, tf.float32) * stream.phase.masked_lm_prob + 0.5, tf.int32)
    return tf.minimum(tf.clip_by_value(wanted, 1, stream.phase.max_predictions_per_seq), tokens)


def _runs_of_words(words: tf.Tensor, drawn: tf.Tensor, most: int) -> tf.Tensor:
    """The index of the run that each word belongs to, int32[rows, length].

    The words of a row are divided into runs of n <= `most` words. The probability of n is
    proportional to 1/n. So the lengths of randomly chosen runs have these probabilities. drawn:
    uint32[rows, length], random bits, for the length of each run.
    """
    # The last word of each run; words count from 1.
    ends = tf.cumsum(run_lengths(drawn, most), axis=1)
    return tf.searchsorted(ends, words)


def run_lengths(drawn: tf.Tensor, most: int) -> tf.Tensor:
    """Lengths from 1 to `most`, int32 of the shape of `drawn`, whose probabilities are proportional
    to 1 / length. drawn: uint32, random bits."""
    total = sum(1 / n for n in range(1, most + 1))
    limits = [int(sum(1 / n for n in range(1, m + 1)) / total * 2**32) for m in range(1, most)]
    longer = [tf.cast(tf.cast(drawn, tf.int64) >= limit, tf.int32) for limit in limits]
    return tf.ones_like(drawn, tf.int32) + sum(longer, tf.zeros_like(drawn, tf.int32))


def _positions_of_words(score: tf.Tensor, wanted: tf.Tensor, slots: int) -> tf.Tensor:
    """The positions to predict if words are masked whole: int32[rows, slots], ascending.

    An unused slot has the position `length`. Words are chosen in descending order of their scores,
    until `wanted` tokens are chosen. As in google-research/bert, a word is skipped if it has more
    tokens than are still wanted. If every word is too long, a part of the first word is chosen.

    score: int32[rows, length], equal for all tokens of a word, and -1 if a token is not text.
    wanted: int32[rows, 1].
    """
    length = score.shape[1]

    def among_best(count: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The positions if only the `count` best tokens are considered, and whether they are the
        same as with all tokens."""
        ranked, places = tf.math.top_k(score, count)
        last = ranked[:, -1:] if count < length else tf.constant(-1)
        chosen, left = _whole_words(ranked, wanted, last)
        part_of_first = (left == wanted) & (tf.range(count) < wanted)
        positions = tf.sort(tf.where(chosen | part_of_first, places, length), axis=1)
        return positions[:, :slots], tf.reduce_all((left == 0) | (last < 0))

    # The best tokens nearly always suffice, and sorting all of them takes most of the time.
    positions, is_exact = among_best(min(slots + 16, length))
    return tf.cond(is_exact, lambda: positions, lambda: among_best(length)[0])


def _whole_words(
    ranked: tf.Tensor, wanted: tf.Tensor, last: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Chooses whole words among those with scores above `last`.

    ranked: int32[rows, tokens], the scores in descending order. Returns which tokens are chosen,
    bool[rows, tokens], and how many of the `wanted` tokens remain, int32[rows, 1].
    """
    ascending = -ranked
    first = tf.searchsorted(ascending, ascending)
    after = tf.searchsorted(ascending, ascending, 'right')
    size, rest = after - first, after - 1 - tf.range(ranked.shape[1])

    def take(chosen: tf.Tensor, left: tf.Tensor, fits: tf.Tensor) -> tuple[tf.Tensor, ...]:
        until_end_of_word = tf.cumsum(tf.cast(fits, tf.int32), axis=1) + rest
        taken = fits & (until_end_of_word <= left)
        left -= tf.reduce_sum(tf.cast(taken, tf.int32), axis=1, keepdims=True)
        # A word that did not fit once does not fit later, as `left` only gets smaller.
        return chosen | taken, left, fits & ~taken & (size <= left)

    fits = (ranked > last) & (size <= wanted)
    chosen, left, _ = tf.while_loop(
        lambda chosen, left, fits: tf.reduce_any(fits),
        take,
        (tf.zeros_like(fits), wanted, fits),
    )
    return chosen, left

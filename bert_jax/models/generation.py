"""Generates texts with an encoder-decoder, by beam search. With one beam, it is greedy search.

The tokens are the same as those of `generate` of Hugging Face Transformers with the same options.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bert_jax.models.decoder import KeysAndValues, Source, empty_cache
from bert_jax.models.encoder_decoder import EncoderDecoder
from bert_jax.models.inputs import EncoderInputs

NEVER = -1e9  # the score of a text that must not be chosen


@dataclasses.dataclass(frozen=True)
class Search:
    """The settings of a search.

    start: the id of the token that the decoder reads first. end: the id of the end token, which
    ends a text. pad: the id of padding. tokens: the size of the vocabulary without the rows that
    pad its table; only smaller ids are generated. max_length: the largest number of tokens in a
    text, including the end token. The other fields: see config.eval.
    """

    start: int
    end: int
    pad: int
    tokens: int
    max_length: int
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool = False
    min_target_length: int = 0
    no_repeat_ngram_size: int = 0


class _Beams(NamedTuple):
    """The state of a beam search. The texts in `complete` are sorted, the best one first."""

    position: jax.Array  # int32[], the number of tokens so far
    running: jax.Array  # int32[rows, beams, max_length]
    running_scores: jax.Array  # float32[rows, beams], sums of log-probabilities
    complete: jax.Array  # int32[rows, beams, max_length]
    complete_scores: jax.Array  # float32[rows, beams], with the length penalty
    is_complete: jax.Array  # bool[rows, beams], false where `complete` has no text yet
    improves: jax.Array  # bool[rows], whether a running text may become better than these
    all_end: jax.Array  # bool[], whether no candidate of any row goes on
    own: Any  # the keys and values of these tokens (`KeysAndValues.own`)


def generate(
    model: EncoderDecoder, params: Any, inputs: EncoderInputs, search: Search
) -> jax.Array:
    """Returns the tokens of the texts, int32[rows, max_length], without the start token.

    A text ends with `search.end`, unless it has max_length tokens, and is followed by padding. A
    row without a token, which only fills a batch, has padding alone.
    """
    variables = {'params': params}
    step = functools.partial(model.apply, variables, method='step')
    source = Source(model.apply(variables, inputs)['last_hidden_state'], inputs)
    rows, mask = inputs.input_ids.shape[0], inputs.segment_ids
    has_text = jnp.ones(rows, bool) if mask is None else jnp.any(mask > 0, axis=1)
    empty = empty_cache(model.config, rows, search.num_beams, search.max_length)
    start = jnp.full((rows, search.num_beams), search.start, jnp.int32)
    # Only the keys and values of the source are used. The compiler removes the rest of this step.
    _, first = step(start, source, jnp.int32(0), empty)

    def goes_on(state: _Beams) -> jax.Array:
        full = jnp.all(state.is_complete | ~has_text[:, None]) & search.early_stopping
        return jnp.any(state.improves) & ~full & ~state.all_end

    def add_token(state: _Beams) -> _Beams:
        before = jnp.maximum(state.position - 1, 0)
        last = jnp.where(state.position > 0, state.running[:, :, before], start)
        cache = KeysAndValues(state.own, first.source)
        scores, cache = step(last, source, state.position, cache)
        scores = jnp.where(jnp.arange(scores.shape[-1]) < search.tokens, scores, -jnp.inf)
        scores = _allowed(jax.nn.log_softmax(scores), state.running, state.position, search)
        return _chosen(state, scores, cache.own, search)

    final = jax.lax.while_loop(goes_on, add_token, _beginning(has_text, empty.own, search))
    return jnp.where(has_text[:, None], final.complete[:, 0], search.pad)


def _beginning(has_text: jax.Array, own: Any, search: Search) -> _Beams:
    """Returns the state before the first token."""
    shape = (len(has_text), search.num_beams)
    texts = jnp.full((*shape, search.max_length), search.pad, jnp.int32)
    never = jnp.full(shape, NEVER, jnp.float32)
    return _Beams(
        position=jnp.int32(0),
        running=texts,
        # All beams are equal at first, so one of them is extended.
        running_scores=never.at[:, 0].set(0.0),
        complete=texts,
        complete_scores=never,
        is_complete=jnp.zeros(shape, bool),
        improves=has_text,
        all_end=jnp.bool_(False),
        own=own,
    )


def _chosen(state: _Beams, scores: jax.Array, own: Any, search: Search) -> _Beams:
    """Returns the state after another token. scores: float32[rows, beams, vocab],
    log-probabilities."""
    rows, beams, vocab = scores.shape
    position, length = state.position, state.position + 1
    totals = (state.running_scores[:, :, None] + scores).reshape(rows, beams * vocab)
    # Each beam has at most one candidate with the end token. So of 2 x `beams` candidates, at least
    # `beams` go on.
    totals, indices = jax.lax.top_k(totals, 2 * beams)
    parents, tokens = indices // vocab, (indices % vocab).astype(jnp.int32)
    candidates = _rows_of(state.running, parents).at[:, :, position].set(tokens)
    ends = (tokens == search.end) | (length >= search.max_length)

    # The texts that go on.
    running_scores, kept = jax.lax.top_k(totals + ends * NEVER, beams)
    running = _rows_of(candidates, kept)
    moved = _rows_of(parents, kept)
    if beams > 1:  # a single beam always continues itself
        own = jax.tree.map(lambda x: jax.vmap(_rows_of, (0, None))(x, moved), own)

    # The texts that end here. Only those among the first `beams` candidates count.
    is_new = ends & (jnp.arange(2 * beams) < beams)
    penalized = totals / length.astype(jnp.float32) ** search.length_penalty
    full = jnp.all(state.is_complete, axis=1, keepdims=True) & search.early_stopping
    penalized += full * NEVER + ~state.improves[:, None] * NEVER + ~is_new * NEVER
    merged_scores = jnp.concatenate([state.complete_scores, penalized], axis=1)
    complete_scores, best = jax.lax.top_k(merged_scores, beams)
    complete = _rows_of(jnp.concatenate([state.complete, candidates], axis=1), best)
    is_complete = _rows_of(jnp.concatenate([state.is_complete, is_new], axis=1), best)

    # A row goes on improving while its best running text is better than its worst complete one.
    possible = running_scores[:, :1] / length.astype(jnp.float32) ** search.length_penalty
    worst = jnp.min(complete_scores, axis=1, keepdims=True)
    improves = state.improves & jnp.any(possible > jnp.where(is_complete, worst, NEVER), axis=1)
    return _Beams(
        length,
        running,
        running_scores,
        complete,
        complete_scores,
        is_complete,
        improves,
        jnp.all(ends),
        own,
    )


def _rows_of(values: jax.Array, indices: jax.Array) -> jax.Array:
    """values[rows, n, ...] and indices int[rows, m] -> [rows, m, ...]"""
    return jax.vmap(lambda value, index: value[index])(values, indices)


def _allowed(
    scores: jax.Array, written: jax.Array, position: jax.Array, search: Search
) -> jax.Array:
    """Returns `scores`, float32[rows, beams, vocab], with -inf for the tokens that must not be the
    next one. written: int32[rows, beams, max_length], whose first `position` tokens are known."""
    if search.min_target_length > 1:
        is_end = jnp.arange(scores.shape[-1]) == search.end
        too_early = position + 1 < search.min_target_length
        scores = jnp.where(is_end & too_early, -jnp.inf, scores)
    if 0 < search.no_repeat_ngram_size <= search.max_length:
        scores = jnp.where(_repeats(scores.shape, written, position, search), -jnp.inf, scores)
    return scores


def _repeats(
    shape: tuple[int, ...], written: jax.Array, position: jax.Array, search: Search
) -> jax.Array:
    """Returns bool[rows, beams, vocab]: whether a token would complete an n-gram that the text has
    already, with n = `no_repeat_ngram_size`. The start token is a part of the text."""
    size, known = search.no_repeat_ngram_size, position + 1
    start = jnp.full((*written.shape[:2], 1), search.start, jnp.int32)
    text = jnp.concatenate([start, written], axis=2)
    # If fewer than n tokens are known, the slice begins too early, but no n-gram is complete.
    last = jax.lax.dynamic_slice_in_dim(text, known - (size - 1), size - 1, axis=2)
    count = text.shape[2] - size + 1  # of n-grams in the text
    is_same = jnp.broadcast_to(jnp.arange(count) + size <= known, (*written.shape[:2], count))
    for i in range(size - 1):
        is_same &= text[:, :, i : i + count] == last[:, :, i : i + 1]
    following = text[:, :, size - 1 :]
    row, beam = jnp.arange(shape[0])[:, None, None], jnp.arange(shape[1])[None, :, None]
    return jnp.zeros(shape, bool).at[row, beam, following].max(is_same)

"""Attention to relative positions, as in Transformer-XL and XLNet.

The queries are the tokens of a row and, in pretraining, the targets after them (`models.xlnet`).
The keys are the states of the memory, if there is one, and the tokens of the row.
"""

import functools
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from bert_jax.config import ModelConfig
from bert_jax.models.attention import attention_output
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.layers import Dense, Dropout, dropout, kernel_init, recomputed_except_on_cpu
from bert_jax.models.parameters import compute_dtype, parameter


@flax.struct.dataclass
class Relations:
    """Facts about the pairs of a query and a key, which the attention of every layer reads.

    distances: [1, distances, hidden], the sinusoids of the distances mem_len + length, ..., 1 -
    length. It is [2, distances, hidden] if rows may be reversed; the second part is for the
    negative distances. is_reversed: int32[batch] or None. targets: int32[batch, predictions] or
    None. visible: bool[batch, queries or 1, keys], whether a query attends to a key; None means
    that it attends to all keys. differs: bool[batch, queries, keys], whether query and key are in
    different segments; None means that there are no segments.
    """

    distances: jax.Array
    is_reversed: jax.Array | None
    targets: jax.Array | None
    visible: jax.Array | None
    differs: jax.Array | None


class RelativeAttention(nn.Module):
    """Self-attention with a term for the content, one for the distance and one for the segments of
    query and key (Dai et al., 2019, section 3.3; Yang et al., 2019, section 2.5)."""

    config: ModelConfig

    @nn.compact
    def __call__(
        self, x: jax.Array, keys: jax.Array, relations: Relations, deterministic: bool
    ) -> jax.Array:
        """x[batch, queries, hidden], keys[batch, keys, hidden] -> the shape of x"""
        config, init = self.config, kernel_init(self.config)
        size = (config.num_attention_heads, config.hidden_size // config.num_attention_heads)
        dense: Any = functools.partial(Dense, config, in_axes=('embed',), use_bias=False)
        axes = ('heads', 'head_dim')
        query = dense(size, out_axes=axes, name='query')(x)
        both = (size[0], 2, size[1])
        key_value = dense(both, out_axes=('heads', 'qkv', 'head_dim'), name='key_value')(keys)
        relative = dense(size, out_axes=axes, name='relative')(relations.distances)

        def biased(name: str) -> jax.Array:
            bias = parameter(self, name, init, size, axes, 'bias')
            return (query + bias.astype(query.dtype)) * size[1] ** -0.5

        queries = [biased(f'{name}_bias') for name in ('content', 'position', 'segment')]
        segment = parameter(self, 'segment', init, (2, *size), ('token_type', *axes), 'table')
        rate = config.attention_probs_dropout_prob
        context = _attend(
            queries,
            key_value[:, :, :, 0],
            key_value[:, :, :, 1],
            relative,
            segment.astype(query.dtype),
            relations,
            Dropout(rate, name='probs_dropout').key(deterministic),
            rate,
        )
        return attention_output(config, context)


@recomputed_except_on_cpu(static_argnums=7)
def _attend(
    queries: list[jax.Array],
    k: jax.Array,
    v: jax.Array,
    relative: jax.Array,
    segment: jax.Array,
    relations: Relations,
    key: jax.Array | None,
    rate: float,
) -> jax.Array:
    """Returns [batch, queries, heads, head_dim].

    queries: the scaled queries with the bias of each of the three terms. relative: the projected
    `relations.distances`, [1 or 2, distances, heads, head_dim]. segment: [2, heads, head_dim], for
    equal and for different segments.
    """
    content, position, of_segment = queries
    scores = jnp.einsum('bqhd,bkhd->bhqk', content, k)
    if relations.is_reversed is None:
        far = jnp.einsum('bqhd,phd->bhqp', position, relative[0])
    else:
        chosen = jnp.take(relative, relations.is_reversed, axis=0)
        far = jnp.einsum('bqhd,bphd->bhqp', position, chosen)
    scores = scores + _by_distance(far, k.shape[1], relations.targets)
    if relations.differs is not None:
        terms = jnp.einsum('bqhd,thd->bhqt', of_segment, segment)
        scores = scores + jnp.where(relations.differs[:, None], terms[..., 1:], terms[..., :1])
    scores = scores.astype(jnp.float32)
    if relations.visible is not None:
        hidden = jnp.finfo(jnp.float32).min / 2
        scores = scores + jnp.where(relations.visible[:, None], 0.0, hidden)
    probs = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    kept = dropout(probs, key, rate, ('batch', 'heads', 'length', 'length'))
    return jnp.einsum('bhqk,bkhd->bqhd', kept, v)


def _by_distance(far: jax.Array, keys: int, targets: jax.Array | None) -> jax.Array:
    """Returns the score of the distance between each query and key, [batch, heads, queries, keys].

    far: [batch, heads, queries, distances], a score for each distance, the largest distance first.
    The distances of the query at position i begin at index length - i.
    """
    batch, heads, _, distances = far.shape
    length = distances - keys
    content = far[:, :, :length].reshape(batch, heads, distances, length)
    # Each row of the array without its first `length` values begins one place earlier than the row
    # before (Dai et al., 2019, appendix B).
    content = content[:, :, 1:].reshape(batch, heads, length, distances - 1)[..., :keys]
    if targets is None:
        return content

    def cut(row: jax.Array, position: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice_in_dim(row, length - position, keys, axis=1)

    of_targets = jax.vmap(jax.vmap(cut, in_axes=(1, 0), out_axes=1))(far[:, :, length:], targets)
    return jnp.concatenate([content, of_targets], axis=2)


def relations_of(config: ModelConfig, inputs: EncoderInputs) -> Relations:
    """Returns the relations of the queries and keys of a batch."""
    remembered = 0 if inputs.memory is None else inputs.memory.shape[2]
    signs = (1.0,) if inputs.is_reversed is None else (1.0, -1.0)
    length = inputs.input_ids.shape[1]
    # The bounds of this `arange` are integers, so that `length` may be symbolic (bert_jax export).
    distance = (remembered + length - jnp.arange(remembered + 2 * length)).astype(jnp.float32)
    if config.clamp_len:
        distance = jnp.clip(distance, -config.clamp_len, config.clamp_len)
    # Sines come first and cosines after them. Large distances need float32.
    exponents = jnp.arange(0, config.hidden_size, 2, dtype=jnp.float32) / config.hidden_size
    angles = jnp.asarray(signs)[:, None, None] * distance[:, None] / 10000**exponents
    distances = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    differs = None
    if inputs.token_type_ids is not None:
        rows = _of_queries(inputs.token_type_ids, inputs)
        keys = jnp.pad(inputs.token_type_ids, ((0, 0), (remembered, 0)))  # memory is in segment 0
        differs = rows[:, :, None] != keys[:, None]
    return Relations(
        distances.astype(compute_dtype(config.dtype)),
        inputs.is_reversed,
        inputs.targets,
        _visible(inputs, remembered),
        differs,
    )


def _visible(inputs: EncoderInputs, remembered: int) -> jax.Array | None:
    """Returns `Relations.visible`. remembered: the number of states in the memory."""
    conditions = list[jax.Array]()
    if (segments := inputs.segment_ids) is not None:
        conditions.append(segments[:, None] > 0)
        if inputs.packed:  # padding attends to padding, so that every query has a key
            conditions = [_of_queries(segments, inputs)[:, :, None] == segments[:, None]]
    if (order := inputs.factorization_order) is not None:
        # A token attends to itself and to tokens before it; a target attends to those before it.
        queries = order + 1
        if inputs.targets is not None:
            of_targets = jnp.take_along_axis(order, inputs.targets, axis=1)
            queries = jnp.concatenate([queries, of_targets], axis=1)
        conditions.append(order[:, None] < queries[:, :, None])
    if not conditions and not remembered:
        return None
    rows, length = inputs.input_ids.shape
    visible = functools.reduce(jnp.logical_and, conditions, jnp.ones((rows, 1, length), bool))
    if inputs.memory_length is None:  # there is no memory
        return visible
    known = jnp.arange(remembered) >= remembered - inputs.memory_length[:, None, None]
    known = jnp.broadcast_to(known, (*visible.shape[:2], remembered))
    return jnp.concatenate([known, visible], axis=2)


def _of_queries(values: jax.Array, inputs: EncoderInputs) -> jax.Array:
    """Returns the values [batch, queries] of the queries of both streams. values: [batch, length],
    the values of the tokens."""
    if inputs.targets is None:
        return values
    of_targets = jnp.take_along_axis(values, inputs.targets, axis=1)
    return jnp.concatenate([values, of_targets], axis=1)

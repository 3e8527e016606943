"""Multi-head self-attention (Vaswani et al., 2017), with one projection for q, k and v."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bert_jax.config import ModelConfig
from bert_jax.models import flash_attention
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.layers import Dense, Dropout, dropout, recomputed_except_on_cpu
from bert_jax.parallel.mesh import platform


class SelfAttention(nn.Module):
    """Self-attention in which every token attends to all tokens of its own sequence."""

    config: ModelConfig

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        inputs: EncoderInputs,
        deterministic: bool,
        is_local: jax.Array | None = None,
    ) -> jax.Array:
        """x[batch, length, hidden] -> [batch, length, hidden]

        inputs: segment_ids says which sequence of a row each token belongs to. is_local: bool[],
        whether this layer has local attention; only in models that have local attention. Outputs
        for padding are undefined.
        """
        config = self.config
        q, k, v = queries_keys_values(config, x)
        if config.position_embedding_type == 'rotary':
            cos, sin = _rotations(config, inputs, is_local)
            q, k = _rotated(q, cos, sin), _rotated(k, cos, sin)
        kernel = None
        if config.attention == 'flash' and not self.is_initializing():
            kernel = flash_attention.kernel(x.shape[1], q.shape[-1], q.dtype, inputs.packed)
        if kernel is not None:
            context = kernel(q, k, v, inputs.segment_ids)
        else:
            rate = config.attention_probs_dropout_prob
            key = Dropout(rate, name='probs_dropout').key(deterministic)
            context = attend(q, k, v, inputs, key, rate, _near(config, x.shape[1], is_local))
        return attention_output(config, context)


def queries_keys_values(config: ModelConfig, x: jax.Array) -> list[jax.Array]:
    """Returns the queries, keys and values of x[batch, length, hidden], each [batch, length, heads,
    head_dim]. The dense layer belongs to the module that calls this function."""
    heads = config.num_attention_heads
    shape = (heads, 3, config.hidden_size // heads)
    axes = ('embed',), ('heads', 'qkv', 'head_dim')
    qkv = Dense(config, shape, *axes, use_bias=config.attention_bias, name='query_key_value')(x)
    return [qkv[:, :, :, i] for i in range(3)]


def attention_output(config: ModelConfig, context: jax.Array) -> jax.Array:
    """Returns the result of the last dense layer of attention, [batch, length, hidden].

    context: [batch, length, heads, head_dim]. The dense layer belongs to the module that calls this
    function.
    """
    sizes = (config.hidden_size,), ('heads', 'head_dim'), ('embed',)
    return Dense(config, *sizes, use_bias=config.attention_bias, name='output')(context)


def _near(config: ModelConfig, length: int, is_local: jax.Array | None) -> jax.Array | None:
    """Returns which keys are near enough for each query, bool[length, length].

    None means that every key is near enough.
    """
    if is_local is None:
        return None
    place = jnp.arange(length)
    return (jnp.abs(place[:, None] - place) <= config.local_attention // 2) | ~is_local


def _rotations(
    config: ModelConfig, inputs: EncoderInputs, is_local: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines of the rotary positions, float32[batch or 1, length, 1, head_dim / 2]."""
    head_dim = config.hidden_size // config.num_attention_heads
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / head_dim
    frequencies = jnp.asarray(np.float32(1) / np.float32(config.global_rope_theta) ** exponents)
    if is_local is not None:
        local = np.float32(1) / np.float32(config.local_rope_theta) ** exponents
        frequencies = jnp.where(is_local, local, frequencies)
    positions = inputs.position_ids
    if positions is None:
        positions = jnp.arange(inputs.input_ids.shape[1])[None]
    angles = positions[:, :, None, None].astype(jnp.float32) * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def _rotated(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """x[batch, length, heads, head_dim] with each pair of dimensions (i, i + head_dim / 2) rotated
    by an angle that grows with the position (Su et al., 2021, section 3.2)."""
    one, two = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([one * cos - two * sin, two * cos + one * sin], axis=-1)
    return rotated.astype(x.dtype)


@recomputed_except_on_cpu(static_argnums=5)
def attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    inputs: EncoderInputs,
    key: jax.Array | None,
    rate: float,
    near: jax.Array | None = None,
) -> jax.Array:
    """Returns softmax(q k / sqrt(head_dim) + bias) v, with dropout of the probabilities.

    q: [batch, length, heads, head_dim], like the result. k, v: the same with the length of the
    sequence that `inputs` describes. near: which keys each query may attend to, bool[length, keys].
    """
    # A TPU takes the softmax along the second-last dimension. XLA would choose this layout for the
    # scores, but not for the random bits of dropout, which it would then transpose.
    layout = 'bhkq' if platform() == 'tpu' else 'bhqk'
    axis = layout.index('k')
    scores = jnp.einsum(f'bqhd,bkhd->{layout}', q * q.shape[-1] ** -0.5, k).astype(jnp.float32)
    bias = _bias(inputs, near)
    if bias is not None:
        scores = scores + (bias if layout == 'bhqk' else bias.swapaxes(-1, -2))
    probs = jax.nn.softmax(scores, axis).astype(v.dtype)
    kept = dropout(probs, key, rate, ('batch', 'heads', 'length', 'length'))
    return jnp.einsum(f'{layout},bkhd->bqhd', kept, v)


def _bias(inputs: EncoderInputs, near: jax.Array | None) -> jax.Array | None:
    """Returns a bias for the scores: 0 if a query may attend to a key, else a very negative number.

    float32[batch, 1, 1, length] for rows of one sequence, [batch, 1, length, length] for packed
    rows and with local attention. None if every query attends to every key.
    """
    segments = inputs.segment_ids
    seen = list[jax.Array]()
    if segments is not None:
        seen.append(segments[:, None, None, :] > 0)
        if inputs.packed:  # padding attends to padding, so that every query has a key
            seen = [segments[:, None, :, None] == segments[:, None, None, :]]
    if near is not None:
        seen.append(near[None, None])
    if not seen:
        return None
    visible = functools.reduce(jnp.logical_and, seen)
    return jnp.where(visible, 0.0, jnp.finfo(jnp.float32).min / 2)

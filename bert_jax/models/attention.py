"""Multi-head self-attention (Vaswani et al., 2017), with one projection for q, k and v."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bert_jax.config import ModelConfig
from bert_jax.models import flash_attention
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.layers import Dense, Dropout, dropout
from bert_jax.parallel.mesh import platform


class SelfAttention(nn.Module):
    """Self-attention in which every token attends to all tokens of its own sequence."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x: jax.Array, inputs: EncoderInputs, deterministic: bool) -> jax.Array:
        """x[batch, length, hidden] -> [batch, length, hidden]

        inputs: segment_ids says which sequence of a row each token belongs to. Outputs for padding
        are undefined.
        """
        config = self.config
        heads = config.num_attention_heads
        head_dim = config.hidden_size // heads
        qkv = Dense(
            config,
            (heads, 3, head_dim),
            ('embed',),
            ('heads', 'qkv', 'head_dim'),
            name='query_key_value',
        )(x)
        q, k, v = (qkv[:, :, :, i] for i in range(3))  # [batch, length, heads, head_dim]
        kernel = None
        if config.attention == 'flash' and not self.is_initializing():
            kernel = flash_attention.kernel(x.shape[1], head_dim, q.dtype, inputs.packed)
        if kernel is not None:
            context = kernel(q, k, v, inputs.segment_ids)
        else:
            rate = config.attention_probs_dropout_prob
            key = Dropout(rate, name='probs_dropout').key(deterministic)
            # On TPU and GPU memory bandwidth limits attention, so the backward pass recomputes the
            # probabilities. On CPU arithmetic does, so they are saved.
            attend = _attend if platform() == 'cpu' else _attend_recomputed
            context = attend(q, k, v, inputs, key, rate)
        return Dense(
            config, (config.hidden_size,), ('heads', 'head_dim'), ('embed',), name='output'
        )(context)


def _attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    inputs: EncoderInputs,
    key: jax.Array | None,
    rate: float,
) -> jax.Array:
    """Returns softmax(q k / sqrt(head_dim) + bias) v, with dropout of the probabilities.

    q, k, v: [batch, length, heads, head_dim], like the result.
    """
    # A TPU takes the softmax along the second-last dimension. XLA would choose this layout for the
    # scores, but not for the random bits of dropout, which it would then transpose.
    layout = 'bhkq' if platform() == 'tpu' else 'bhqk'
    axis = layout.index('k')
    scores = jnp.einsum(f'bqhd,bkhd->{layout}', q * q.shape[-1] ** -0.5, k).astype(jnp.float32)
    bias = _bias(inputs)
    if bias is not None:
        scores = scores + (bias if layout == 'bhqk' else bias.swapaxes(-1, -2))
    probs = jax.nn.softmax(scores, axis).astype(v.dtype)
    kept = dropout(probs, key, rate, ('batch', 'heads', 'length', 'length'))
    return jnp.einsum(f'{layout},bkhd->bqhd', kept, v)


_attend_recomputed = jax.checkpoint(_attend, prevent_cse=False, static_argnums=5)


def _bias(inputs: EncoderInputs) -> jax.Array | None:
    """What to add to the scores: 0 if a query may attend to a key, else a very negative number.

    float32[batch, 1, 1, length] for rows of one sequence, [batch, 1, length, length] for packed
    rows. None if there are no segment_ids: then every query attends to every key.
    """
    segments = inputs.segment_ids
    if segments is None:
        return None
    visible = segments[:, None, None, :] > 0
    if inputs.packed:  # padding attends to padding, so that every query has a key
        visible = segments[:, None, :, None] == segments[:, None, None, :]
    return jnp.where(visible, 0.0, jnp.finfo(jnp.float32).min / 2)

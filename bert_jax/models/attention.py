"""Multi-head self-attention (Vaswani et al., 2017), with one projection for q, k and v."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bert_jax.config import ModelConfig
from bert_jax.models import flash_attention
from bert_jax.models.layers import Dense, DropoutKey, drop
from bert_jax.parallel.sharding import platform


class SelfAttention(nn.Module):
    config: ModelConfig

    @nn.compact
    def __call__(self, x: jax.Array, attention_mask: jax.Array, deterministic: bool) -> jax.Array:
        """x[batch, length, hidden], attention_mask int32[batch, length], 1 for real tokens, which
        come first -> [batch, length, hidden]"""
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
        attend = None
        if config.attention == 'flash' and not self.is_initializing():
            attend = flash_attention.kernel(x.shape[1], head_dim, q.dtype)
        if attend is not None:
            context = attend(q, k, v, attention_mask)
        else:
            rate = config.attention_probs_dropout_prob
            key = DropoutKey(rate, name='probs_dropout')(deterministic)
            # Memory is what a TPU or GPU waits for: the backward pass has the probabilities anew
            # from q and k. On CPU it is arithmetic.
            plain = _attend if platform() == 'cpu' else _attend_again
            context = plain(q, k, v, attention_mask, key, rate)
        return Dense(
            config, (config.hidden_size,), ('heads', 'head_dim'), ('embed',), name='output'
        )(context)


def _attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    attention_mask: jax.Array,
    key: jax.Array | None,
    rate: float,
) -> jax.Array:
    """[batch, length, heads, head_dim] three times -> the same shape"""
    # A TPU's softmax goes along the dimension before the last. XLA would have it there by itself,
    # but not the random bits, which it would then transpose.
    form = 'bhkq' if platform() == 'tpu' else 'bhqk'
    axis = form.index('k')
    scores = jnp.einsum(f'bqhd,bkhd->{form}', q * q.shape[-1] ** -0.5, k).astype(jnp.float32)
    bias = jnp.moveaxis(_padding_bias(attention_mask), -1, axis)
    probs = jax.nn.softmax(scores + bias, axis).astype(v.dtype)
    dropped = drop(probs, key, rate, ('batch', 'heads', 'length', 'length'))
    return jnp.einsum(f'{form},bkhd->bqhd', dropped, v)


_attend_again = jax.checkpoint(_attend, prevent_cse=False, static_argnums=5)


def _padding_bias(attention_mask: jax.Array) -> jax.Array:
    """int32[batch, length], 1 for real tokens -> float32[batch, 1, 1, length], added to scores."""
    return jnp.where(attention_mask[:, None, None, :] > 0, 0.0, jnp.finfo(jnp.float32).min / 2)

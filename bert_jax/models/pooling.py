"""The hidden state that represents a row."""

import jax
import jax.numpy as jnp

from bert_jax.config import ModelConfig


def pooled_token(config: ModelConfig, hidden: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Returns the hidden state of the token that represents the row, [batch, hidden].

    It is the first token or, with summary_type 'last', the last one that is not padding. mask:
    int32[batch, length], 0 for padding; None means that there is no padding.
    """
    if config.summary_type != 'last':
        return hidden[:, 0]
    return hidden[:, -1] if mask is None else last_token(hidden, mask)


def last_token(hidden: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the hidden state of the last token of each row, [batch, hidden]. hidden, mask: see
    `pooled_token`."""
    last = jnp.max(jnp.where(mask > 0, jnp.arange(mask.shape[1]), 0), axis=1)
    return jnp.take_along_axis(hidden, last[:, None, None], axis=1, mode='clip')[:, 0]


def summarized(config: ModelConfig, hidden: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Returns the hidden state that a classifier reads, [batch, hidden]: that of one token, or the
    mean over all tokens."""
    if config.summary_type != 'mean':
        return pooled_token(config, hidden, mask)
    weights = jnp.ones(hidden.shape[:2]) if mask is None else (mask > 0).astype(jnp.float32)
    total = jnp.sum(hidden.astype(jnp.float32) * weights[:, :, None], axis=1)
    # A row of padding at the end of a batch has no tokens.
    return (total / jnp.maximum(weights.sum(axis=1), 1)[:, None]).astype(hidden.dtype)

"""Losses and accuracies as (sum, count): whoever reports them divides once, by the global count."""

import jax
import jax.numpy as jnp

Sum = tuple[jax.Array, jax.Array]
Sums = dict[str, Sum]


def cross_entropy(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> Sum:
    """float[..., classes], int32[...], float32[...] -> weighted sum of nats, sum of weights"""
    logits = logits.astype(jnp.float32)
    picked = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    losses = jax.nn.logsumexp(logits, axis=-1) - picked
    return jnp.sum(losses * weights), jnp.sum(weights)


def accuracy(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> Sum:
    """float[..., classes], int32[...], float32[...] -> weighted number right, sum of weights"""
    right = jnp.argmax(logits, axis=-1) == labels
    return jnp.sum(right * weights), jnp.sum(weights)


def mean(value: Sum, count: jax.Array | None = None) -> jax.Array:
    """sum / count, and 0 where the count is 0."""
    total, own = value
    count = own if count is None else count
    return total / jnp.where(count == 0, 1, count)

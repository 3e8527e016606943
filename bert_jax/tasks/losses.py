"""Losses and accuracies as pairs (sum, count), so that a mean can be taken over all batches."""

import jax
import jax.numpy as jnp

Sum = tuple[jax.Array, jax.Array]  # a weighted sum, and the sum of the weights
Sums = dict[str, Sum]


def cross_entropy(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> Sum:
    """Returns the cross-entropy in nats.

    logits: float[..., classes]. labels: int32[...]. weights: float32[...].
    """
    logits = logits.astype(jnp.float32)
    picked = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    losses = jax.nn.logsumexp(logits, axis=-1) - picked
    return jnp.sum(losses * weights), jnp.sum(weights)


def accuracy(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> Sum:
    """Returns the weighted number of labels that have the largest logit.

    The arguments are as in `cross_entropy`.
    """
    correct = jnp.argmax(logits, axis=-1) == labels
    return jnp.sum(correct * weights), jnp.sum(weights)


def padding_fraction(attention_mask: jax.Array) -> Sum:
    """Returns the number of padding positions and of all positions of int32[batch, length]."""
    positions = jnp.float32(attention_mask.size)
    return positions - jnp.sum(attention_mask, dtype=jnp.float32), positions


def divide(total: jax.Array, count: jax.Array) -> jax.Array:
    """Returns total / count, and 0 if the count is 0."""
    return total / jnp.where(count == 0, 1, count)

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


def smoothed_cross_entropy(
    logits: jax.Array, labels: jax.Array, weights: jax.Array, smoothing: float
) -> Sum:
    """Returns the cross-entropy with targets that have 1 - smoothing of the probability at the
    label; the rest is spread evenly over all classes (Szegedy et al., 2016, section 7).

    The other arguments are as in `cross_entropy`.
    """
    total, count = cross_entropy(logits, labels, weights)
    if not smoothing:
        return total, count
    logits = logits.astype(jnp.float32)
    uniform = jax.nn.logsumexp(logits, axis=-1) - jnp.mean(logits, axis=-1)
    return (1 - smoothing) * total + smoothing * jnp.sum(uniform * weights), count


def binary_cross_entropy(
    logits: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    positive_weights: jax.Array | float = 1.0,
) -> Sum:
    """Returns the mean over classes of the binary cross-entropy in nats, summed over rows.

    logits: float[rows, classes]. targets: int32[rows, classes], 1 or 0. weights: float32[rows].
    positive_weights: float32[classes], the weight of a loss whose target is 1.
    """
    logits, targets = logits.astype(jnp.float32), targets.astype(jnp.float32)
    positive = positive_weights * targets * jax.nn.log_sigmoid(logits)
    losses = -jnp.mean(positive + (1 - targets) * jax.nn.log_sigmoid(-logits), axis=-1)
    return jnp.sum(losses * weights), jnp.sum(weights)


def accuracy(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> Sum:
    """Returns the weighted number of labels that have the largest logit.

    The arguments are as in `cross_entropy`.
    """
    correct = jnp.argmax(logits, axis=-1) == labels
    return jnp.sum(correct * weights), jnp.sum(weights)


def softened_kl(
    logits: jax.Array, teacher: jax.Array, weights: jax.Array, temperature: float
) -> Sum:
    """Returns the divergence KL(teacher || student) of softened scores, in nats, times
    temperature**2, which keeps its gradients as large as those of a cross-entropy (Hinton et al.,
    2015, section 2).

    logits, teacher: float[..., classes]. weights: float32[...].
    """
    student = jax.nn.log_softmax(logits.astype(jnp.float32) / temperature)
    expected = jax.nn.log_softmax(teacher.astype(jnp.float32) / temperature)
    divergence = jnp.sum(jnp.exp(expected) * (expected - student), axis=-1) * temperature**2
    return jnp.sum(divergence * weights), jnp.sum(weights)


def cosine_distance(hidden: jax.Array, teacher: jax.Array, weights: jax.Array) -> Sum:
    """Returns 1 - cos of the angle between hidden states float[..., width]; 1 for a state of 0.

    weights: float32[...].
    """
    one, other = hidden.astype(jnp.float32), teacher.astype(jnp.float32)
    # The limits are those of torch's function. The gradient of a root at 0 would be infinite.
    squares = jnp.sum(one**2, axis=-1) * jnp.sum(other**2, axis=-1)
    cosine = jnp.sum(one * other, axis=-1) / jnp.sqrt(jnp.maximum(squares, 1e-16))
    return jnp.sum((1 - cosine) * weights), jnp.sum(weights)


def padding_fraction(attention_mask: jax.Array) -> Sum:
    """Returns the number of padding positions and of all positions of int32[batch, length]."""
    positions = jnp.float32(attention_mask.size)
    return positions - jnp.sum(attention_mask, dtype=jnp.float32), positions


def divide(total: jax.Array, count: jax.Array) -> jax.Array:
    """Returns total / count, and 0 if the count is 0."""
    return total / jnp.where(count == 0, 1, count)

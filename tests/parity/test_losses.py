"""Losses against PyTorch's own functions: their values and gradients."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bert_jax.tasks.losses import (
    Sum,
    binary_cross_entropy,
    cosine_distance,
    cross_entropy,
    softened_kl,
)

torch = pytest.importorskip('torch')
functional = torch.nn.functional
pytestmark = pytest.mark.slow

ROWS, CLASSES = 6, 4
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(CLASSES, size=ROWS)
TARGETS = RANDOM.integers(2, size=(ROWS, CLASSES))
WEIGHTS = np.float32([0.2, 1, 3, 7])


def drawn(*shape: int, scale: float = 3) -> np.ndarray:
    return np.float32(scale * RANDOM.normal(size=shape))


def mean(total_and_count: Sum) -> jax.Array:
    total, count = total_and_count
    return total / count


def compare(ours: Callable[..., Any], theirs: Callable[..., Any], *inputs: np.ndarray) -> None:
    tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
    expected = theirs(*tensors)
    expected.backward()
    value, gradients = jax.value_and_grad(ours, tuple(range(len(inputs))))(*inputs)
    np.testing.assert_allclose(value, expected.item(), rtol=1e-5)
    for gradient, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), atol=2e-6)


def test_weighted_classes() -> None:
    weights = jnp.asarray(WEIGHTS[LABELS])
    compare(
        lambda x: mean(cross_entropy(x, jnp.asarray(LABELS), weights)),
        lambda x: functional.cross_entropy(x, torch.tensor(LABELS), weight=torch.tensor(WEIGHTS)),
        drawn(ROWS, CLASSES, scale=20),
    )


def test_weighted_sets_of_labels() -> None:
    targets, weights = torch.tensor(TARGETS, dtype=torch.float32), torch.tensor(WEIGHTS)
    given = jnp.asarray(TARGETS), jnp.ones(ROWS), jnp.asarray(WEIGHTS)
    compare(
        lambda x: mean(binary_cross_entropy(x, *given)),
        lambda x: functional.binary_cross_entropy_with_logits(x, targets, pos_weight=weights),
        drawn(ROWS, CLASSES, scale=20),
    )


@pytest.mark.parametrize('temperature', [1.0, 2.0, 5.0])
def test_distillation(temperature: float) -> None:
    """The sum of the DistilBERT authors' code: 5 KL * T^2 + 2 masked-LM + 1 cosine, means over
    tokens."""
    scores, target, ones = drawn(ROWS, 50), drawn(ROWS, 16), jnp.ones(ROWS)
    labels = RANDOM.integers(50, size=ROWS)

    def ours(logits: jax.Array, hidden: jax.Array) -> jax.Array:
        kl = mean(softened_kl(logits, scores, ones, temperature))
        mlm = mean(cross_entropy(logits, jnp.asarray(labels), ones))
        return 5 * kl + 2 * mlm + mean(cosine_distance(hidden, target, ones))

    def theirs(logits: Any, hidden: Any) -> Any:
        kl = torch.nn.KLDivLoss(reduction='batchmean')(
            functional.log_softmax(logits / temperature, dim=-1),
            functional.softmax(torch.tensor(scores) / temperature, dim=-1),
        )
        cosine = functional.cosine_embedding_loss(hidden, torch.tensor(target), torch.ones(ROWS))
        mlm = functional.cross_entropy(logits, torch.tensor(labels))
        return 5 * kl * temperature**2 + 2 * mlm + cosine

    compare(ours, theirs, drawn(ROWS, 50), drawn(ROWS, 16))


def test_hidden_states_of_zero_have_finite_gradients() -> None:
    gradient = jax.grad(lambda x: cosine_distance(x, jnp.ones((1, 4)), jnp.ones(1))[0])
    assert np.isfinite(gradient(jnp.zeros((1, 4)))).all()

"""Losses with weights against PyTorch's functions: their values and gradients."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bert_jax.tasks.losses import Sum, binary_cross_entropy, cross_entropy

torch = pytest.importorskip('torch')
functional = torch.nn.functional
pytestmark = pytest.mark.slow

ROWS, CLASSES = 6, 4
RANDOM = np.random.default_rng(0)
LOGITS = np.float32(20 * RANDOM.normal(size=(ROWS, CLASSES)))
LABELS = RANDOM.integers(CLASSES, size=ROWS)
TARGETS = RANDOM.integers(2, size=(ROWS, CLASSES))
WEIGHTS = np.float32([0.2, 1, 3, 7])


def classes(logits: jax.Array) -> Sum:
    return cross_entropy(logits, jnp.asarray(LABELS), jnp.asarray(WEIGHTS[LABELS]))


def label_sets(logits: jax.Array) -> Sum:
    weights = jnp.asarray(WEIGHTS)
    return binary_cross_entropy(logits, jnp.asarray(TARGETS), jnp.ones(ROWS), weights)


THEIRS: dict[Callable[[jax.Array], Sum], Callable] = {
    classes: lambda x: functional.cross_entropy(
        x, torch.tensor(LABELS), weight=torch.tensor(WEIGHTS)
    ),
    label_sets: lambda x: functional.binary_cross_entropy_with_logits(
        x, torch.tensor(TARGETS, dtype=torch.float32), pos_weight=torch.tensor(WEIGHTS)
    ),
}


@pytest.mark.parametrize('ours', THEIRS)
def test_weighted_losses_are_those_of_pytorch(ours: Callable[[jax.Array], Sum]) -> None:
    x = torch.tensor(LOGITS, requires_grad=True)
    expected = THEIRS[ours](x)
    expected.backward()

    def mean(logits: jax.Array) -> jax.Array:
        total, count = ours(logits)
        return total / count

    value, grad = jax.value_and_grad(mean)(jnp.asarray(LOGITS))
    assert float(value) == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(grad, x.grad, atol=1e-6)

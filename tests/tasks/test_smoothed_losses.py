"""The loss of a decoder with smoothed labels."""

import jax
import numpy as np
import pytest

from bert_jax.tasks.losses import cross_entropy, smoothed_cross_entropy


def test_smoothed_losses() -> None:
    """The cross-entropy with a distribution that has most of its probability at the label."""
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(3, 4, 5)).astype('f'), random.integers(0, 5, (3, 4))
    weights = random.integers(0, 2, (3, 4)).astype('f')
    logs = np.asarray(jax.nn.log_softmax(logits))
    expected = -(0.8 * np.eye(5)[labels] + 0.2 / 5) * logs
    total, count = smoothed_cross_entropy(logits, labels, weights, 0.2)
    assert float(total) == pytest.approx((expected.sum(-1) * weights).sum(), rel=1e-5)
    assert float(count) == weights.sum()
    plain = smoothed_cross_entropy(logits, labels, weights, 0.0)
    assert plain == cross_entropy(logits, labels, weights)

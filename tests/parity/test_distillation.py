"""The losses of distillation and their gradients, against PyTorch's own functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bert_jax.tasks.losses import cosine_distance, cross_entropy, softened_kl

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.slow


@pytest.mark.parametrize('temperature', [1.0, 2.0, 5.0])
def test_losses_and_gradients(temperature: float) -> None:
    """The sum of the DistilBERT authors' code: 5 KL * T^2 + 2 masked-LM + 1 cosine, means over
    tokens."""
    random = np.random.default_rng(0)
    shapes = {'logits': (6, 50), 'expected': (6, 50), 'hidden': (6, 16), 'target': (6, 16)}
    arrays = {name: 3 * random.normal(size=s).astype('float32') for name, s in shapes.items()}
    labels = random.integers(50, size=6)

    def ours(logits: jax.Array, hidden: jax.Array) -> jax.Array:
        weights = jnp.ones(6)
        terms = {
            5.0: softened_kl(logits, arrays['expected'], weights, temperature),
            2.0: cross_entropy(logits, jnp.asarray(labels), weights),
            1.0: cosine_distance(hidden, arrays['target'], weights),
        }
        return sum(weight * total / count for weight, (total, count) in terms.items())

    logits, hidden = (torch.tensor(arrays[n], requires_grad=True) for n in ('logits', 'hidden'))
    functional = torch.nn.functional
    kl = torch.nn.KLDivLoss(reduction='batchmean')(
        functional.log_softmax(logits / temperature, dim=-1),
        functional.softmax(torch.tensor(arrays['expected']) / temperature, dim=-1),
    )
    cosine = torch.nn.CosineEmbeddingLoss(reduction='mean')(
        hidden, torch.tensor(arrays['target']), torch.ones(6)
    )
    mlm = functional.cross_entropy(logits, torch.tensor(labels))
    theirs = 5 * kl * temperature**2 + 2 * mlm + cosine
    theirs.backward()
    value, gradients = jax.value_and_grad(ours, (0, 1))(arrays['logits'], arrays['hidden'])
    np.testing.assert_allclose(value, theirs.item(), rtol=1e-5)
    for gradient, tensor in zip(gradients, (logits, hidden), strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), atol=2e-6)


def test_hidden_states_of_zero_have_finite_gradients() -> None:
    gradient = jax.grad(lambda x: cosine_distance(x, jnp.ones((1, 4)), jnp.ones(1))[0])
    assert np.isfinite(gradient(jnp.zeros((1, 4)))).all()

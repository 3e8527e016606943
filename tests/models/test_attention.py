"""Plain attention, here and in the order of dimensions that it has on TPUs."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bert_jax.config import MeshConfig
from bert_jax.models import attention, layers
from bert_jax.models.inputs import EncoderInputs
from bert_jax.parallel.mesh import make_mesh

SHAPE = (3, 16, 4, 8)  # batch, length, heads, head_dim
Q, K, V = jax.random.normal(jax.random.key(0), (3, *SHAPE))
MASK = jnp.ones(SHAPE[:2], jnp.int32).at[1, 9:].set(0)


@pytest.fixture(params=['cpu', 'tpu'])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    for module in (attention, layers):
        monkeypatch.setattr(module, 'platform', lambda: request.param)
    return request.param


def test_the_order_of_dimensions_changes_no_number(place: str) -> None:
    """It changes no gradient either. The reference is the definition of attention."""

    def defined(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        scores = jnp.einsum('bqhd,bkhd->bqkh', q, k) / math.sqrt(SHAPE[-1])
        weights = jnp.where(MASK[:, None, :, None] > 0, jnp.exp(scores), 0)
        weights /= weights.sum(axis=2, keepdims=True)
        return jnp.einsum('bqkh,bkhd->bqhd', weights, v)

    def ours(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return attention.attend(q, k, v, EncoderInputs(MASK, segment_ids=MASK), None, 0.0)

    along = re.search(r'reduce_max\[\s*axes=\((\d),', str(jax.make_jaxpr(ours)(Q, K, V)))
    assert along and along[1] == {'cpu': '3', 'tpu': '2'}[place], 'of [batch, heads, ...]'
    np.testing.assert_allclose(ours(Q, K, V), defined(Q, K, V), atol=2e-6)
    gradients = [
        jax.grad(lambda *x, f=f: jnp.sum(jnp.square(f(*x))), argnums=(0, 1, 2))(Q, K, V)
        for f in (ours, defined)
    ]
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_probabilities_are_dropped(place: str) -> None:
    """Probabilities are dropped one by one and the others grow, so that the mean stays one."""
    ones, zeros = jnp.ones((64, *SHAPE[1:])), jnp.zeros((64, *SHAPE[1:]))
    inputs = EncoderInputs(jnp.ones((64, SHAPE[1]), jnp.int32))
    sums = attention.attend(zeros, zeros, ones, inputs, jax.random.key(1), 0.5)[..., 0]
    np.testing.assert_allclose(sums.mean(), 1, atol=0.02)
    kept = sums * SHAPE[1] / 2  # of 16 keys: binomial
    np.testing.assert_allclose(kept, np.round(kept), atol=1e-5)
    np.testing.assert_allclose(kept.var(), SHAPE[1] / 4, rtol=0.1)
    for axis in range(3):  # neighbours in batch, queries and heads have drawn their own
        pairs = np.moveaxis(np.asarray(sums), axis, 0)
        assert abs(np.corrcoef(pairs[0].ravel(), pairs[1].ravel())[0, 1]) < 0.25


def test_a_tpu_neither_unpacks_nor_transposes_random_bits(four: list[jax.Device]) -> None:
    """In plain attention, forward and backward, only the generator writes random words."""
    mesh = make_mesh(MeshConfig(1, 1, 1), four[:1])
    here = jax.sharding.NamedSharding(mesh, jax.P())
    q = jax.ShapeDtypeStruct((8, 512, 8, 64), jnp.bfloat16, sharding=here)
    mask = jax.ShapeDtypeStruct((8, 512), jnp.int32, sharding=here)
    key = jax.eval_shape(lambda: jax.random.key(0, impl='rbg'))

    def total(q: jax.Array, mask: jax.Array, key: jax.Array) -> jax.Array:
        inputs = EncoderInputs(mask, segment_ids=mask)
        return jnp.sum(attention.attend(q, q, q, inputs, key, 0.1).astype('float32'))

    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        text = jax.jit(jax.grad(total)).lower(q, mask, key).compile().as_text()
    whole = 8 * 8 * 512 * 512 // 2
    words = re.findall(r'= u32\[([\d,]+)\]\S* ([\w-]+)\(', text.partition('ENTRY')[2])
    large = {op for shape, op in words if math.prod(map(int, shape.split(','))) >= whole}
    assert large == {'rng-bit-generator'}

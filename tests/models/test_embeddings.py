"""Scores against the table: their gradients are written out, so they are compared with JAX's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bert_jax.models.embeddings import _scores


def plainly(x: jax.Array, table: jax.Array) -> jax.Array:
    return jnp.einsum('bph,vh->bpv', x, table, preferred_element_type=jnp.float32)


@pytest.mark.parametrize(('dtype', 'tolerance'), [('float32', 1e-5), ('bfloat16', 2e-2)])
def test_scores_and_their_gradients(dtype: str, tolerance: float) -> None:
    generator = np.random.default_rng(0)
    x, table, gradient = (
        jnp.asarray(generator.normal(size=shape), kind)
        for shape, kind in (((2, 5, 16), dtype), ((24, 16), dtype), ((2, 5, 24), 'float32'))
    )
    scores, pull = jax.vjp(_scores, x, table)
    wanted, plain_pull = jax.vjp(plainly, x.astype('float32'), table.astype('float32'))
    assert scores.dtype == jnp.float32
    np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(pull(gradient), plain_pull(gradient), strict=True):
        assert ours.dtype == jnp.dtype(dtype), 'no wider than what it is of'
        size = float(jnp.abs(theirs).max())
        np.testing.assert_allclose(
            np.asarray(ours, 'float32') / size, theirs / size, atol=tolerance
        )

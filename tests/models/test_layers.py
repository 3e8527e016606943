"""The type of each computation if the model computes in bfloat16."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from tiny_model import TINY

from bert_jax.models.heads import DECODER, HEADS, HeadedEncoder
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.layers import ACTIVATIONS
from bert_jax.models.parameters import ParameterInfo, cast_kernels, describe


@pytest.mark.parametrize('name', ['gelu', 'gelu_new'])
def test_activations_are_computed_in_float32(name: str) -> None:
    x = jnp.linspace(-3, 3, 97, dtype=jnp.bfloat16)
    wide = jax.nn.gelu(x.astype(jnp.float32), approximate=name == 'gelu_new')
    assert jnp.array_equal(ACTIVATIONS[name](x), wide.astype(jnp.bfloat16))


def test_training_rounds_the_kernels_that_evaluation_rounds() -> None:
    """The scores of heads are computed in float32, so their kernels are not rounded."""
    heads = tuple(name for name in HEADS if name != DECODER)
    model = HeadedEncoder(dataclasses.replace(TINY.model, dtype='bfloat16'), heads, num_labels=3)
    init = functools.partial(model.init, jax.random.key(0), EncoderInputs.example())
    boxed = jax.eval_shape(init)['params']
    info = describe(boxed)
    cast = jax.eval_shape(lambda params: cast_kernels(params, info), nn.unbox(boxed))
    scores = {*heads} - {'pooler', 'masked_lm'}

    def expected(fact: ParameterInfo) -> str:
        return 'bfloat16' if fact.kind == 'kernel' and fact.part not in scores else 'float32'

    assert {fact.part for fact in jax.tree.leaves(info)} > scores
    assert jax.tree.map(lambda x: str(x.dtype), cast) == jax.tree.map(expected, info)

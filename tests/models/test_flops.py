"""FLOPs of a step against XLA's own count."""

import dataclasses
from typing import Any

import jax
import pytest
from flax import linen as nn
from tiny_model import TINY

from bert_jax.config import ModelConfig, Phase
from bert_jax.models.flops import step_flops
from bert_jax.models.presets import PRESETS
from bert_jax.tasks.pretraining import PretrainTask


def test_bert_base_by_hand() -> None:
    """A step of 256 x 128 tokens has about 120 TFLOPs: 6 for each of the 85M parameters of the
    layers and each token, 5 % more for attention, and those of the head for 20 of 128 tokens."""
    flops = step_flops(ModelConfig(), Phase(1, 128, 256, 20))
    layers = 6 * 84_934_656 * 256 * 128
    head = 6 * 256 * 20 * 768 * (768 + 30522)
    assert 1.0 < flops / (layers + head) < 1.05


@pytest.mark.parametrize('changes', [{}, {'embedding_size': 512}, {'gated_mlp': True}], ids=str)
def test_forward_agrees_with_what_xla_counts(changes: dict[str, Any]) -> None:
    """XLA counts a loop's body once, so one layer; its count has the element-wise work as well."""
    model = ModelConfig(
        vocab_size=1024,
        hidden_size=256,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=1024,
        max_position_embeddings=128,
        **changes,
    )
    phase, task = Phase(1, 128, 8, 20), PretrainTask(model)
    params = jax.eval_shape(lambda: task.init(jax.random.key(0)))
    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    batch = {
        name: jax.ShapeDtypeStruct(feature.shape, feature.dtype)
        for name, feature in task.batch_spec(phase).items()
    }

    def forward(params: object, batch: dict) -> object:
        return task.predict(nn.unbox(params), batch)

    cost = jax.jit(forward).lower(params, batch).compile().cost_analysis()
    ratio = cost['flops'] / (step_flops(model, phase) / 3)
    assert 1.0 < ratio < 1.1


def test_shared_layers_count_as_often_as_they_are_applied() -> None:
    phase, model = Phase(1, 128, 8, 20), PRESETS['albert-base']
    alone = dataclasses.replace(model, share_layers=False)
    assert step_flops(model, phase) == step_flops(alone, phase)
    assert step_flops(model, phase) < step_flops(PRESETS['bert-base'], phase)  # a smaller decoder


def test_phases_count_by_their_shape() -> None:
    one, two = Phase(1, 32, 16, 5), Phase(1, 32, 32, 5)
    flops = step_flops
    assert flops(TINY.model, two) == 2 * flops(TINY.model, one)
    assert flops(TINY.model, Phase(1, 64, 16, 10)) > 2 * flops(TINY.model, one)

"""Evaluation: every example counts once, however the batches are cut and padded."""

import math

import jax
import numpy as np
import pytest
from flax import linen as nn
from tiny_model import TINY

from bert_jax import batch as batches
from bert_jax.config import MeshConfig, Phase
from bert_jax.parallel.mesh import make_mesh
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.training import train_step
from bert_jax.training.evaluation import evaluate

TASK = PretrainTask(TINY.model)
SIZE = 8


def cut(examples: dict[str, np.ndarray], rows: list[int]) -> list[dict[str, np.ndarray]]:
    """Returns batches of SIZE rows. rows: the number of examples in each; the rest is padding of
    weight 0."""
    parts, first = [], 0
    for count in rows:
        part = {}
        for name, x in examples.items():
            part[name] = np.zeros((SIZE, *x.shape[1:]), x.dtype)
            part[name][:count] = x[first : first + count]
        parts.append(part)
        first += count
    return parts


@pytest.fixture(scope='module')
def means() -> dict[tuple[int, ...], dict[str, float]]:
    """The 19 examples are the same, in batches of several sizes."""
    spec = TASK.batch_spec(Phase(1, 16, SIZE, 3))
    examples = batches.synthetic(TASK.batch_spec(Phase(1, 16, 19, 3)), 1)
    examples['masked_lm_weights'][::2, 1:] = 0  # rows of unequal weight
    mesh = make_mesh(MeshConfig(data=8))
    replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    params = jax.device_put(nn.unbox(jax.jit(TASK.init)(jax.random.key(0))), replicated)
    step = train_step.build_step(TINY, TASK, mesh)
    with jax.transfer_guard('disallow'):
        return {
            rows: evaluate(step, params, cut(examples, list(rows)), {16: spec})[0]
            for rows in ((8, 8, 3), (3, 8, 8), (1, 2, 4, 5, 7))
        }


def test_how_batches_are_cut_makes_no_difference(
    means: dict[tuple[int, ...], dict[str, float]],
) -> None:
    first, second, third = means.values()
    for name in ('loss', 'mlm_loss', 'mlm_accuracy', 'nsp_loss', 'nsp_accuracy', 'mlm_perplexity'):
        assert second[name] == pytest.approx(first[name], rel=1e-5), name
        assert third[name] == pytest.approx(first[name], rel=1e-5), name


def test_losses_add_up(means: dict[tuple[int, ...], dict[str, float]]) -> None:
    first = means[8, 8, 3]
    assert first['loss'] == pytest.approx(first['mlm_loss'] + first['nsp_loss'])
    assert first['mlm_perplexity'] == pytest.approx(math.exp(first['mlm_loss']))
    assert first['mlm_loss'] == pytest.approx(math.log(TINY.model.vocab_size), rel=0.05)


def test_nothing_to_evaluate_is_an_error() -> None:
    mesh = make_mesh(MeshConfig(data=8))
    spec = TASK.batch_spec(Phase(1, 16, SIZE, 3))
    with pytest.raises(ValueError, match='no batches'):
        evaluate(train_step.build_step(TINY, TASK, mesh), {}, [], {16: spec})

"""The step: accumulation, steps that are not finite, golden losses, determinism.

PYTHONPATH=tests python tests/training/test_train_step.py
    writes the golden losses again
"""

import dataclasses
import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from tiny_model import ROOT, TINY, run_steps

from bert_jax import batch as batches
from bert_jax.config import Config, MeshConfig
from bert_jax.parallel import sharding
from bert_jax.parallel.mesh import make_mesh
from bert_jax.tasks.pretraining import OBJECTIVES, PretrainTask
from bert_jax.training.train_step import TrainState, build_step

ONE = MeshConfig(1, 1)
GOLDEN = {
    'mlm+nsp': ROOT / 'tests' / 'golden' / 'losses_tiny.json',
    'mlm': ROOT / 'tests' / 'golden' / 'losses_mlm.json',
    'mlm+sop': ROOT / 'tests' / 'golden' / 'losses_sop.json',
    'distill': ROOT / 'tests' / 'golden' / 'losses_distill.json',
    'mlm+tlm': ROOT / 'tests' / 'golden' / 'losses_tlm.json',
}


def without_dropout(config: Config) -> Config:
    model = dataclasses.replace(
        config.model, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    return dataclasses.replace(config, model=model)


def ragged_batch(spec: batches.BatchSpec) -> dict[str, np.ndarray]:
    """Returns rows with very different numbers of tokens and of masked tokens. One is all
    padding."""
    batch = batches.synthetic(spec, 3)
    for row in range(len(batch['masked_lm_weights'])):
        batch['attention_mask'][row, 32 - row :] = 0
        batch['masked_lm_weights'][row, 1 + row % 5 :] = 0
    batch['masked_lm_weights'][-1] = batch['example_weights'][-1] = 0
    return batch


def one_step(
    config: Config, batch: dict[str, np.ndarray], of: MeshConfig = ONE
) -> tuple[TrainState, dict]:
    """The state after one SGD-like step (so that differences in gradients show) and its sums."""
    mesh = make_mesh(of, jax.devices()[: of.data * of.fsdp * of.tensor])
    task = PretrainTask(config.model)
    spec = task.batch_spec(config.train.phases[0])
    step = build_step(config, task, mesh, optax.identity(), lambda _: 1.0)
    arrays = sharding.shard_batch(batch, spec, mesh)
    state, sums = step.train(step.init(jax.random.key(0)), arrays, jax.random.key(1))
    return state, {name: (float(a), float(b)) for name, (a, b) in sums.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ('accum_steps', 'of'), [(2, ONE), (8, ONE), (2, MeshConfig(2, 2, 2))], ids=str
)
def test_accumulation_is_the_large_batch(accum_steps: int, of: MeshConfig) -> None:
    config = without_dropout(TINY)
    batch = ragged_batch(PretrainTask(config.model).batch_spec(config.train.phases[0]))
    train = dataclasses.replace(config.train, accum_steps=accum_steps)
    state, sums = one_step(config, batch)
    accumulated, accumulated_sums = one_step(dataclasses.replace(config, train=train), batch, of)
    for name in ('mlm_loss', 'nsp_loss', 'mlm_accuracy', 'grad_norm'):
        mean, count = sums[name][0] / sums[name][1], sums[name][1]
        again = accumulated_sums[name]
        np.testing.assert_allclose(again[0] / again[1], mean, rtol=1e-5)
        assert name == 'grad_norm' or again[1] == count
    for ours, theirs in zip(
        jax.tree.leaves(accumulated.params), jax.tree.leaves(state.params), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=2e-6, rtol=0)


def test_padding_rows_and_unused_slots_do_not_count() -> None:
    config = without_dropout(TINY)
    task = PretrainTask(config.model)
    spec = task.batch_spec(config.train.phases[0])
    batch = ragged_batch(spec)
    changed = {name: array.copy() for name, array in batch.items()}
    changed['input_ids'][-1] = 7
    changed['masked_lm_ids'][batch['masked_lm_weights'] == 0] = 9
    mesh = make_mesh(ONE, jax.devices()[:1])
    step = build_step(config, task, mesh)
    params = step.init(jax.random.key(0)).params
    sums, again = (step.evaluate(params, b)[0] for b in (batch, changed))
    for name in ('mlm_loss', 'mlm_accuracy', 'nsp_loss', 'nsp_accuracy'):
        assert sums[name] == again[name]
    assert float(sums['nsp_loss'][1]) == 15
    assert float(sums['mlm_loss'][1]) == batch['masked_lm_weights'].sum()


def test_a_step_that_is_not_finite_changes_nothing_but_its_number() -> None:
    mesh = make_mesh(ONE, jax.devices()[:1])
    task = PretrainTask(TINY.model)
    spec = task.batch_spec(TINY.train.phases[0])
    step = build_step(TINY, task, mesh)
    state = step.init(jax.random.key(0))
    state.params['pooler']['dense']['bias'] = (
        state.params['pooler']['dense']['bias'].at[3].set(jnp.nan)
    )
    before = jax.device_get((state.params, state.opt_state))
    arrays = sharding.shard_batch(batches.synthetic(spec), spec, mesh)
    state, sums = step.train(state, arrays, jax.random.key(1))
    assert float(sums['nonfinite'][0]) == 1
    assert int(state.step) == 1
    for ours, theirs in zip(
        jax.tree.leaves((state.params, state.opt_state)), jax.tree.leaves(before), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_two_runs_are_equal_bit_for_bit_and_another_seed_is_not() -> None:
    losses, state = run_steps(TINY, ONE, steps=4)
    again, state_again = run_steps(TINY, ONE, steps=4)
    assert losses == again
    for ours, theirs in zip(
        jax.tree.leaves(state.params), jax.tree.leaves(state_again.params), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    other = dataclasses.replace(TINY, train=dataclasses.replace(TINY.train, seed=1))
    assert run_steps(other, ONE, steps=4)[0] != losses


def golden_losses(objective: str) -> list[float]:
    return run_steps(dataclasses.replace(TINY, objective=objective), ONE, steps=10)[0]


def test_every_objective_has_golden_losses() -> None:
    """'plm' needs another model; its losses are in losses_kinds.json."""
    assert {*GOLDEN, 'plm'} == {*OBJECTIVES}


@pytest.mark.parametrize(
    'objective',
    [pytest.param(name, marks=[pytest.mark.slow] * (name != 'mlm+nsp')) for name in GOLDEN],
)
def test_losses_are_the_golden_ones(objective: str) -> None:
    expected = json.loads(GOLDEN[objective].read_text())
    np.testing.assert_allclose(golden_losses(objective), expected, rtol=0, atol=2e-5)


if __name__ == '__main__':
    for name, path in GOLDEN.items():
        path.write_text(json.dumps(golden_losses(name)) + '\n')

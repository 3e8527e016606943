"""The memory of XLNet from step to step: split over devices and micro-batches, and resumed."""

import dataclasses
import pathlib
import shutil
import sys
from typing import Any

import numpy as np
import pytest
from kinds import configuration
from small_run import QUICK, saved_arrays
from tiny_model import mesh_of

from bert_jax import batch as batches
from bert_jax.config import Config, MeshConfig, Phase, validate
from bert_jax.parallel.sharding import shard_batch
from bert_jax.tasks.permutation import PermutationTask
from bert_jax.training import random_streams
from bert_jax.training.loop import train
from bert_jax.training.train_step import StateWithMemory, build_step, memory_of

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'data'))
ROWS, REUSE, MEM = 8, 6, 14


def configured(phases: tuple[Phase, ...], **changes: Any) -> Config:
    config = configuration('xlnet-base-cased', dropout=False)
    model = dataclasses.replace(config.model, mem_len=MEM, reuse_len=REUSE, bi_data=True)
    settings = dataclasses.replace(config.train, phases=phases, **changes)
    return validate(dataclasses.replace(config, model=model, train=settings))


def steps(mesh: MeshConfig, accum_steps: int) -> tuple[list[float], StateWithMemory]:
    """The losses of three steps and the state after them."""
    phase = Phase(3, 16, ROWS, 3)
    config = configured((phase,), accum_steps=accum_steps)
    task = PermutationTask(config.model)
    step, spec = build_step(config, task, mesh_of(mesh)), task.batch_spec(phase)
    key = random_streams.root(0, 'threefry2x32')
    state, losses = step.init(key), []
    for k in range(3):
        known = np.full(ROWS, min(k * REUSE, MEM), np.int32)
        batch = batches.synthetic(spec, k) | {'memory_length': known}
        state, sums = step.train(state, shard_batch(batch, spec, step.mesh), key)
        losses.append(float(sums['loss'][0]))
    assert isinstance(state, StateWithMemory)
    return losses, state


@pytest.mark.slow
@pytest.mark.skipif(QUICK, reason='test_presets.py compares eight devices with one')
def test_micro_batches_on_eight_devices_are_batches_on_one() -> None:
    losses, one = steps(MeshConfig(1, 1), 1)
    others, many = steps(MeshConfig(2, 2, 2), 2)
    np.testing.assert_allclose(losses, others, rtol=0, atol=2e-5)
    here, there = (memory_of(state)['memory'] for state in (one, many))
    np.testing.assert_allclose(here, there, rtol=0, atol=2e-4)
    assert there.shape == (ROWS, 2, MEM, 64)
    assert {shard.data.shape for shard in there.addressable_shards} == {(ROWS // 4, 2, MEM, 64)}


@pytest.mark.slow
def test_a_resumed_run_has_the_same_bits(tmp_path: pathlib.Path) -> None:
    """The memory is part of the checkpoint, and the lanes continue where they stopped."""
    made_stores: Any = pytest.importorskip('made_stores')
    from bert_jax.data.pretraining import input_pipeline
    from bert_jax.data.store import format

    store = made_stores.write(tmp_path / 'store', made_stores.documents(40), [[9, 20], [30, 8]])
    config = configured((Phase(5, 32, ROWS, 5),), log_every=1, eval_every=0, checkpoint_every=3)
    size = format.read_meta(store).vocab_size
    model = dataclasses.replace(config.model, vocab_size=size, num_hidden_layers=1)
    config = dataclasses.replace(config, model=model, mesh=MeshConfig(2, 4))

    def run(workdir: pathlib.Path) -> dict[str, np.ndarray]:
        """Trains to step 5; the arrays of its checkpoint."""
        train(
            config,
            PermutationTask(model),
            lambda start, stop: input_pipeline.train_batches(store, config, start=start, stop=stop),
            lambda phase: input_pipeline.EvalBatches(store, config, phase),
            workdir,
        )
        return saved_arrays(workdir, 5)

    whole = run(tmp_path / 'whole')
    stopped = tmp_path / 'stopped'
    shutil.copytree(tmp_path / 'whole', stopped)
    shutil.rmtree(stopped / 'checkpoints' / '5')  # as if the run had ended after step 3
    for name, value in run(stopped).items():
        assert value.tobytes() == whole[name].tobytes(), name
    (memory,) = (value for name, value in whole.items() if 'memory' in name)
    assert memory.shape == (ROWS, 1, MEM, 64) and np.abs(memory).max(-1).min() > 0
    earlier = saved_arrays(stopped, 3)
    assert not np.array_equal(next(earlier[x] for x in earlier if 'memory' in x), memory)

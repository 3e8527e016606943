"""A tiny configuration, and a short real run of it."""

import dataclasses
import math
import pathlib
import runpy
from collections.abc import Callable, Mapping
from typing import Any

import jax

from bert_jax import batch as batches
from bert_jax.config import (
    Config,
    MeshConfig,
    ModelConfig,
    OptimConfig,
    Phase,
    TrainConfig,
    from_dict,
)
from bert_jax.parallel import sharding
from bert_jax.parallel.mesh import make_mesh
from bert_jax.tasks.pretraining import OBJECTIVES
from bert_jax.training import random_streams, train_step

ROOT = pathlib.Path(__file__).resolve().parent.parent
TINY = Config(
    model=ModelConfig(
        vocab_size=1000,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=64,
        scan_unroll=1,  # compiles sooner
    ),
    optim=OptimConfig(learning_rate=1e-3, warmup_steps=2),
    train=TrainConfig(phases=(Phase(20, 32, 16, 5),)),
)


def configured(name: str, changes: Mapping[str, Any]) -> Config:
    """The configuration of a file in configs/ with other values. changes: values by keys, as
    'train.seed'."""
    values = runpy.run_path(str(ROOT / 'configs' / f'{name}.py'))['get_config']()
    values.update_from_flattened_dict(changes)
    return from_dict(values.to_dict())


def mesh_of(mesh_config: MeshConfig) -> jax.sharding.Mesh:
    """Returns a mesh of as many devices as its axes need, or of all if one axis is -1."""
    sizes = dataclasses.astuple(mesh_config)
    count = jax.device_count() if -1 in sizes else math.prod(sizes)
    return make_mesh(mesh_config, jax.devices()[:count])


def run_steps(
    config: Config,
    mesh_config: MeshConfig,
    steps: int,
    restore: Callable[[train_step.TrainState], Any] | None = None,
) -> tuple[list[float], train_step.TrainState]:
    """Returns the losses and the final state of `steps` steps with dropout on two batches in turn.

    restore: from an abstract state to the one to continue from.
    """
    mesh = mesh_of(mesh_config)
    task = OBJECTIVES[config.objective](config.model)
    built = train_step.build_step(config, task, mesh)
    key = random_streams.root(config.train.seed, config.train.prng_impl)
    state = built.init(key) if restore is None else restore(built.abstract)
    spec = task.batch_spec(config.train.phases[0])
    first, losses, frozen = int(state.step), [], built.init_frozen(key)
    for i in range(first, first + steps):
        batch = sharding.shard_batch(batches.synthetic(spec, i % 2), spec, mesh)
        state, sums = built.train(state, batch, key, frozen)
        losses.append(sum(float(sums[name][0] / sums[name][1]) for name in task.loss_weights))
    return losses, state

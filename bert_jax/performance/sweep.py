"""Searches for the most tokens per second: over batch sizes, meshes and remat policies."""

import dataclasses
import functools
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax

from bert_jax.config import Config, MeshConfig, choices, validate
from bert_jax.config.console import working
from bert_jax.config.errors import first_line
from bert_jax.parallel.mesh import PRESETS, make_mesh
from bert_jax.performance import roofline
from bert_jax.performance.topologies import TpuSlice
from bert_jax.tasks.task import Task

GAIN = 1.02  # a larger batch must give 2 % more tokens per second
REMAT_POLICIES = choices('model.remat')
# Sequences per device, of a micro-batch: where the search begins, and its end.
FIRST_ROWS, MOST_ROWS = 8, 1024

Measure = Callable[[int], dict[str, Any]]


def search(
    measure: Measure, size: int, smallest: int, largest: int = sys.maxsize
) -> Iterator[dict[str, Any]]:
    """The results of `measure(size)` for several batch sizes, as they are found.

    The size is doubled while it fits and gives more tokens per second. If the first size does not
    fit, it is halved until one does, but not below `smallest`.
    """
    best = 0.0
    while size <= largest:
        result = measure(size)
        yield result
        speed = result.get('tokens_per_second', 0.0)
        if not speed or speed < GAIN * best:
            break
        best, size = speed, 2 * size
    while not (best or result['fits'] or 'error' in result) and size > smallest:
        size //= 2
        result = measure(size)
        yield result


def sweep(
    config: Config, task: Task, tpu_slice: TpuSlice, devices: list[jax.Device]
) -> Iterator[dict[str, Any]]:
    """Plans of the first phase for every mesh and remat policy, and the batch sizes of `search`.

    If there is no plan, `error` says why.
    """
    meshes = _meshes(config, devices).items()
    for (preset, mesh), remat in itertools.product(meshes, REMAT_POLICIES):
        model = dataclasses.replace(config.model, remat=remat)
        candidate = dataclasses.replace(config, model=model, mesh=mesh)
        measure = functools.partial(_plan_or_error, candidate, preset, task, tpu_slice, devices)
        for result in search(measure, FIRST_ROWS, 1, MOST_ROWS):
            yield {'preset': preset} | result


def _meshes(config: Config, devices: list[jax.Device]) -> dict[str, MeshConfig]:
    """The presets and the configuration's own mesh, except those that are equal on `devices`."""
    distinct: dict[Any, tuple[str, MeshConfig]] = {}
    for name, mesh in {**PRESETS, 'config': config.mesh}.items():
        try:
            sizes: Any = tuple(make_mesh(mesh, devices).shape.values())
        except ValueError:
            sizes = mesh  # its plan will have the error
        distinct.setdefault(sizes, (name, mesh))
    return dict(distinct.values())


def _plan_or_error(
    config: Config,
    preset: str,
    task: Any,
    tpu_slice: TpuSlice,
    devices: list[jax.Device],
    rows: int,
) -> dict[str, Any]:
    """The plan with `rows` sequences per device in each micro-batch."""
    rows *= config.train.accum_steps
    phase = config.train.phases[0]._replace(batch_size=rows * len(devices))
    train = dataclasses.replace(config.train, phases=(phase,))
    try:
        config = validate(dataclasses.replace(config, train=train))
        task = dataclasses.replace(task, config=config.model)
        shape = f'{phase.batch_size:,} x {phase.max_seq_length} tokens'
        what = f'plan: compiling {shape}, mesh {preset}, remat {config.model.remat}'
        with working(what, in_files=False):
            return roofline.plan(config, task, phase, tpu_slice, devices)
    except ValueError as error:
        tried = {'remat': config.model.remat, 'phase': list(phase), 'rows_per_device': rows}
        return tried | {'fits': False, 'error': first_line(error)}

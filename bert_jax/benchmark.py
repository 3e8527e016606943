"""How fast the training step is here: the run's own step, on synthetic batches.

    python -m bert_jax.benchmark --config=configs/large.py --batch_size=64 --max_seq_length=128
    python -m bert_jax.benchmark --config=configs/base.py --batch_size=8,16,32 --output=speed.json
    python -m bert_jax.benchmark --config=configs/base.py --batch_size=8 --sweep      # 8, 16, 32...
    python -m bert_jax.benchmark --config=configs/base.py --batch_size=8 --profile

On several hosts start it on each, with --distributed or with what else main takes for that; process
0 says what it found. Needs no TensorFlow. The vocabulary is as large as the configuration says. As
in a run, a step is sent off before the one before it has ended; its time is from that end to its
own. Where the configuration's mesh does not fit the devices, a line says so, and they share the
batch only.
"""

import dataclasses
import functools
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from absl import flags
from jax.experimental import multihost_utils
from rich.console import Console
from rich.table import Table

from bert_jax import batch
from bert_jax.config import Config, Phase, command_line, validate
from bert_jax.config.errors import is_out_of_memory
from bert_jax.models.parameters import compute_dtype
from bert_jax.parallel import chips, distributed, sharding
from bert_jax.parallel.mesh import PRESETS, host_slice, make_mesh
from bert_jax.performance import step_profile
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.training import random_streams
from bert_jax.training.train_step import build_step

BATCH_SIZE = flags.DEFINE_list(
    'batch_size', None, "Sequences over all devices; several to compare. Default: the phase's."
)
SWEEP = flags.DEFINE_boolean(
    'sweep',
    False,
    'Double the batch for as long as it fits and more tokens a second come of it.',
)
LENGTH = flags.DEFINE_integer('max_seq_length', 0, "Default: the first phase's.")
STEPS = flags.DEFINE_integer('steps', 30, 'Steps that are timed.', lower_bound=1)
WARMUP = flags.DEFINE_integer('warmup', 3, 'Steps before them.', lower_bound=0)
PROFILE = flags.DEFINE_boolean('profile', False, 'Where the time goes, part by part of the model.')
OUTPUT = flags.DEFINE_string('output', '', 'File for the numbers as JSON.')


def measure(config: Config, steps: int, warmup: int, profile: bool = False) -> dict[str, Any]:
    """Of the first phase's shape. `seconds` are the median and the tenth and ninetieth percentile
    of a step; peak_memory (bytes of one device) is the compiler's, as the backend's is that of all
    that was measured so far; `parts`, of a profile, are shares of the time (`breakdown`). Where it
    does not fit, `fits` is False and there is nothing but the shape. Raises ValueError where mesh,
    model and batch don't divide."""
    phase = config.train.phases[0]
    mesh = make_mesh(config.mesh)
    task = PretrainTask(config.model)
    shape = _shape(config, mesh)
    spec = task.batch_spec(phase)
    key = random_streams.root(config.train.seed, config.train.prng_impl)
    built = build_step(config, task, mesh)
    try:
        state = built.init(key)
        began = time.perf_counter()
        step: Any = built.lower(phase).compile()
        compiling = time.perf_counter() - began
        batches = [sharding.shard_batch(_synthetic(spec, mesh, i), spec, mesh) for i in range(4)]
        ends, sums = list[float](), dict[str, Any]()
        for i in range(1 + warmup + steps):
            state, following = step(state, batches[i % len(batches)], key)
            jax.block_until_ready(sums)
            ends.append(time.perf_counter())
            sums = following
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return shape | {'fits': False}
    loss = float(sums['loss'][0])

    def again() -> None:
        nonlocal state
        for _ in range(3):
            state, more = step(state, batches[0], key)
        jax.block_until_ready(more)

    timed = sorted(_of_process_0(np.diff(ends)[warmup:]).tolist())
    median = statistics.median(timed)
    flops = task.flops(phase)
    return shape | {
        'fits': True,
        'loss': loss,
        'compile_seconds': compiling,
        'seconds': median,
        'seconds_p10': timed[len(timed) // 10],
        'seconds_p90': timed[-1 - len(timed) // 10],
        'sequences_per_second': phase.batch_size / median,
        'tokens_per_second': phase.batch_size * phase.max_seq_length / median,
        'model_flops': flops,
        'flops_per_second': flops / median,
        'mfu': chips.mfu(flops, median),
        'peak_memory': chips.needed_memory(step),
        'parts': step_profile.breakdown(again, step.as_text()) if profile else {},
    }


def _synthetic(spec: batch.BatchSpec, mesh: jax.sharding.Mesh, seed: int) -> dict[str, np.ndarray]:
    """This process's slice of a batch."""
    index, count = host_slice(mesh)
    return {name: np.split(x, count)[index] for name, x in batch.synthetic(spec, seed).items()}


def _of_process_0(seconds: np.ndarray) -> np.ndarray:
    """The same in all processes, which decide by them what they measure next."""
    if jax.process_count() == 1:
        return seconds
    return np.asarray(multihost_utils.broadcast_one_to_all(seconds.astype(np.float32)))


def _shape(config: Config, mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """What was measured, and where."""
    phase = config.train.phases[0]
    return {
        'device': jax.devices()[0].device_kind,
        'devices': jax.device_count(),
        'processes': jax.process_count(),
        'mesh': dict(mesh.shape),
        'batch_size': phase.batch_size,
        'max_seq_length': phase.max_seq_length,
        'accum_steps': config.train.accum_steps,
        'optimizer': config.optim.name,
        'dtype': str(compute_dtype(config.model.dtype)),
        'attention': config.model.attention,
        'probs_dropout': config.model.attention_probs_dropout_prob,
        'remat': config.model.remat,
        'jax': jax.__version__,
    }


def _sizes(default: int) -> list[int]:
    sizes = BATCH_SIZE.value or [str(default)]
    for size in sizes:
        if not re.fullmatch(r'[1-9]\d*', size):
            raise ValueError(f'--batch_size has {size!r}; expected positive integers, as in 32,64')
    return list(map(int, sizes))


def _fitting(config: Config) -> Config:
    """With a mesh for the devices here: that of a pod does not fit one GPU."""
    try:
        make_mesh(config.mesh)
    except ValueError as error:
        if jax.process_index() == 0:
            print(f'benchmark: {error}; here config.mesh.data=-1 alone', file=sys.stderr)
        return dataclasses.replace(config, mesh=PRESETS['dp'])
    return config


def _shaped(config: Config, batch_size: int) -> Config:
    """With as many masked positions to the token as the first phase has."""
    first = config.train.phases[0]
    length = LENGTH.value or first.max_seq_length
    slots = max(round(first.max_predictions_per_seq * length / first.max_seq_length), 1)
    phase = Phase(first.steps, length, batch_size, slots)
    train = dataclasses.replace(config.train, phases=(phase,))
    return validate(dataclasses.replace(config, train=train))


def _sweep(
    config: Config, size: int, measured: Callable[[Config], dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    best = 0.0
    while True:
        found = measured(_shaped(config, size))
        yield found
        if not found['fits'] or found['tokens_per_second'] < 1.02 * best:
            return
        best, size = found['tokens_per_second'], 2 * size


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table(
        'batch', 'ms a step', '10 to 90 %', 'sequences/s', 'tokens/s', 'TFLOP/s', 'MFU', 'GiB',
        'compiled in',
        title=f'{found[0]["devices"]} x {found[0]["device"]}',
    )  # fmt: skip
    for one in found:
        shape = f'{one["batch_size"]} x {one["max_seq_length"]}'
        if not one['fits']:
            table.add_row(shape, 'does not fit')
            continue
        table.add_row(
            shape,
            f'{1e3 * one["seconds"]:.1f}',
            f'{1e3 * one["seconds_p10"]:.1f} to {1e3 * one["seconds_p90"]:.1f}',
            f'{one["sequences_per_second"]:,.1f}',
            f'{one["tokens_per_second"]:,.0f}',
            f'{one["flops_per_second"] / 1e12:,.2f}',
            '' if one['mfu'] is None else f'{one["mfu"]:.1%}',
            f'{one["peak_memory"] / chips.GIB:.1f}',
            f'{one["compile_seconds"]:.0f} s',
        )
    return table


def _profiles(found: list[dict[str, Any]]) -> Iterator[Table]:
    for one in found:
        if one.get('parts'):
            shape = f'{one["batch_size"]} x {one["max_seq_length"]}'
            title = f'{1e3 * one["seconds"]:.1f} ms a step of {shape}, as its operations share it'
            table = Table(
                'part', *(f'ms {side}' for side in step_profile.SIDES), 'share', title=title
            )
            for row in step_profile.rows(one['parts'], one['seconds']):
                table.add_row(*row)
            yield table


def main(argv: list[str]) -> int:
    config, _ = command_line.parse(argv)
    distributed.join()
    if config.data.task != 'pretrain':
        raise ValueError(f'config.data.task is {config.data.task!r}; this times pretraining')
    first = jax.process_index() == 0
    command_line.check_output(OUTPUT.value if first else '')
    config = _fitting(config.padded())
    sizes = _sizes(config.train.phases[0].batch_size)
    measured = functools.partial(
        measure, steps=STEPS.value, warmup=WARMUP.value, profile=PROFILE.value
    )
    if SWEEP.value and len(sizes) > 1:
        raise ValueError(f'--sweep begins with one batch size; --batch_size has {len(sizes)}')
    shaped = [_shaped(config, size) for size in sizes]
    for wanted in shaped:  # before the first is measured
        spec = PretrainTask(wanted.model).batch_spec(wanted.train.phases[0])
        sharding.batch_shardings(spec, make_mesh(wanted.mesh), wanted.train.accum_steps)
    shapes = map(measured, shaped)
    found = list[dict[str, Any]]()
    try:
        for one in _sweep(config, sizes[0], measured) if SWEEP.value else shapes:
            found.append(one)
            command_line.write(found, OUTPUT.value if first else '')
    finally:  # what there is, should the next fail
        if first and found:
            console = Console()
            console.width = console.width if console.is_terminal else 120
            console.print(_table(found), *_profiles(found))
    return 0 if any(one['fits'] for one in found) else 1


if __name__ == '__main__':
    sys.exit(command_line.run('benchmark', main, sys.argv, leave=distributed.fail))

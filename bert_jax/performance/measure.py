"""The time of a training step on the devices here, measured on synthetic batches."""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from bert_jax import batch
from bert_jax.config import Config, Phase, validate
from bert_jax.config.console import readable_bytes
from bert_jax.config.errors import is_out_of_memory
from bert_jax.models.parameters import compute_dtype
from bert_jax.parallel import chips, sharding
from bert_jax.parallel.mesh import host_slice, make_mesh, of_process_0
from bert_jax.performance import step_profile
from bert_jax.tasks.task import Task
from bert_jax.training import random_streams
from bert_jax.training.train_step import build_step

BATCHES = 4  # the steps use these in turn
LONG = 30.0  # seconds; if a measurement takes longer, a line announces its duration

Say = Callable[[str], None]


def reshaped(config: Config, task: Task, batch_size: int, length: int = 0) -> Config:
    """The configuration with one phase, of the given batch size and length.

    Its rows have as many masked positions per token as those of the first phase. length: 0 keeps
    that of the first phase. Raises ValueError if the model cannot have such rows, or if the batch
    does not divide over the mesh.
    """
    first = config.train.phases[0]
    length = length or first.max_seq_length
    masked = max(round(first.max_predictions_per_seq * length / first.max_seq_length), 1)
    phase = Phase(first.steps, length, batch_size, masked)
    if length > (positions := config.model.longest_row):
        raise ValueError(f'--max_seq_length={length}; the model has {positions} positions')
    train = dataclasses.replace(config.train, phases=(phase,))
    sharding.batch_shardings(task.batch_spec(phase), make_mesh(config.mesh), train.accum_steps)
    return validate(dataclasses.replace(config, train=train))


def measure(
    config: Config,
    task: Task,
    steps: int,
    warmup: int,
    say: Say,
    profile: bool = False,
) -> dict[str, Any]:
    """Times the training step of the first phase.

    steps: the number of steps that are timed. warmup: the number of steps before them. say:
    receives lines about the progress, for the user. Returns the values of `_shape` and:
    - `seconds`, the median time of a step, and the percentiles `seconds_p10` and `seconds_p90`;
    - `peak_memory`, bytes of one device, as the compiler reports them (the number of the backend
      would include earlier measurements);
    - `parts`, the result of `step_profile.breakdown`, if `profile` is true;
    - `fits`, which is False if the step does not fit in memory; then only the shape is returned.

    Raises ValueError if the sizes of the model or the batch do not divide over the mesh.
    """
    phase, mesh = config.train.phases[0], make_mesh(config.mesh)
    spec, built = task.batch_spec(phase), build_step(config, task, mesh)
    key = random_streams.root(config.train.seed, config.train.prng_impl)
    shape = _shape(config, mesh)
    count = sum(leaf.size for leaf in jax.tree.leaves(built.abstract.params))
    size = f'{phase.batch_size:,} x {phase.max_seq_length}'
    say(f'{size}, {count:,} parameters: compiling, then timing {steps} steps ...')
    available = chips.usable_memory()
    try:
        # The parameters of a run come from this generator, whatever generates its dropout.
        state = built.init(random_streams.root(config.train.seed, 'threefry2x32'))
        frozen = built.init_frozen(random_streams.root(config.train.seed, 'threefry2x32'))
        start = time.perf_counter()
        compiled = built.lower(phase).compile()
        compile_seconds = time.perf_counter() - start
        needed = chips.needed_memory(compiled)
        if problem := _too_large(needed, available):
            say(f'{size} {problem}')
            return shape | {'fits': False}

        def step(state: Any, rows: batch.Batch) -> Any:
            return compiled(state, rows, key, frozen)

        batches = [_sharded_batch(spec, mesh, seed) for seed in range(BATCHES)]
        seconds, state, sums = _timed_steps(step, state, batches, warmup + steps, say)
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return shape | {'fits': False}
    # The times of process 0, so that all processes choose the same next batch size.
    times = sorted(np.asarray(of_process_0(seconds[warmup:].astype(np.float32))).tolist())
    three_steps = functools.partial(_timed_steps, step, state, batches, 2, say)
    return shape | {
        'fits': True,
        'loss': float(sums['loss'][0]),
        'compile_seconds': compile_seconds,
        **_speed(times, phase, built.task.flops(phase)),
        'peak_memory': needed,
        'parts': step_profile.breakdown(three_steps, compiled.as_text()) if profile else {},
    }


def _too_large(needed: int, available: int | None) -> str:
    """The reason why a step is not run, because it needs too much memory; '' if it is run.

    needed, available: bytes; None if the number is not known. On a CPU, Linux would kill the
    process, and perhaps others. Other devices raise an error. Several processes have to decide the
    same, so they always run the step.
    """
    alone_on_cpu = jax.default_backend() == 'cpu' and jax.process_count() == 1
    if available is None or needed <= available or not alone_on_cpu:
        return ''
    least, most = readable_bytes(needed), readable_bytes(available)
    return f'needs {least} on a device, but {most} are available; choose a smaller --batch_size'


def _speed(times: list[float], phase: Phase, flops: float) -> dict[str, Any]:
    """Returns the values of `measure` about the speed. times: the sorted seconds of the steps.
    flops: the floating-point operations of one step."""
    median = statistics.median(times)
    return {
        'seconds': median,
        'seconds_p10': times[len(times) // 10],
        'seconds_p90': times[-1 - len(times) // 10],
        'sequences_per_second': phase.batch_size / median,
        'tokens_per_second': phase.batch_size * phase.max_seq_length / median,
        'model_flops': flops,
        'flops_per_second': flops / median,
        'mfu': chips.mfu(flops, median),
    }


def _sharded_batch(spec: batch.BatchSpec, mesh: Mesh, seed: int) -> batch.Batch:
    """A synthetic batch, of which this process provides its slice."""
    index, count = host_slice(mesh)
    rows = {name: np.split(x, count)[index] for name, x in batch.synthetic(spec, seed).items()}
    return sharding.shard_batch(rows, spec, mesh)


def _timed_steps(
    step: Any, state: Any, batches: list[batch.Batch], count: int, say: Say
) -> tuple[np.ndarray, Any, Any]:
    """Runs 1 + count steps; returns the seconds of the last `count`, the state and the last sums.

    As in a run, a step is dispatched before the previous step has ended. The time of a step is the
    time from the end of the previous step to its own end. If the steps take longer than LONG,
    `say` receives a line about it.
    """
    ends, sums = list[float](), dict[str, Any]()
    for i in range(1 + count):
        state, next_sums = step(state, batches[i % len(batches)])
        jax.block_until_ready(sums)
        ends.append(time.perf_counter())
        sums = next_sums
        if i == 1 and (expected := count * (ends[1] - ends[0])) > LONG:
            say(f'{count} steps take about {expected / 60:.1f} minutes ...')
    return np.diff(ends), state, jax.block_until_ready(sums)


def _shape(config: Config, mesh: Mesh) -> dict[str, Any]:
    """A description of what is measured, and on which devices."""
    phase, model = config.train.phases[0], config.model
    return {
        'device': jax.devices()[0].device_kind,
        'devices': jax.device_count(),
        'processes': jax.process_count(),
        'mesh': dict(mesh.shape),
        'batch_size': phase.batch_size,
        'max_seq_length': phase.max_seq_length,
        'accum_steps': config.train.accum_steps,
        'optimizer': config.optim.name,
        'dtype': str(compute_dtype(model.dtype)),
        'attention': model.attention,
        'probs_dropout': model.attention_probs_dropout_prob,
        'remat': model.remat,
        'jax': jax.__version__,
    }

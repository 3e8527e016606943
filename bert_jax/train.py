"""The loop: restore, then step, report, evaluate and save until the steps are done."""

import contextlib
import dataclasses
import functools
import logging
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import optax
from etils import epath
from jax.experimental import multihost_utils

from bert_jax import optim, rng, sharding, throughput
from bert_jax.batch import Batch, BatchSpec, HostBatch, check, to_global
from bert_jax.checkpoint import Checkpoints, load_params
from bert_jax.config import Config, Phase
from bert_jax.evaluate import evaluate
from bert_jax.meter import Meter
from bert_jax.tasks import Task
from bert_jax.train_step import (
    TrainState,
    abstract_state,
    init_state,
    make_eval_step,
    make_train_step,
)
from bert_jax.writers import Reporter

LOG = logging.getLogger('bert_jax.train')

TrainBatches = Callable[[int, int], Iterator[HostBatch]]
EvalBatches = Callable[[Phase], Iterable[HostBatch]]


class Interrupted(Exception):
    """SIGTERM or SIGINT came; the state was saved."""


class Segment(NamedTuple):
    """A stretch of the run with one batch shape."""

    phase: Phase
    spec: BatchSpec
    eval_spec: BatchSpec
    flops: float  # of a step
    batches: Iterator[HostBatch]
    held_out: Iterable[HostBatch]


def train(
    config: Config,
    task: Task,
    batches: TrainBatches,
    eval_batches: EvalBatches,
    workdir: epath.PathLike,
) -> TrainState:
    """Trains to `config.num_steps`, going on from the workdir's newest checkpoint if it has one.

    batches(start, stop): this host's slices of batches start .. stop - 1; eval_batches(phase): the
    held-out examples in the shapes of `phase`. Raises FloatingPointError, naming the step, for a
    loss or gradient that is not finite (unless train.nonfinite is 'skip'), and Interrupted after a
    signal. Where the workdir's run is done already, nothing is written.
    """
    mesh = sharding.make_mesh(config.mesh)
    tx, schedule = optim.make_optimizer(config), optim.make_schedule(config)
    key = _root_key(config, mesh)
    checkpoints = Checkpoints(workdir, config.train.keep)
    state = _start(config, task, tx, mesh, key, checkpoints)
    step = int(state.step)
    if step >= config.num_steps:
        LOG.info('nothing to do: step %d of %d is saved already', step, config.num_steps)
        checkpoints.close()
        return state
    accum_steps = config.train.accum_steps
    train_step = make_train_step(task, tx, mesh, schedule=schedule, accum_steps=accum_steps)
    eval_step = make_eval_step(task, mesh)
    # All now: a mistake in a later phase should not wait for it.
    segments = _segments(config, step, task, mesh, batches, eval_batches)
    meter, reporter = Meter(step), Reporter(workdir, step, config.num_steps)
    every = config.train.eval_every or config.num_steps

    def run_eval(segment: Segment) -> bool:
        """Whether a signal cut it short; then the run that goes on evaluates."""
        rows = segment.held_out if step == config.num_steps else _unless(seen, segment.held_out)
        try:
            means = evaluate(eval_step, state.params, rows, task, segment.eval_spec, mesh)
        except Interrupted:
            return True
        reporter.report(step, 'eval', means)
        return False

    with contextlib.ExitStack() as stack:
        stopped, seen = stack.enter_context(_signals())  # first in, last out: until all is saved
        stack.callback(checkpoints.close)
        stack.callback(reporter.close)
        cut_short = step and step % every == 0 and not reporter.has(step, 'eval')
        stack.enter_context(jax.transfer_guard('disallow'))
        if cut_short:
            run_eval(segments[0])
        for segment in segments:
            put = functools.partial(_put, spec=segment.spec, mesh=mesh)
            meter.restart(step)
            for batch in _ahead(meter.waits(segment.batches), put):
                state, sums = train_step(state, batch, key)
                step += 1
                meter.add(step, sums)
                reporter.step(step)

                last, stop = step == config.num_steps, stopped(step)
                log = last or step % config.train.log_every == 0
                due = last or (step % every == 0 and not stop)
                save = last or stop or step % config.train.checkpoint_every == 0
                if log or due or save:
                    meter.check_finite(config.train.nonfinite)
                if log:
                    metrics = meter.read(task, segment.phase, segment.flops)
                    reporter.report(step, 'train', metrics)
                if due:
                    stop |= meter.pause(functools.partial(run_eval, segment))
                if save or stop:
                    meter.pause(functools.partial(checkpoints.save, step, state))
                if stop and not last:
                    raise Interrupted(
                        f'saved at step {step} of {config.num_steps}; '
                        'the same command goes on from there'
                    )
    return state


def _root_key(config: Config, mesh: jax.sharding.Mesh) -> jax.Array:
    """On every device: the loop allows no transfers."""
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    make = functools.partial(rng.root, config.train.seed, config.train.prng_impl)
    return jax.jit(make, out_shardings=everywhere)()


def _start(
    config: Config,
    task: Task,
    tx: optax.GradientTransformation,
    mesh: jax.sharding.Mesh,
    key: jax.Array,
    checkpoints: Checkpoints,
) -> TrainState:
    """The workdir's newest whole checkpoint; else fresh, with the parameters of init_from."""
    abstract = abstract_state(task, tx, mesh)
    state = checkpoints.restore(abstract)
    if state is not None:
        LOG.info('going on from step %d of %d', int(state.step), config.num_steps)
        return state
    state = init_state(task, tx, mesh, key)
    if config.init_from:
        params = load_params(config.init_from, abstract.params)
        state = dataclasses.replace(state, params=params)
        LOG.info('parameters from %s', config.init_from)
    return state


def _segments(
    config: Config,
    step: int,
    task: Task,
    mesh: jax.sharding.Mesh,
    batches: TrainBatches,
    eval_batches: EvalBatches,
) -> list[Segment]:
    """What is left to do, and first, maybe empty, the phase of the last step that was done."""
    segments, first = [], 0
    for phase in config.train.phases:
        begin, end = max(step, first), min(config.num_steps, first + phase.steps)
        if begin <= end and first < config.num_steps:
            spec = task.batch_spec(phase)
            rows = phase._replace(batch_size=config.eval.batch_size or phase.batch_size)
            eval_spec = task.batch_spec(rows)
            for needed in (spec, eval_spec):
                sharding.batch_shardings(needed, mesh)  # raises where it does not divide
            flops = throughput.step_flops(config.model, phase)
            source, held_out = batches(begin, end), eval_batches(phase)
            segments.append(Segment(phase, spec, eval_spec, flops, source, held_out))
        first += phase.steps
    return segments


def _put(batch: HostBatch, spec: Any, mesh: jax.sharding.Mesh) -> Batch:
    check(batch, spec, jax.process_count())
    return to_global(batch, sharding.batch_shardings(spec, mesh), spec)


def _ahead(batches: Iterator[HostBatch], put: Callable[[HostBatch], Batch]) -> Iterator[Batch]:
    """Batches on the device, the next one under way while the last is worked on."""
    waiting: Batch | None = None
    for batch in batches:
        following = put(batch)
        if waiting is not None:
            yield waiting
        waiting = following
    if waiting is not None:
        yield waiting


def _unless(seen: list[int], batches: Iterable[HostBatch]) -> Iterator[HostBatch]:
    """The same batches; raises Interrupted as soon as there is a signal."""
    for batch in batches:
        if seen:
            raise Interrupted
        yield batch


@contextlib.contextmanager
def _signals() -> Iterator[tuple[Callable[[int], bool], list[int]]]:
    """Whether to stop after step n, because SIGTERM or SIGINT came, and the signals that came; a
    second SIGINT ends the run at once. Several processes have to agree on the step: there JAX
    watches, for SIGTERM only, and tells only after a step.
    """
    seen: list[int] = []
    if jax.process_count() > 1:
        yield multihost_utils.reached_preemption_sync_point, seen
        return

    def note(number: int, _: Any) -> None:
        seen.append(number)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where Python is deep in a library
        LOG.warning('%s: finishing the step and saving', signal.Signals(number).name)

    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda step: bool(seen), seen
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

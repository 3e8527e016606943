"""The loop: restore, then step, report, evaluate and save until the steps are done."""

import contextlib
import dataclasses
import functools
import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import jax
import optax
from etils import epath
from jax.experimental import multihost_utils

from bert_jax.batch import Batch, BatchSpec, HostBatch, spec_of
from bert_jax.config import Config, Phase
from bert_jax.config.errors import Interrupted
from bert_jax.parallel import sharding
from bert_jax.tasks.task import Task
from bert_jax.training import optimizer, random_streams
from bert_jax.training.checkpoint import Checkpoints, save_best
from bert_jax.training.evaluation import Predictions, evaluate
from bert_jax.training.initialization import initial_params
from bert_jax.training.metrics import Reporter
from bert_jax.training.step_timer import BatchShape, Meter
from bert_jax.training.train_step import (
    EvalStep,
    TrainState,
    TrainStep,
    abstract_state,
    init_state,
    make_eval_step,
    make_train_step,
)

LOG = logging.getLogger('bert_jax.training.loop')

TrainBatches = Callable[[int, int], Iterator[HostBatch]]
EvalBatches = Callable[[Phase], 'HeldOut']


class HeldOut(Protocol):
    """This host's slices of the held-out batches, as often as they are asked for."""

    main_score: str  # the name of the score that the best step has most of; '' for none

    def __iter__(self) -> Iterator[HostBatch]: ...

    def score(self, predictions: Predictions) -> dict[str, float]:
        """Official scores, beside the means of the task's sums."""


class Segment(NamedTuple):
    """A stretch of the run with one batch size. specs: by the length of a batch."""

    specs: dict[int, BatchSpec]
    eval_specs: dict[int, BatchSpec]
    shapes: dict[int, BatchShape]
    batches: Iterator[HostBatch]
    held_out: HeldOut


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
    key = _root_key(config, mesh, config.train.prng_impl)
    checkpoints = Checkpoints(workdir, config.train.keep)
    tx, train_step, eval_step = _steps(_numbers_aside(config), task, mesh)
    state = _start(config, task, tx, mesh, checkpoints)
    step = int(state.step)
    if step >= config.num_steps:
        LOG.info('nothing to do: step %d of %d is saved already', step, config.num_steps)
        checkpoints.close()
        return state
    # All now: a mistake in a later phase should not wait for it.
    segments = _segments(config, step, task, mesh, batches, eval_batches)
    meter, reporter = Meter(), Reporter(workdir, step, config.num_steps)
    every = config.train.eval_every or config.num_steps

    def run_eval(segment: Segment) -> bool:
        """Whether a signal cut it short; then the run that goes on evaluates."""
        held_out = segment.held_out
        rows = held_out if step == config.num_steps else _unless(seen, held_out)
        try:
            means, predictions = evaluate(
                eval_step, state.params, rows, task, segment.eval_specs, mesh
            )
        except Interrupted:
            return True
        means |= held_out.score(predictions)
        if config.train.best and reporter.is_best(held_out.main_score, means):
            save_best(workdir, step, state.params)
        reporter.report(step, 'eval', means)
        return False

    with contextlib.ExitStack() as stack:
        stopped, seen = stack.enter_context(_signals())  # first in, last out: until all is saved
        stack.callback(checkpoints.close)
        stack.callback(reporter.close)
        cut_short = step and step % every == 0 and not reporter.has(step, 'eval')
        stack.enter_context(jax.transfer_guard('disallow'))
        if cut_short and run_eval(segments[0]):
            raise Interrupted(f'step {step} is saved; the same command evaluates it', *seen[:1])
        for segment in segments:
            put = functools.partial(_put, specs=segment.specs, mesh=mesh)
            meter.restart()
            for batch in _ahead(meter.waits(segment.batches), put):
                state, sums = train_step(state, batch, key)
                step += 1
                meter.add(step, sums, segment.shapes[batch['input_ids'].shape[1]])
                reporter.step(step)

                last, stop = step == config.num_steps, stopped(step)
                log = last or step % config.train.log_every == 0
                due = last or (step % every == 0 and not stop)
                save = last or stop or step % config.train.checkpoint_every == 0
                if log or due or save:
                    meter.check_finite(config.train.nonfinite)
                if log:
                    reporter.report(step, 'train', meter.read(task))
                if due:
                    stop |= meter.pause(functools.partial(run_eval, segment))
                if save or stop:
                    meter.pause(reporter.flush)  # who goes on from here will not say it again
                    meter.pause(functools.partial(checkpoints.save, step, state))
                if stop and not last:
                    raise Interrupted(
                        f'saved at step {step} of {config.num_steps}; '
                        'the same command goes on from there',
                        *seen[:1],
                    )
    return state


def _numbers_aside(config: Config) -> Config:
    """The same where the steps don't differ, so that the runs of several seeds share them."""
    data = dataclasses.replace(config.data, seed=0)
    return dataclasses.replace(config, train=dataclasses.replace(config.train, seed=0), data=data)


@functools.lru_cache(maxsize=1)
def _steps(
    config: Config, task: Any, mesh: jax.sharding.Mesh
) -> tuple[optax.GradientTransformation, TrainStep, EvalStep]:
    tx, schedule = optimizer.make_optimizer(config), optimizer.make_schedule(config)
    accum_steps = config.train.accum_steps
    train_step = make_train_step(task, tx, mesh, schedule=schedule, accum_steps=accum_steps)
    return tx, train_step, make_eval_step(task, mesh)


def predict(config: Config, task: Task, params: Any, batches: Iterable[HostBatch]) -> Predictions:
    """The task's predictions for each row of `batches`, in order of example_ids."""
    mesh = sharding.make_mesh(config.mesh)
    phase = config.train.phases[0]
    specs = _specs(
        task, phase._replace(batch_size=config.eval.batch_size or phase.batch_size), mesh
    )
    eval_step = _steps(_numbers_aside(config), task, mesh)[2]  # that of the run, compiled already
    return evaluate(eval_step, params, batches, task, specs, mesh)[1]


def _root_key(config: Config, mesh: jax.sharding.Mesh, impl: str) -> jax.Array:
    """On every device: the loop allows no transfers."""
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    make = functools.partial(random_streams.root, config.train.seed, impl)
    return jax.jit(make, out_shardings=everywhere)()


def _start(
    config: Config,
    task: Task,
    tx: optax.GradientTransformation,
    mesh: jax.sharding.Mesh,
    checkpoints: Checkpoints,
) -> TrainState:
    """The workdir's newest whole checkpoint; else fresh, with the parameters of init_from."""
    abstract = abstract_state(task, tx, mesh)
    state = checkpoints.restore(abstract)
    if state is not None:
        LOG.info('going on from step %d of %d', int(state.step), config.num_steps)
        return state
    # Not by the run's generator: rbg's bits depend on how they are split over devices.
    state = init_state(task, tx, mesh, _root_key(config, mesh, 'threefry2x32'))
    if config.init_from:
        params = initial_params(config.init_from, state.params, config.reinit_layers)
        state = dataclasses.replace(state, params=params)
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
            rows = phase._replace(batch_size=config.eval.batch_size or phase.batch_size)
            specs = _specs(task, phase, mesh, config.train.accum_steps)
            eval_specs = _specs(task, rows, mesh)
            shapes = {
                length: BatchShape(phase.batch_size, length, task.flops(_as_long(phase, length)))
                for length in specs
            }
            source, held_out = batches(begin, end), eval_batches(phase)
            segments.append(Segment(specs, eval_specs, shapes, source, held_out))
        first += phase.steps
    return segments


def _as_long(phase: Phase, length: int) -> Phase:
    return phase._replace(max_seq_length=length)


def _specs(
    task: Task, phase: Phase, mesh: jax.sharding.Mesh, accum_steps: int = 1
) -> dict[int, BatchSpec]:
    """By length. Raises ValueError where the batch does not divide over the devices."""
    specs = {length: task.batch_spec(_as_long(phase, length)) for length in task.lengths(phase)}
    for spec in specs.values():
        sharding.batch_shardings(spec, mesh, accum_steps)
    return specs


def _put(batch: HostBatch, specs: dict[int, BatchSpec], mesh: jax.sharding.Mesh) -> Batch:
    return sharding.place(batch, spec_of(batch, specs), mesh)


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
            raise Interrupted('in an evaluation')
        yield batch


@contextlib.contextmanager
def _signals() -> Iterator[tuple[Callable[[int], bool], list[int]]]:
    """Whether to stop after step n, because SIGTERM or SIGINT came, and the signals that came; a
    second SIGINT ends the run at once. Several processes have to agree on the step: there JAX
    watches, for SIGTERM only, and tells only after a step. What came is not told of them: one alone
    must not cut an evaluation short.
    """
    seen: list[int] = []
    several = jax.process_count() > 1

    def note(number: int, _: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where Python is deep in a library
        LOG.warning('%s: finishing the step and saving', signal.Signals(number).name)
        if several:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            seen.append(number)

    noted = (signal.SIGINT,) if several else (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.signal(number, note) for number in noted}
    try:
        here = multihost_utils.reached_preemption_sync_point if several else lambda _: bool(seen)
        yield here, seen
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

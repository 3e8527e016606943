"""The loop: restore, then step, report, evaluate and save until the steps are done."""

import contextlib
import functools
import logging
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import optax
from etils import epath
from jax.experimental import multihost_utils

from bert_jax import optim, rng, sharding, throughput
from bert_jax.batch import Batch, HostBatch, check, to_global
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
    meter, reporter = Meter(step), Reporter(workdir, step, config.num_steps)

    def run_eval(phase: Phase, held_out: Iterable[HostBatch]) -> None:
        rows = phase._replace(batch_size=config.eval.batch_size or phase.batch_size)
        spec = task.batch_spec(rows)
        means = evaluate(eval_step, state.params, held_out, task, spec, mesh)
        reporter.report(step, 'eval', means)

    with contextlib.ExitStack() as stack:
        stopped = stack.enter_context(_signals())  # first in, last out: until all is saved
        stack.callback(checkpoints.close)
        stack.callback(reporter.close)
        stack.enter_context(jax.transfer_guard('disallow'))
        for phase, begin, end in _segments(config, step):
            put = functools.partial(_put, spec=task.batch_spec(phase), mesh=mesh)
            held_out = eval_batches(phase)  # now: a mistake in it should not wait for the first use
            flops = throughput.step_flops(config.model, phase)
            for batch in _ahead(meter.waits(batches(begin, end)), put):
                state, sums = train_step(state, batch, key)
                step += 1
                meter.add(step, sums, compiled=step == begin + 1)
                reporter.step(step)

                last, stop = step == config.num_steps, stopped(step)
                log = last or step % config.train.log_every == 0
                save = last or stop or step % config.train.checkpoint_every == 0
                if log or save:
                    meter.check_finite(config.train.nonfinite)
                if log:
                    reporter.report(step, 'train', meter.read(task, phase, flops))
                if last or (config.train.eval_every and step % config.train.eval_every == 0):
                    meter.pause(functools.partial(run_eval, phase, held_out))
                if save:
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
        state = TrainState(state.step, params, state.opt_state)
        LOG.info('parameters from %s', config.init_from)
    return state


def _segments(config: Config, step: int) -> Iterator[tuple[Phase, int, int]]:
    """(phase, first step, step after the last) of what is left to do."""
    first = 0
    for phase in config.train.phases:
        begin, end = max(step, first), min(config.num_steps, first + phase.steps)
        if begin < end:
            yield phase, begin, end
        first += phase.steps


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


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[int], bool]]:
    """Whether to stop after step n, because SIGTERM or SIGINT came; a second SIGINT ends the run
    at once. Several processes have to agree on the step: there JAX watches, and for SIGTERM only.
    """
    if jax.process_count() > 1:
        yield multihost_utils.reached_preemption_sync_point
        return
    seen: list[int] = []

    def note(number: int, _: Any) -> None:
        seen.append(number)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where Python is deep in a library
        LOG.warning('%s: finishing the step and saving', signal.Signals(number).name)

    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda step: bool(seen)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

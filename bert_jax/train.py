"""The loop: restore, then step, report, evaluate and save until the steps are done."""

import contextlib
import logging
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from bert_jax import optim, rng, sharding, throughput
from bert_jax.batch import Batch, check, to_global
from bert_jax.checkpoint import Checkpoints, load_params
from bert_jax.config import Config, Phase
from bert_jax.evaluate import evaluate, with_loss
from bert_jax.objectives import Sums
from bert_jax.tasks import Task
from bert_jax.train_step import (
    TrainState,
    abstract_state,
    init_state,
    make_eval_step,
    make_train_step,
)
from bert_jax.writers import MetricsWriter, Progress

LOG = logging.getLogger('bert_jax.train')

HostBatch = Mapping[str, np.ndarray]
TrainBatches = Callable[[int, int], Iterator[HostBatch]]
EvalBatches = Callable[[Phase], Iterable[HostBatch]]


class Interrupted(Exception):
    """SIGTERM or SIGINT came; the state was saved."""


def train(config: Config, task: Task, batches: TrainBatches, eval_batches: EvalBatches,
          workdir: epath.PathLike) -> TrainState:
    """Trains to `config.num_steps`, going on from the workdir's newest checkpoint if it has one.

    batches(start, stop): this host's slices of batches start .. stop - 1; eval_batches(phase): the
    held-out examples in the shapes of `phase`. Raises FloatingPointError, naming the step, for a
    loss or gradient that is not finite (unless train.nonfinite is 'skip'), and Interrupted after a
    signal.
    """
    mesh = sharding.make_mesh(config.mesh)
    tx, schedule = optim.make_optimizer(config), optim.make_schedule(config)
    key = rng.root(config.train.seed, config.train.prng_impl)
    checkpoints = Checkpoints(workdir, config.train.keep)
    state = _start(config, task, checkpoints, abstract_state(task, tx, mesh),
                   lambda: init_state(task, tx, mesh, key))
    step = int(state.step)
    train_step = make_train_step(task, tx, mesh, schedule=schedule,
                                 accum_steps=config.train.accum_steps)
    eval_step = make_eval_step(task, mesh)
    writer = MetricsWriter(workdir, step)
    progress = Progress(step, config.num_steps)
    window = Window(step)

    def run_eval(phase: Phase) -> None:
        rows = phase._replace(batch_size=config.eval.batch_size or phase.batch_size)
        metrics = evaluate(eval_step, state.params, eval_batches(phase), task, task.batch_spec(rows),
                           mesh)
        writer.write(step, 'eval', metrics)
        progress.report(step, 'eval', metrics)

    with contextlib.ExitStack() as stack:
        stack.callback(checkpoints.close)
        stack.callback(writer.close)
        stack.callback(progress.close)
        stopped = stack.enter_context(_signals())
        stack.enter_context(jax.transfer_guard('disallow'))
        for phase, begin, end in _segments(config, step):
            spec = task.batch_spec(phase)
            ahead = _ahead(batches(begin, end), lambda b, s=spec: _put(b, s, mesh))  # type: ignore[misc]
            flops = throughput.step_flops(config.model, phase)
            for batch in window.waits(ahead):
                state, sums = train_step(state, batch, key)
                step += 1
                window.add(step, sums)
                if step == begin + 1:
                    window.pause(lambda s=sums: jax.block_until_ready(s),
                                 f'compiled for {phase.batch_size} x {phase.max_seq_length}')
                progress.step(step)
                last = step == config.num_steps
                save = last or stopped() or step % config.train.checkpoint_every == 0
                if save or step % config.train.log_every == 0:
                    window.check_finite(config.train.nonfinite)
                if last or step % config.train.log_every == 0:
                    metrics = window.metrics(task, phase, flops)
                    writer.write(step, 'train', metrics)
                    progress.report(step, 'train', metrics)
                if last or (config.train.eval_every and step % config.train.eval_every == 0):
                    window.pause(lambda p=phase: run_eval(p))
                if save:
                    window.pause(lambda: checkpoints.save(state))
                if stopped() and not last:
                    raise Interrupted(f'saved at step {step} of {config.num_steps}; the same command '
                                      'goes on from there')
    return state


def _start(config: Config, task: Task, checkpoints: Checkpoints, abstract: TrainState,
           fresh: Callable[[], TrainState]) -> TrainState:
    """The workdir's newest whole checkpoint; else fresh, with the parameters of init_from."""
    state = checkpoints.restore(abstract)
    if state is not None:
        LOG.info('going on from step %d in %s', int(state.step), checkpoints.directory)
        return state
    state = fresh()
    if config.init_from:
        state = state.replace(params=load_params(config.init_from, abstract.params))
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
def _signals() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or SIGINT came; a second one acts as it would without us."""
    seen: list[int] = []

    def note(number: int, _: Any) -> None:
        seen.append(number)
        signal.signal(number, previous[number])
        LOG.warning('%s: finishing the step and saving', signal.Signals(number).name)

    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Window:
    """The steps since the last report: their times, and their sums, which stay on the device."""

    def __init__(self, step: int):
        self._skipped = 0
        self._sums: list[tuple[int, Sums]] = []
        self._unchecked: list[tuple[int, jax.Array]] = []
        self._reset(step)

    def _reset(self, step: int) -> None:
        self._first, self._start, self._paused, self._waited = step, time.monotonic(), 0.0, 0.0

    def add(self, step: int, sums: Sums) -> None:
        self._sums = [*self._sums[-2:], (step, sums)]
        self._unchecked.append((step, sums['nonfinite'][0]))
        # The host stays two steps ahead at most, so that a signal is acted upon soon; the device
        # has the next step queued meanwhile.
        jax.block_until_ready(self._sums[0][1]['loss'])

    def waits(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; the time that getting them takes is noted."""
        while True:
            start = time.monotonic()
            batch = next(batches, None)
            self._waited += time.monotonic() - start
            if batch is None:
                return
            yield batch

    def pause(self, action: Callable[[], Any], what: str = '') -> None:
        """Does what is not training; its time doesn't count against the throughput."""
        if self._sums:
            jax.block_until_ready(self._sums[-1][1]['loss'])
        start = time.monotonic()
        action()
        self._paused += time.monotonic() - start
        if what:
            # What came before the first step's end is compilation, mostly.
            LOG.info('%s in %.1f s', what, time.monotonic() - self._start - self._paused)
            self._reset(self._sums[-1][0])

    def check_finite(self, policy: str) -> None:
        """Raises FloatingPointError naming the step where a loss or gradient was not finite; under
        'skip' counts it. Either way the step changed nothing."""
        flags = jax.device_get([flag for _, flag in self._unchecked])
        bad = [step for (step, _), flag in zip(self._unchecked, flags, strict=True) if flag]
        self._unchecked = []
        self._skipped += len(bad)
        if bad and policy == 'stop':
            raise FloatingPointError(
                f'the loss or a gradient is not finite at step {bad[0]}; nothing of it was saved. Lower '
                'config.optim.learning_rate, or set config.train.nonfinite=skip to leave such steps out')

    def metrics(self, task: Task, phase: Phase, flops: float) -> dict[str, float | None]:
        """Losses of the last step alone (so a run that went on reports the same), and rates."""
        step, sums = self._sums[-1]
        fetched = jax.device_get(sums)
        means = {name: float(value) / float(count) if count else 0.0
                 for name, (value, count) in fetched.items()}
        skipped = means.pop('nonfinite')
        losses = with_loss(means, task)
        losses.pop('mlm_perplexity', None)
        del skipped
        values: dict[str, float | None] = {
            name: value if math.isfinite(value) else None for name, value in losses.items()}
        seconds = time.monotonic() - self._start - self._paused
        steps = step - self._first
        if steps:
            sequences = steps * phase.batch_size / seconds
            values |= {'sequences_per_second': sequences,
                       'tokens_per_second': sequences * phase.max_seq_length,
                       'mfu': throughput.mfu(flops * steps, seconds),
                       'input_wait_fraction': self._waited / seconds}
        values['skipped_steps'] = self._skipped
        self._reset(step)
        return values

"""The progress of training: metrics, speed, and steps whose loss or update is not finite."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax

from bert_jax.batch import HostBatch
from bert_jax.config import Phase
from bert_jax.config.console import plural
from bert_jax.parallel import chips
from bert_jax.tasks.losses import Sums
from bert_jax.tasks.task import Task, loss_and_means

LOG = logging.getLogger('bert_jax.training.step_monitor')
MAX_STEPS_AHEAD = 2  # steps that the host may be ahead of the device
MAX_IN_A_ROW = 20  # skipped steps after which the run stops, because it no longer learns

T = TypeVar('T')


class StepMonitor:
    """Times the training steps, and keeps their sums on the device until they are read.

    Compilation, evaluation and saving do not count as training time. policy: 'stop' or 'skip', see
    config.train.nonfinite.
    """

    def __init__(self, task: Task, policy: str):
        self._task, self._policy = task, policy
        self._unchecked: list[tuple[int, jax.Array]] = []  # steps, and whether they are not finite
        self._skipped_in_a_row = 0
        self._recent: list[Sums] = []
        self._compiled: set[Phase] = set()
        self._reset()

    def _reset(self) -> None:
        self._start = self._added = time.monotonic()
        self._excluded = self._waited = self._flops = 0.0
        self._sequences = self._tokens = 0

    def time_input(self, batches: Iterator[HostBatch]) -> Iterator[HostBatch]:
        """Yields the batches and measures how long the loop waits for them."""
        while True:
            start = time.monotonic()
            batch = next(batches, None)
            self._waited += time.monotonic() - start
            if batch is None:
                return
            yield batch

    def add(self, step: int, step_sums: Sums, phase: Phase) -> None:
        """Records a step that was started. The first step of each batch shape is not timed.

        It includes the compilation. phase: the phase, with the shape of this batch.
        """
        self._unchecked.append((step, step_sums['nonfinite'][0]))
        self._recent = [*self._recent[-MAX_STEPS_AHEAD:], step_sums]
        if phase not in self._compiled:
            self._compiled.add(phase)
            jax.block_until_ready(step_sums)
            shape = f'{phase.batch_size} x {phase.max_seq_length} tokens'
            seconds = time.monotonic() - self._added
            LOG.info('compiled the training step for %s in %.1f s', shape, seconds)
            self._reset()
        else:
            self._sequences += phase.batch_size
            self._tokens += phase.batch_size * phase.max_seq_length
            self._flops += self._task.flops(phase)
        # The device always has a step in its queue. If the host were further ahead, it would react
        # late to signals.
        jax.block_until_ready(self._recent[0])
        self._added = time.monotonic()

    def finished(self) -> dict[str, float]:
        """The means of the newest step that is known to be complete. The device does not wait for
        this."""
        return loss_and_means(self._task, jax.device_get(self._recent[0]))

    def exclude(self, action: Callable[..., T], *args: object) -> T:
        """Waits for the steps so far, then returns action(*args) without counting its time."""
        jax.block_until_ready(self._recent[-1])
        start = time.monotonic()
        result = action(*args)
        self._excluded += time.monotonic() - start
        return result

    def check_finite(self) -> None:
        """Logs how many steps were skipped since the last check, if any were.

        Raises FloatingPointError, naming the step, if a step was not finite and the policy is
        'stop', or if MAX_IN_A_ROW steps were not.
        """
        flags = jax.device_get([flag for _, flag in self._unchecked])
        skipped = []
        for (step, _), flag in zip(self._unchecked, flags, strict=True):
            self._skipped_in_a_row = self._skipped_in_a_row + 1 if flag else 0
            if flag:
                skipped.append(step)
            if flag and self._policy == 'stop':
                raise FloatingPointError(
                    f'the loss or the update is not finite at step {step}; it was not saved. '
                    'Set config.train.nonfinite=skip to skip such steps, or start again in another '
                    '--workdir with a lower config.optim.learning_rate'
                )
            if self._skipped_in_a_row == MAX_IN_A_ROW:
                raise FloatingPointError(
                    f'{MAX_IN_A_ROW} steps in a row, up to step {step}, were not finite and were '
                    'skipped. Start again in another --workdir with a lower '
                    'config.optim.learning_rate, or look at the data'
                )
        if skipped and jax.process_index() == 0:
            LOG.warning(
                'skipped %s of the last %d, because the loss or the update was not finite; the '
                'last one is step %d',
                *(plural(len(skipped), 'step'), len(flags), skipped[-1]),
            )
        self._unchecked = []

    def read(self) -> dict[str, float | None]:
        """The means of the last step, and the speed since the last call.

        The speed is None if no step was timed since then.
        """
        means = loss_and_means(self._task, jax.device_get(self._recent[-1]))
        del means['nonfinite']
        seconds = max(time.monotonic() - self._start - self._excluded, 1e-9)
        pace: dict[str, float | None] = {
            'sequences_per_second': self._sequences / seconds,
            'tokens_per_second': self._tokens / seconds,
            'mfu': chips.mfu(self._flops, seconds),
            'input_wait_fraction': self._waited / seconds,
        }
        if not self._sequences:
            pace = dict.fromkeys(pace)
        self._reset()
        return {**means, **pace}

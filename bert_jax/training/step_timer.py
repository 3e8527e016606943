"""The metrics of the last training step, and the pace of the steps since the last report."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax

from bert_jax.batch import HostBatch
from bert_jax.config import Phase
from bert_jax.parallel import chips
from bert_jax.tasks.losses import Sums
from bert_jax.tasks.task import Task, loss_and_means

LOG = logging.getLogger('bert_jax.training.step_timer')
AHEAD = 2  # steps that the host may be ahead of the device

T = TypeVar('T')


class StepTimer:
    """Times the steps, and keeps the sums of the last steps on the device.

    Compilation, evaluation and saving do not count as training time.
    """

    def __init__(self) -> None:
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

    def add(self, step_sums: Sums, phase: Phase, flops: float) -> None:
        """Records a step that was started. The first step of each batch shape is compiled first.

        phase: has the shape of the batch. flops: see `Task.flops`.
        """
        self._recent = [*self._recent[-AHEAD:], step_sums]
        if phase not in self._compiled:
            self._compiled.add(phase)
            jax.block_until_ready(step_sums)
            LOG.info('first step of its shape took %.1f s', time.monotonic() - self._added)
            self._reset()
        else:
            self._sequences += phase.batch_size
            self._tokens += phase.batch_size * phase.max_seq_length
            self._flops += flops
        # The device always has a step in its queue. If the host were further ahead, it would react
        # late to signals.
        jax.block_until_ready(self._recent[0])
        self._added = time.monotonic()

    def exclude(self, action: Callable[..., T], *args: object) -> T:
        """Waits for the steps so far, then returns action(*args) without counting its time."""
        jax.block_until_ready(self._recent[-1])
        start = time.monotonic()
        result = action(*args)
        self._excluded += time.monotonic() - start
        return result

    def read(self, task: Task) -> dict[str, float | None]:
        """The means of the last step, and the pace since the last call.

        The pace is None if the only step since then was compiled.
        """
        means = loss_and_means(task, jax.device_get(self._recent[-1]))
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

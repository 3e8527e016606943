"""What the loop knows of its own pace: times and sums of the steps since the last report."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from bert_jax.batch import HostBatch
from bert_jax.parallel import chips
from bert_jax.tasks.losses import Sums
from bert_jax.tasks.task import Task, loss_and_means

LOG = logging.getLogger('bert_jax.training.step_timer')
AHEAD = 2  # steps the host may be ahead of the device


class BatchShape(NamedTuple):
    rows: int
    length: int  # tokens
    flops: float  # of a step


class Meter:
    """Steps' sums stay on the device until somebody asks; what is not training costs no pace."""

    def __init__(self) -> None:
        self._recent: list[tuple[int, Sums]] = []
        self._unchecked: list[tuple[int, jax.Array]] = []
        self._shapes: set[BatchShape] = set()
        self._reset()

    def _reset(self) -> None:
        self._start = self._added = time.monotonic()
        self._paused = self._waited = self._flops = 0.0
        self._sequences = self._tokens = 0

    def waits(self, batches: Iterator[HostBatch]) -> Iterator[HostBatch]:
        """The same batches; the time that waiting for them takes is noted."""
        while True:
            start = time.monotonic()
            batch = next(batches, None)
            self._waited += time.monotonic() - start
            if batch is None:
                return
            yield batch

    def restart(self) -> None:
        """Another phase begins, with shapes of its own."""
        if self._recent:
            jax.block_until_ready(self._recent[-1][1])
        self._reset()
        self._shapes = set()

    def add(self, step: int, sums: Sums, shape: BatchShape) -> None:
        """Notes a step that was started; the first of its shape was compiled."""
        self._recent = [*self._recent[-AHEAD:], (step, sums)]
        self._unchecked.append((step, sums['nonfinite'][0]))
        if shape not in self._shapes:
            self._shapes.add(shape)
            jax.block_until_ready(sums)
            LOG.info('first step of its shape took %.1f s', time.monotonic() - self._added)
            self._reset()
        else:
            self._sequences += shape.rows
            self._tokens += shape.rows * shape.length
            self._flops += shape.flops
        # The device has a step queued all the while; a host far ahead would be deaf to signals.
        jax.block_until_ready(self._recent[0][1])
        self._added = time.monotonic()

    def pause(self, action: Callable[[], Any]) -> Any:
        """Does what is not training, once the steps before it are done; off the clock."""
        jax.block_until_ready(self._recent[-1][1])
        start = time.monotonic()
        result = action()
        self._paused += time.monotonic() - start
        return result

    def check_finite(self, policy: str) -> None:
        """Raises FloatingPointError naming the step where a loss or gradient was not finite, unless
        they are skipped. Either way that step changed nothing."""
        flags = jax.device_get([flag for _, flag in self._unchecked])
        bad = [step for (step, _), flag in zip(self._unchecked, flags, strict=True) if flag]
        self._unchecked = []
        if bad and policy == 'stop':
            raise FloatingPointError(
                f'the loss or a gradient is not finite at step {bad[0]}; nothing of it was saved. '
                'Set config.train.nonfinite=skip to go on without such steps, or start again in '
                'another --workdir with a lower config.optim.learning_rate'
            )

    def read(self, task: Task) -> dict[str, float | None]:
        """Losses of the last step alone (so that a run that went on reports the same) and the pace
        since the last reading; None where it is not known."""
        _, sums = self._recent[-1]
        values = loss_and_means(task, jax.device_get(sums))
        del values['nonfinite']
        metrics: dict[str, float | None] = dict(values)
        seconds = time.monotonic() - self._start - self._paused
        if self._sequences:
            metrics |= {
                'sequences_per_second': self._sequences / seconds,
                'tokens_per_second': self._tokens / seconds,
                'mfu': chips.mfu(self._flops, seconds),
                'input_wait_fraction': self._waited / seconds,
            }
        else:  # nothing but the step that was compiled
            names = ('sequences_per_second', 'tokens_per_second', 'mfu', 'input_wait_fraction')
            metrics |= dict.fromkeys(names)
        self._reset()
        return metrics

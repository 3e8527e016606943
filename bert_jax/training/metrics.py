"""Where numbers go: metrics.jsonl, TensorBoard events, and a line for whoever watches."""

import json
import logging
import math
import re
import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import rich.console
import rich.progress
from etils import epath
from jax.experimental import multihost_utils

from bert_jax.config.console import say

# Where there is a PyTorch, tensorboardX takes two seconds to import it, for nothing that is used.
_without = {'torch': None} if 'torch' not in sys.modules else {}
sys.modules.update(_without)  # type: ignore[arg-type]
from tensorboardX import SummaryWriter, record_writer  # noqa: E402

for _name in _without:
    del sys.modules[_name]

LOG = logging.getLogger('bert_jax.training.metrics')

Metrics = Mapping[str, float | int | str | None]


class MetricsWriter:
    """`WORKDIR/metrics.jsonl`, an object a line, and TensorBoard events beside it (process 0 only).

    start_step: lines of later steps are removed; the run that goes on writes them again.
    """

    def __init__(self, workdir: epath.PathLike, start_step: int):
        self._active = jax.process_index() == 0
        self.kept: list[dict[str, Any]] = []  # metrics.jsonl as it was
        if not self._active:
            return
        self._path = epath.Path(workdir) / 'metrics.jsonl'
        self._path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in self._read() if _step(line) <= start_step]
        self.kept = [json.loads(line) for line in kept]
        self._remote = '://' in str(self._path)
        self._lines = kept if self._remote else []
        partial = self._path.with_suffix('.tmp')
        partial.write_text(''.join(kept))
        partial.replace(self._path)
        self._file = None if self._remote else self._path.open('a')
        self._upload, self._uploads = Future[Any](), ThreadPoolExecutor(1)
        self._upload.set_result(None)
        self._events = SummaryWriter(str(workdir), purge_step=start_step + 1)

    def _read(self) -> list[str]:
        """The whole lines; a killed run may leave half of one at the end."""
        if not self._path.exists():
            return []
        lines = self._path.read_text().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith('\n') and _step(line) is not None]
        if len(whole) < len(lines):
            LOG.warning('%s: %d broken lines removed', self._path, len(lines) - len(whole))
        return whole

    def write(self, step: int, split: str, metrics: Metrics) -> None:
        """One line; what is not finite is null. It is with the kernel (not just in a buffer of this
        process) when this returns; in an object store, when `flush` or the next one has."""
        if not self._active:
            return
        values = {name: value if _finite(value) else None for name, value in metrics.items()}
        line = json.dumps({'step': step, 'split': split, **values}, allow_nan=False) + '\n'
        if self._file is None:  # object stores can't append
            self._lines.append(line)
            self.flush()
            self._upload = self._uploads.submit(self._path.write_text, ''.join(self._lines))
        else:
            self._file.write(line)
            self._file.flush()
        for name, value in values.items():
            if isinstance(value, float | int):
                self._events.add_scalar(f'{split}/{name}', value, step)

    def flush(self) -> None:
        """Waits for what is on its way to an object store, which takes a step's time or several;
        sends it again where that failed."""
        if self._active and self._upload.exception():
            self._path.write_text(''.join(self._lines))

    def close(self) -> None:
        if self._active:
            if self._file is not None:
                self._file.close()
            self._uploads.shutdown()
            self.flush()
            self._events.close()


def _step(line: str) -> Any:
    """The step of a line of metrics.jsonl; None where it is no such line."""
    try:
        return json.loads(line)['step']
    except (ValueError, TypeError, KeyError):
        return None


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


class _RemoteFile:
    """An event file in an object store: written anew with every flush."""

    def __init__(self, path: str):
        self._path, self._content = epath.Path(path), bytearray()

    def write(self, data: bytes) -> None:
        self._content += data

    def flush(self) -> None:
        self._path.write_bytes(bytes(self._content))

    close = flush


class _RemoteFiles:
    """tensorboardX would want Google's and Amazon's own libraries; `epath` is here already."""

    open = staticmethod(_RemoteFile)

    def directory_check(self, path: str) -> None:
        """Object stores have no folders."""


for _scheme in ('gs', 's3'):
    record_writer.register_writer_factory(_scheme, _RemoteFiles())


class Progress:
    """One live line in a terminal; a plain line per report where there is none."""

    def __init__(self, start_step: int, num_steps: int):
        self._console = rich.console.Console(stderr=True)
        self._num_steps, self._start = num_steps, start_step
        self._begin = time.monotonic()
        self._live = self._console.is_terminal and jax.process_index() == 0
        columns = (
            rich.progress.TextColumn('step {task.completed}/{task.total}'),
            rich.progress.BarColumn(bar_width=10),
            rich.progress.TextColumn('{task.description}'),
            rich.progress.TimeRemainingColumn(),
        )
        self._bar = rich.progress.Progress(*columns, console=self._console, disable=not self._live)
        self._task = self._bar.add_task('', total=num_steps, completed=start_step)
        self._bar.start()

    def step(self, step: int) -> None:
        self._bar.update(self._task, completed=step)

    def report(self, step: int, split: str, metrics: Metrics) -> None:
        if self._live and split == 'train':
            self._bar.update(self._task, description=_shortest(metrics))
        elif self._live:
            self._bar.print(f'step {step} {_short(split, metrics)}', soft_wrap=True)
        elif jax.process_index() == 0:
            taken = step - self._start
            left = (time.monotonic() - self._begin) / max(taken, 1) * (self._num_steps - step)
            say(f'step {step}/{self._num_steps} {_short(split, metrics)} ETA {_clock(left)}')

    def close(self) -> None:
        self._bar.stop()


class Reporter:
    """What a run says: its metrics, to the files and to whoever watches."""

    def __init__(self, workdir: epath.PathLike, start_step: int, num_steps: int):
        self._writer = MetricsWriter(workdir, start_step)
        self._progress = Progress(start_step, num_steps)
        self._evals: list[dict[str, Any]] = []

    def step(self, step: int) -> None:
        self._progress.step(step)

    def report(self, step: int, split: str, metrics: Metrics) -> None:
        self._writer.write(step, split, metrics)
        self._progress.report(step, split, metrics)

    def flush(self) -> None:
        """Nothing of what was reported is lost any more, should the process be killed."""
        self._writer.flush()

    def has(self, step: int, split: str) -> bool:
        """Whether metrics.jsonl had such a line at the start; the same in all processes."""
        found = np.int32(
            any((line['step'], line.get('split')) == (step, split) for line in self._writer.kept)
        )
        return bool(multihost_utils.broadcast_one_to_all(found))

    def is_best(self, name: str, metrics: Metrics) -> bool:
        """Whether no evaluation had more of the score `name`; all processes have the same."""
        lines = [line for line in self._writer.kept if line.get('split') == 'eval']
        earlier = [line[name] for line in [*lines, *self._evals] if line.get(name) is not None]
        value = metrics[name]
        best = not earlier or (value is not None and value > max(earlier))
        self._evals.append({name: value})
        with jax.transfer_guard('allow'):  # of several processes' answers JAX makes arrays
            return bool(multihost_utils.broadcast_one_to_all(np.int32(best)))

    def close(self) -> None:
        self._progress.close()
        self._writer.close()


UNSAID = re.compile(
    'padding_fraction|mlm_perplexity|grad_norm|skipped_steps|.*_per_second|mfu|input_wait_fraction'
    '|task_loss|learning_rate'
)


def _short(split: str, metrics: Metrics) -> str:
    parts = [f'{name} {_number(metrics[name])}' for name in metrics if not UNSAID.fullmatch(name)]
    return ' '.join([split, *parts, *_pace(metrics)])


def _shortest(metrics: Metrics) -> str:
    """What fits beside a bar in 80 columns."""
    names = {'mlm': 'mlm_loss', 'nsp': 'nsp_loss'}
    parts = [
        f'{short} {_number(metrics[name])}' for short, name in names.items() if name in metrics
    ]
    return ' '.join([*(parts or [f'loss {_number(metrics["loss"])}']), *_pace(metrics)])


def _pace(metrics: Metrics) -> list[str]:
    pace = metrics.get('tokens_per_second')
    return [] if pace is None else [f'{pace:,.0f} tokens/s']


def _number(value: Any) -> str:
    return 'nan' if value is None else f'{value:.3f}'


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f'{minutes // 60}:{minutes % 60:02}:{seconds:02}'


def log_lines(lines: Mapping[str, str]) -> None:
    """What a run starts with, a line each."""
    for name, value in lines.items():
        LOG.info('%-12s %s', name, value)

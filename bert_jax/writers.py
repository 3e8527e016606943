"""Where numbers go: metrics.jsonl, TensorBoard events, and a line for whoever watches."""

import json
import logging
import sys
import time
from collections.abc import Mapping

import jax
import rich.console
import rich.progress
from etils import epath
from tensorboardX import SummaryWriter

LOG = logging.getLogger('bert_jax.writers')

Metrics = Mapping[str, float | int | str | None]


class MetricsWriter:
    """`WORKDIR/metrics.jsonl`, an object a line, and TensorBoard events beside it (process 0 only).

    start_step: lines of later steps are removed; the run that goes on writes them again.
    """

    def __init__(self, workdir: epath.PathLike, start_step: int):
        self._active = jax.process_index() == 0
        if not self._active:
            return
        self._path = epath.Path(workdir) / 'metrics.jsonl'
        kept = [line for line in self._read() if json.loads(line)['step'] <= start_step]
        self._remote = '://' in str(self._path)
        self._lines = kept if self._remote else []
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix('.tmp')
        partial.write_text(''.join(kept))
        partial.replace(self._path)
        self._file = None if self._remote else self._path.open('a')
        self._events = SummaryWriter(str(workdir), purge_step=start_step + 1)

    def _read(self) -> list[str]:
        if not self._path.exists():
            return []
        lines = self._path.read_text().splitlines(keepends=True)
        return [line for line in lines if line.endswith('\n')]  # a killed run may leave half a line

    def write(self, step: int, split: str, metrics: Metrics) -> None:
        """One line, on disk (not just in a buffer of this process) when this returns."""
        if not self._active:
            return
        line = json.dumps({'step': step, 'split': split, **metrics}) + '\n'
        if self._file is None:  # object stores can't append
            self._lines.append(line)
            self._path.write_text(''.join(self._lines))
        else:
            self._file.write(line)
            self._file.flush()
        for name, value in metrics.items():
            if isinstance(value, float | int):
                self._events.add_scalar(f'{split}/{name}', value, step)

    def close(self) -> None:
        if self._active:
            if self._file is not None:
                self._file.close()
            self._events.close()


class Progress:
    """One live line in a terminal; a plain line per report where there is none."""

    def __init__(self, start_step: int, num_steps: int):
        self._console = rich.console.Console(stderr=True)
        self._num_steps, self._start = num_steps, start_step
        self._begin = time.monotonic()
        self._live = self._console.is_terminal and jax.process_index() == 0
        columns = (
            rich.progress.TextColumn('step {task.completed}/{task.total}'),
            rich.progress.BarColumn(bar_width=20),
            rich.progress.TextColumn('{task.description}'),
            rich.progress.TimeRemainingColumn(),
        )
        self._bar = rich.progress.Progress(*columns, console=self._console, disable=not self._live)
        self._task = self._bar.add_task('', total=num_steps, completed=start_step)
        self._bar.start()

    def step(self, step: int) -> None:
        self._bar.update(self._task, completed=step)

    def report(self, step: int, split: str, metrics: Metrics) -> None:
        text = _short(split, metrics)
        if self._live and split == 'train':
            self._bar.update(self._task, description=text)
        elif self._live:
            self._bar.print(f'step {step} {text}')
        elif jax.process_index() == 0:
            taken = step - self._start
            left = (time.monotonic() - self._begin) / max(taken, 1) * (self._num_steps - step)
            print(
                f'step {step}/{self._num_steps} {text} ETA {_clock(left)}',
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        self._bar.stop()


def _short(split: str, metrics: Metrics) -> str:
    parts = [split]
    for name in ('loss', 'mlm_loss', 'mlm_accuracy', 'nsp_loss', 'nsp_accuracy'):
        if name in metrics:
            parts.append(f'{name} {metrics[name]:.3f}')
    if 'tokens_per_second' in metrics:
        parts.append(f'{metrics["tokens_per_second"]:,.0f} tokens/s')
    return ' '.join(parts)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f'{minutes // 60}:{minutes % 60:02}:{seconds:02}'


def log_lines(lines: Mapping[str, str]) -> None:
    """What a run starts with, a line each."""
    for name, value in lines.items():
        LOG.info('%-12s %s', name, value)

"""The progress of a run on stderr: a live line in a terminal, otherwise a line per report."""

import collections
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import rich.console
import rich.progress
import rich.table

from bert_jax.config.console import fitted, plural, say
from bert_jax.tasks import measures

Metrics = Mapping[str, float | int | str | None]
BAR = 5  # the smallest width of the bar in characters
REFRESH = 0.5  # seconds between the numbers of two steps
# The names of the compiled programs. The keys are the states in which they run.
PROGRAMS = {'training': 'the training step', 'evaluating': 'the evaluation'}
NOT_IN_CONSOLE = re.compile(
    'padding_fraction|.*_perplexity|grad_norm|.*_per_second|mfu|input_wait_fraction|task_loss'
    '|learning_rate|skipped_steps|nonfinite'
)


class Progress:
    """Shows one live line in a terminal, and otherwise a plain line per report. Only process 0
    prints."""

    def __init__(self, start_step: int, num_steps: int):
        self._console = rich.console.Console(stderr=True)
        self._num_steps, self._step = num_steps, start_step
        self._begin = self._since = time.monotonic()
        self._state, self._program = 'starting', ''
        self._compiled = set[tuple[str, str]]()  # states and shapes
        self._spent = collections.defaultdict[str, float](float)
        self._timed = 0  # the number of timed steps, without those that were compiled
        self._numbers_at, self._numbers, self._pace = 0.0, '', list[str]()
        self._first = jax.process_index() == 0
        self._live = self._console.is_terminal and self._first
        text = rich.table.Column(no_wrap=True)
        columns = (
            rich.progress.TextColumn('{task.description}', table_column=text),
            rich.progress.BarColumn(bar_width=None),
            rich.progress.TextColumn('{task.fields[numbers]}', table_column=text),
            rich.progress.TextColumn('{task.fields[left]}', table_column=text),
        )
        self._bar = rich.progress.Progress(
            *columns,
            console=self._console,
            disable=not self._live,
            expand=True,
            refresh_per_second=4,  # drawing the line more often would slow down a small model
        )
        self._task = self._bar.add_task(
            '', total=num_steps, completed=start_step, numbers='', left=''
        )
        self._show()
        self._bar.start()

    def state(self, name: str, shape: str = '') -> None:
        """Shows what the run does from now on: training, evaluating or saving.

        shape: the shape of the batch, if there is one. If the run has not done this with such a
        batch yet, the state that is shown is 'compiling'.
        """
        now, program = time.monotonic(), ''
        self._spent[self._state] += now - self._since
        self._since = now
        if shape and (name, shape) not in self._compiled:
            self._compiled.add((name, shape))
            name, program = 'compiling', f'{PROGRAMS[name]} for {shape}'
        if (name, program) != (self._state, self._program):
            self._state, self._program = name, program
            self._show()

    def step(self, step: int, finished: Callable[[], Metrics]) -> None:
        """Shows that `step` was started. finished: the means of a step that is complete."""
        self._step, self._timed = step, self._timed + (self._state != 'compiling')
        now = time.monotonic()
        if self._live and now - self._numbers_at >= REFRESH:
            self._numbers_at, self._numbers = now, self._fitting(finished())
        self._show()

    def report(self, step: int, split: str, metrics: Metrics) -> None:
        if self._live and split == 'train':
            self._pace = _pace(metrics)
            self._numbers = self._fitting(metrics)
            self._show()
        elif self._live:
            self.note(f'step {step} {split}: {_described(metrics)}')
        else:
            parts = [_described(metrics), *_pace(metrics), self._left()]
            self.note(f'step {step}/{self._num_steps} {split}: {"; ".join(parts)}')

    def note(self, line: str) -> None:
        """Prints a line, above the live line if there is one."""
        if self._live:
            line = fitted(line, self._console.file)
            self._bar.print(line, soft_wrap=True, highlight=False, markup=False)
        elif self._first:
            say(line)

    def close(self) -> None:
        self.state('stopped' if self._step < self._num_steps else 'finished')
        took = f'took {_short(time.monotonic() - self._begin)}'
        self._bar.update(self._task, left=took)
        self._bar.stop()

    def _show(self) -> None:
        if self._live:
            program = f' {self._program},' if self._program else ''
            self._bar.update(
                self._task,
                completed=self._step,
                description=f'{self._state}{program} {self._step}/{self._num_steps}',
                numbers='' if program else self._numbers,  # there is no room for both
                left=self._left(),
            )

    def _left(self) -> str:
        """The estimated time until the end. Compilation does not count."""
        if self._timed < 2:
            return 'left -:--'
        spent = self._spent['training'] + self._spent['evaluating'] + self._spent['saving']
        return f'left {_short(spent / self._timed * (self._num_steps - self._step))}'

    def _fitting(self, metrics: Metrics) -> str:
        """The metrics that fit in the line, the most important ones first."""
        losses, others = _by_kind(metrics)
        parts = [f'loss {_number(value, 2)}' for value in [*losses.values()][:1]]
        parts += [_accuracy(name, value, 2) for name, value in others.items()]
        fixed = len(f'evaluating {self._num_steps}/{self._num_steps}') + max(
            len(self._left()), len('left 0:00')
        )
        room = self._console.width - fixed - BAR - 3
        line = ''
        for part in [*parts, *self._pace]:
            if len(line) + len(part) + 2 <= room:
                line += f'  {part}' if line else part
        return line


def _by_kind(metrics: Metrics) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns (losses, other measures) that the console shows, by their names in `metrics`."""
    shown = {name: value for name, value in metrics.items() if not NOT_IN_CONSOLE.fullmatch(name)}
    losses = {name: value for name, value in shown.items() if name.endswith('loss')}
    others = {name: value for name, value in shown.items() if name not in losses}
    if others.get('score') in [value for name, value in others.items() if name != 'score']:
        others.pop('score')  # it is a copy of the main measure
    if len(losses) > 1:
        losses.pop('loss', None)  # it is the sum of the others
    return losses, others


def _accuracy(metric: str, value: Any, digits: int = 3) -> str:
    """Returns the text for an accuracy of pretraining, in percent and with a readable name, or for
    another score."""
    name, group = measures.parts(metric)
    if name in measures.MEASURES and group == 'accuracy' and value is not None:
        return f'{measures.label(name)} {value:.1%}'
    return f'{metric.replace("_", " ")} {_number(value, digits)}'


def _described(metrics: Metrics) -> str:
    """Returns the text for a report. In pretraining it has the accuracy and the loss of each
    measure; otherwise it has the scores and after them the losses."""
    losses, others = _by_kind(metrics)
    parts = list[str]()
    for metric, value in others.items():
        name, group = measures.parts(metric)
        text, loss = _accuracy(metric, value), f'{name}_loss'
        if group == 'accuracy' and loss in losses:
            text += f', loss {_number(losses.pop(loss))}'
        parts.append(text)
    for metric, value in losses.items():
        name, _ = measures.parts(metric)
        label = f'{measures.label(name)}: ' if name in measures.MEASURES else ''
        parts.append(f'{label}loss {_number(value)}')
    return '; '.join(parts)


def _pace(metrics: Metrics) -> list[str]:
    pace, skipped = metrics.get('tokens_per_second'), metrics.get('skipped_steps')
    return [
        *([] if pace is None else [f'{pace:,.0f} tokens/s']),
        *([f'{plural(int(skipped), "step")} skipped'] if skipped else []),
    ]


def _number(value: Any, digits: int = 3) -> str:
    return 'nan' if value is None else f'{value:.{digits}f}'


def _short(seconds: float) -> str:
    """A time as minutes and seconds, 2:09, or with hours, 1:02:09."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'

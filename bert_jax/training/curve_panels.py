"""The parts of the picture of a run: its panels, its title, and a line about the run."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from flax import traverse_util

from bert_jax.config import keys
from bert_jax.config.console import plural
from bert_jax.tasks import measures
from bert_jax.training.history import History

# Values of an evaluation that are not scores of fine-tuning.
NOT_SCORES = ('loss', 'task_loss', 'padding_fraction', 'score', 'mse')
MAX_SCORES, MAX_KEYS = 4, 3  # scores of fine-tuning; keys that differ between runs
MAX_WINDOW = 101  # a smoothed value is the mean of at most this many reports


@dataclasses.dataclass(frozen=True)
class Panel:
    """One diagram. train, held_out: names of metrics of the two splits.

    percent: values are fractions and are shown in per cent. lowest, highest: the ends of the y
    axis, in the unit of the metrics, unless a value is outside; None follows the values. label:
    which value of a training curve is written beside it; a curve without a label is not smoothed.
    log: the y axis is logarithmic. lines: a panel of text instead of curves.
    """

    title: str
    train: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    percent: bool = False
    lowest: float | None = None
    highest: float | None = None
    label: Literal['last', 'median', ''] = 'last'
    log: bool = False
    lines: tuple[str, ...] = ()

    def text(self, value: float) -> str:
        """The value of a metric as text in the picture: '44.3 %', '5.50', '17,510'."""
        if self.percent:
            return f'{100 * value:.1f}' + ' %' * bool(self.train)
        return f'{value:,.0f}' if value >= 1000 else f'{value:#.3g}'.rstrip('.')


def upper(runs: Sequence[History]) -> list[Panel]:
    """The panels of the upper row, for the metrics of the first run."""
    run = runs[0]
    if not run.is_pretraining:
        return _fine_tuning_panels(run, several=len(runs) > 1)
    known = run.metrics('train', 'eval')
    names = [name for name, group in map(measures.parts, known) if group == 'loss']
    result = list[Panel]()
    for name in measures.ordered(names):
        title, loss, accuracy = measures.label(name), f'{name}_loss', f'{name}_accuracy'
        if not result or accuracy not in known:
            result.append(Panel(f'{title}: loss, {measures.unit(name)}', (loss,), (loss,)))
        if accuracy in known:
            lowest, highest = (0.3, 1.0) if measures.chance(accuracy) else (0.0, None)
            limits: dict[str, Any] = {'lowest': lowest, 'highest': highest}
            title = f'{title}: accuracy, %'
            result.append(Panel(title, (accuracy,), (accuracy,), percent=True, **limits))
    if len(result) == 2 and len(runs) == 1:
        result += _examples(run)
    return result or [Panel('loss', ('loss',), ('loss',))]


def _examples(run: History) -> list[Panel]:
    """The panel with masked words, if the run has examples."""
    filled = run.filled()
    if not filled:
        return []
    return [Panel(f'masked words after {run.examples["step"]:,} steps', lines=(*filled,))]


def _fine_tuning_panels(run: History, several: bool) -> list[Panel]:
    loss, main = Panel('loss', ('loss',), ('loss',)), run.main_score()
    if not main:
        return [loss]
    others = [n for n in run.metrics('eval') if n not in (*NOT_SCORES, main) and '/' not in n]
    scores = (main,) if several else (main, *others[: MAX_SCORES - 1])
    _, values = run.series('eval', main)
    percent = max(abs(values)) <= 1  # the scores of SQuAD are per cent already
    title = 'held-out scores x 100' if percent else 'held-out scores'
    return [loss, Panel(title, (), scores, percent=percent)]


def lower(runs: Sequence[History], above: Sequence[Panel]) -> list[Panel]:
    """The panels of the lower row, without those that would be empty. above: the upper row."""
    middle = [Panel('norm of the gradient', ('grad_norm',), log=True)]
    if len(runs) == 1 and not any(panel.lines for panel in above):
        middle = _examples(runs[0]) or middle
    speed = 'training tokens per second'
    found = [
        Panel('learning rate', ('learning_rate',), lowest=0.0, label=''),
        *(middle if len(above) > 2 else []),
        Panel(speed, ('tokens_per_second',), lowest=0.0, label='median'),
    ]
    reported = {name for run in runs for name in run.metrics('train')}
    return [panel for panel in found if panel.lines or panel.train[0] in reported]


def titles(runs: Sequence[History]) -> tuple[str, str]:
    """The title and the line below it: the configuration, or how those of several runs differ."""
    if len(runs) == 1:
        return runs[0].name, describe(runs[0])
    differing = list[str]()
    flat = [traverse_util.flatten_dict(run.config.to_dict(), sep='.') for run in runs]
    # Intervals and sizes of evaluations say the least about the curves, so they come last.
    for key in sorted(flat[0], key=_is_interval):
        values = [values.get(key) for values in flat]
        if any(value != values[0] for value in values):
            differing.append(f'{key}: {" | ".join(map(str, values))}')
    others = len(differing) - MAX_KEYS
    more = f' and {plural(others, "more key")}' if others > 0 else ''
    title = ', '.join(run.name for run in runs)
    return title, ('; '.join(differing[:MAX_KEYS]) or 'one configuration') + more


def _is_interval(key: str) -> bool:
    """Returns whether a key only decides when a run reports, evaluates and saves."""
    return key.startswith(('train.', 'eval.')) and keys.free_on_resume(key)


def describe(run: History) -> str:
    """The configuration of a run in a line."""
    model, train, optim = run.config.model, run.config.train, run.config.optim
    phases = ', then '.join(
        f'{plural(phase.steps, "step")} of {phase.batch_size} x {phase.max_seq_length}'
        for phase in train.phases
    )
    if not run.is_pretraining:
        steps = plural(round(run.config.num_steps / train.epochs), 'step')
        phases = f'{train.epochs:g} epoch{"" if train.epochs == 1 else "s"} of {steps}'
    about = run.config.data.corpus if run.is_pretraining else run.config.data.task
    if run.config.init_from:
        about += f', from {pathlib.PurePosixPath(run.config.init_from).name}'
    return (
        f'{about}; {plural(model.num_hidden_layers, "layer")} of {model.hidden_size}, '
        f'vocabulary {model.vocab_size:,}; {phases}; {optim.name}, rate {optim.learning_rate:g}'
    )


def smoothing_window(reports: int) -> int:
    """The number of reports whose mean is a point of a training curve: odd, about a tenth."""
    return min(reports // 20 * 2 + 1, MAX_WINDOW)


def smooth(values: np.ndarray) -> np.ndarray:
    """The mean over a window around each value, float[n] -> float[n].

    At the beginning, where a loss falls quickly, the window is narrower and symmetric. At the end
    it is cut off.
    """
    n = len(values)
    index = np.arange(n)
    half = np.minimum(smoothing_window(n) // 2, index)
    first, last = index - half, np.minimum(index + half, n - 1)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return (sums[last + 1] - sums[first]) / (last + 1 - first)

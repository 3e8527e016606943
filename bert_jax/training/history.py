"""Reads the reports of a run: its metrics, its configuration and the baselines of its data."""

import contextlib
import dataclasses
import json
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from bert_jax.config import Config
from bert_jax.config.console import plural
from bert_jax.tasks import measures
from bert_jax.training.run_folders import absolute
from bert_jax.training.tensorboard import SPLITS
from bert_jax.training.workdir import CONFIG, DATA, METRICS, read_config

LOG = logging.getLogger('bert_jax.training.history')
EXAMPLES = 'examples.json'
MOST_LINES, WIDTH = 7, 26  # how many examples are shown, and how many characters of each
Lines = dict[str, list[dict[str, Any]]]  # the lines of metrics.jsonl by split


@dataclasses.dataclass(frozen=True)
class History:
    """The reports of one run.

    data: the content of corpus.json, {} if there is none. examples: the content of examples.json,
    which has lines of text with a masked word, and what the model fills in.
    """

    name: str
    lines: Lines
    config: Config
    data: dict[str, Any]
    examples: dict[str, Any] = dataclasses.field(default_factory=dict)

    def filled(self) -> list[str]:
        """The lines with a masked word, each with the likeliest word and its probability."""
        lines = self.examples.get('lines', [])[:MOST_LINES]
        rows = [(line['line'], *line['guesses'][0]) for line in lines]
        return [f'{text[:WIDTH]:{WIDTH}} {word} {p:.2f}' for text, word, p in rows]

    def series(self, split: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """The places on the x axis, in `unit`, and the values of a metric, both float[n]. Values
        that are null are left out."""
        reported = [line for line in self.lines[split] if line.get(metric) is not None]
        steps = np.array([line['step'] for line in reported], float)
        if self.unit == 'epoch':
            steps *= self.config.train.epochs / self.config.schedule_steps
        return steps, np.array([line[metric] for line in reported], float)

    @property
    def unit(self) -> str:
        """The unit of the x axis: 'step', or 'epoch' in fine-tuning."""
        return 'step' if self.is_pretraining else 'epoch'

    def metrics(self, *splits: str) -> list[str]:
        """The names of the metrics of these splits that are fractional numbers, each one once."""
        lines = (line for split in splits for line in self.lines[split])
        pairs = (pair for line in lines for pair in line.items())
        return list(dict.fromkeys(name for name, value in pairs if type(value) is float))

    @property
    def is_pretraining(self) -> bool:
        return self.config.kind == 'pretraining'

    def main_score(self) -> str:
        """The official score by which fine-tuning chooses the best epoch; '' if there is none.

        Evaluations report it twice, by its name and as `score`. It stays `score` if it is the mean
        of several scores.
        """
        _, main = self.series('eval', 'score')
        if not len(main):
            return ''
        names = [name for name in self.metrics('eval') if name not in ('score', 'loss')]
        return next((n for n in names if np.array_equal(self.series('eval', n)[1], main)), 'score')

    def baselines(self, metric: str) -> dict[str, float]:
        """The values of `metric` that simple methods reach without a model, by the name of the
        method."""
        if measures.is_counted(metric, 'loss') and self.data.get('unigram_entropy'):
            return {'unigram entropy': float(self.data['unigram_entropy'])}
        if chance := measures.chance(metric):
            return {'chance': chance}
        without_reading = self.data.get('baseline') or {}  # of fine-tuning
        if without_reading and metric == self.main_score():
            return {'baseline': float(without_reading['value'])}
        if measures.is_counted(metric, 'accuracy'):
            counted = self.data.get('baselines') or {}
            return {
                measures.BASELINES[name].label if name in measures.BASELINES else name: float(value)
                for name, value in counted.items()
                if not name.endswith('_share')
            }
        return {}

    def untrained(self, metric: str) -> float | None:
        """The expected value of `metric` for a model with random parameters, which predicts by
        chance.

        None if it is not known, or if the run began with trained parameters.
        """
        if not self.is_pretraining or self.config.init_from:
            return None
        if self.config.objective == 'distill' and self.config.distill.init_from_teacher:
            return None
        return measures.untrained(metric, self.config.model.vocab_size)


def read(workdir: str, name: str) -> History:
    """The history of the run in `workdir`. Raises ValueError if its files cannot be read."""
    folder = absolute(workdir)
    for file in (METRICS, CONFIG):
        if not (folder / file).exists():
            raise ValueError(f'{folder / file} does not exist; {_runs_below(folder)}')
    data, examples = (
        _json(path) if path.exists() else {} for path in (folder / DATA, folder / EXAMPLES)
    )
    return History(name, _by_split(folder), read_config(folder), data, examples)


def whole_lines(workdir: epath.PathLike) -> list[dict[str, Any]]:
    """Returns the lines of metrics.jsonl. Lines that are not complete are left out, and a warning
    says how many: a killed run may leave half of a line at the end."""
    path, found = epath.Path(workdir) / METRICS, list[dict[str, Any]]()
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines:
        with contextlib.suppress(ValueError):
            values = json.loads(line)
            if isinstance(values, dict) and {'step', 'split'} <= {*values}:
                found.append(values)
    if broken := len(lines) - len(found):
        LOG.warning('%s: %s left out', path, plural(broken, 'broken line'))
    return found


def _by_split(workdir: epath.Path) -> Lines:
    """The lines of metrics.jsonl by split. Raises ValueError if there are none of training."""
    lines = whole_lines(workdir)
    splits = {split: [line for line in lines if line['split'] == split] for split in SPLITS}
    if not splits['train']:
        raise ValueError(f'{workdir / METRICS} has no line of the train split yet')
    return splits


def _runs_below(workdir: epath.Path) -> str:
    """Advice for messages: which --workdir to give instead of `workdir`."""
    names = sorted(path.name for path in workdir.iterdir()) if workdir.exists() else []
    runs = [f'--workdir={workdir / name}' for name in names if (workdir / name / METRICS).exists()]
    if not runs:
        return '--workdir is the folder of a run'
    return f'its runs have folders of their own: {" ".join(runs)}'


def _json(path: epath.Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f'{path} cannot be read: {error}') from error


def names(workdirs: Sequence[str]) -> list[str]:
    """A short name for each workdir: as many of its last folders as make the names different.

    Raises ValueError if a workdir is given twice.
    """
    paths = [pathlib.PurePosixPath(str(absolute(workdir))).parts for workdir in workdirs]
    if len({*paths}) < len(paths):
        raise ValueError('--workdir: a workdir is given twice')
    for count in range(1, max(map(len, paths)) + 1):
        found = ['/'.join(path[-count:]) for path in paths]
        if len({*found}) == len(found):
            break
    return found

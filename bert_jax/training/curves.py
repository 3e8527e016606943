"""The curves of a run, drawn from its metrics.jsonl."""

import json
import pathlib
from typing import Any

import numpy as np
from etils import epath

SMOOTHING = 9  # points of a training curve are means of 9 reports, as each report is of one batch
STYLES = {'train': '-', 'eval': 'o-'}


def read_metrics(workdir: epath.Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of metrics.jsonl by split. Raises ValueError if there are none."""
    path = workdir / 'metrics.jsonl'
    if not path.exists():
        raise ValueError(f'{path} does not exist; --workdir is the folder of a run')
    lines = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            lines.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f'{path}:{number} is not JSON: {error}') from error
    splits = {split: [line for line in lines if line['split'] == split] for split in STYLES}
    if not splits['train']:
        raise ValueError(f'{path} has no line of the train split yet')
    return splits


def smooth(values: np.ndarray) -> np.ndarray:
    """The mean over a window around each value, float[n]; the window is shorter at the ends."""
    window = np.ones(min(SMOOTHING, len(values)))
    return np.convolve(values, window, 'same') / np.convolve(np.ones(len(values)), window, 'same')


def panels(splits: dict[str, list[dict[str, Any]]]) -> dict[str, list[tuple[str, str]]]:
    """The curves of each panel as (split, metric), by the label of the panel.

    Pretraining has losses and accuracies. Fine-tuning has a loss and the official scores, which
    only evaluations report.
    """
    trained = splits['train'][0]
    labels = {'mlm_loss': 'masked-LM loss, nats', 'nsp_accuracy': 'next-sentence accuracy'}
    if 'mlm_loss' in trained:
        return {labels[name]: [(s, name) for s in STYLES] for name in labels if name in trained}
    evaluated = splits['eval'][-1] if splits['eval'] else {}
    scores = [
        name for name, value in evaluated.items() if name not in trained and type(value) is float
    ]
    found = {'loss': [(split, 'loss') for split in STYLES]}
    return found | ({'scores': [('eval', name) for name in scores]} if scores else {})


def draw(workdir: epath.Path, output: pathlib.Path) -> None:
    """Writes the image of a run. Raises ValueError if a file of the run can't be read."""
    try:
        import matplotlib
    except ImportError as error:
        raise ValueError(f"{error}; pip install '.[plot]'") from error
    matplotlib.use('agg')
    from matplotlib import pyplot

    splits = read_metrics(workdir)
    baselines = {'nsp_accuracy': (0.5, 'chance')}
    if 'mlm_loss' in splits['train'][0]:
        baselines['mlm_loss'] = _unigram_entropy(workdir / 'corpus.json'), 'unigram entropy'
    shown = panels(splits)
    figure, axes = pyplot.subplots(
        1, len(shown), figsize=(5.5 * len(shown), 4), layout='constrained', squeeze=False
    )
    for axis, (label, curves) in zip(axes[0], shown.items(), strict=True):
        for split, name in curves:
            values = np.array([line.get(name) for line in splits[split]], float)
            axis.plot(
                [line['step'] for line in splits[split]],
                smooth(values) if split == 'train' else values,
                STYLES[split],
                markersize=3,
                label=name if label == 'scores' else {'eval': 'held out'}.get(split, split),
            )
        if curves[0][1] in baselines:
            value, name = baselines[curves[0][1]]
            axis.axhline(value, color='grey', linestyle=':', label=name)
        axis.set(xlabel='step', ylabel=label)
        axis.legend()
    figure.savefig(output, dpi=100)


def _unigram_entropy(path: epath.Path) -> float:
    try:
        return float(json.loads(path.read_text())['unigram_entropy'])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f'{path} cannot be read: {error!r}') from error

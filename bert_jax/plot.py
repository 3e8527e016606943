"""Draws a run's curves: masked-LM loss and next-sentence accuracy, on train and held-out text.

pip install .[plot]
python -m bert_jax.plot --workdir=runs/tiny --output=curves.png
"""

import json
import pathlib
import sys
from typing import Any

import numpy as np
from absl import app, flags
from etils import epath

SMOOTHING = 9  # reports averaged for the train curves; each is of one batch


def read_metrics(workdir: epath.Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of metrics.jsonl by split. Raises ValueError where there are none."""
    path = workdir / 'metrics.jsonl'
    if not path.exists():
        raise ValueError(f'{path} does not exist; --workdir is where a run wrote its metrics')
    lines = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            lines.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f'{path}:{number} is not JSON: {error}') from error
    splits = {
        split: [line for line in lines if line['split'] == split] for split in ('train', 'eval')
    }
    if not splits['train']:
        raise ValueError(f'{path} has no line of the train split yet')
    return splits


def smooth(values: np.ndarray) -> np.ndarray:
    """Mean over a window around each value, shorter at the ends."""
    window = np.ones(min(SMOOTHING, len(values)))
    return np.convolve(values, window, 'same') / np.convolve(np.ones(len(values)), window, 'same')


def draw(workdir: epath.Path, output: pathlib.Path) -> None:
    try:
        import matplotlib
    except ImportError as error:
        raise ValueError(f"{error}; pip install '.[plot]'") from error
    matplotlib.use('agg')
    from matplotlib import pyplot

    splits = read_metrics(workdir)
    try:
        entropy = json.loads((workdir / 'corpus.json').read_text())['unigram_entropy']
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f'{workdir / "corpus.json"} can not be read: {error!r}') from error
    panels = (
        ('mlm_loss', 'masked-LM loss, nats', entropy, 'unigram entropy'),
        ('nsp_accuracy', 'next-sentence accuracy', 0.5, 'chance'),
    )
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4), layout='constrained')
    for axis, (name, label, baseline, baseline_label) in zip(axes, panels, strict=True):
        for split, style in (('train', '-'), ('eval', 'o-')):
            steps = [line['step'] for line in splits[split]]
            values = np.array([line[name] for line in splits[split]], float)
            shown = smooth(values) if split == 'train' else values
            axis.plot(
                steps, shown, style, markersize=3, label='held out' if split == 'eval' else split
            )
        axis.axhline(baseline, color='grey', linestyle=':', label=baseline_label)
        axis.set(xlabel='step', ylabel=label)
        axis.legend()
    figure.savefig(output, dpi=100)


def _say(error: str) -> int:
    print(f'plot: {error}', file=sys.stderr)
    return 2


def main(argv: list[str]) -> int:
    if argv[1:]:
        return _say(f'unexpected arguments {argv[1:]}')
    try:
        draw(epath.Path(flags.FLAGS.workdir).expanduser(), pathlib.Path(flags.FLAGS.output))
    except (ValueError, OSError, ImportError) as error:
        return _say(str(error))
    return 0


if __name__ == '__main__':
    flags.DEFINE_string('workdir', None, 'A run: its metrics.jsonl and corpus.json.', required=True)
    flags.DEFINE_string('output', 'curves.png', 'Picture to write.')
    app.run(main)

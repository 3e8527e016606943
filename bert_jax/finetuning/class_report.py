"""The scores of each class on the held-out examples, and the confusion matrix.

A report is a dict of plain values. `classes`: for each class its precision, recall and F1, which
are 0 if they are undefined, and its count, the number of examples that have it. `confusion`, if
each example has one class: `labels`, and `counts`, whose row i has the examples of class i by their
predicted classes.
"""

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath

from bert_jax.config.console import WIDTH
from bert_jax.config.files import write_atomically
from bert_jax.data.labelled.tags import mark_entities
from bert_jax.finetuning.official_scores import entities_by_type

FILE = 'classes.json'  # in the workdir of a run
PICTURE = 'confusion.png'
MOST_CLASSES = 30  # a table shows at most this many
MOST_MISTAKES = 10
LONGEST_NAME = 30  # characters of a label in a table
MOST_NUMBERS = 20  # classes of a picture that shows the counts

Report = dict[str, Any]


def of_classes(predicted: np.ndarray, truth: np.ndarray, labels: Sequence[str]) -> Report:
    """The report of examples with one label each. predicted, truth: int[n], indices in `labels`."""
    counts = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(counts, (truth, predicted), 1)
    right, seen, true = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    confusion = {'labels': [*labels], 'counts': counts.tolist()}
    return {'classes': _classes(labels, right, seen, true), 'confusion': confusion}


def of_label_sets(predicted: np.ndarray, truth: np.ndarray, labels: Sequence[str]) -> Report:
    """The report of examples with several labels. predicted, truth: bool[n, labels]."""
    sums = ((predicted & truth).sum(axis=0), predicted.sum(axis=0), truth.sum(axis=0))
    return {'classes': _classes(labels, *sums)}


def of_tags(predicted: Sequence[Sequence[str]], truth: Sequence[Sequence[str]]) -> Report:
    """The report of the words' tags of each sentence: for entities the scores of each type, as in
    `official_scores.entities`, and for other tags, such as parts of speech, of each tag."""
    if not mark_entities({tag for tags in truth for tag in tags}):
        labels = sorted({tag for tags in (*truth, *predicted) for tag in tags})
        ids = {label: i for i, label in enumerate(labels)}
        seen, true = (np.array([ids[t] for tags in x for t in tags]) for x in (predicted, truth))
        return of_classes(seen, true, labels)
    found = entities_by_type(truth, predicted)
    counts = np.array(list(found.values())).reshape(-1, 3)  # also if there are no entities
    return {'classes': _classes(list(found), *counts.T)}


def _classes(
    labels: Sequence[str], right: np.ndarray, seen: np.ndarray, true: np.ndarray
) -> dict[str, dict[str, float]]:
    """right, seen, true: int[labels], the numbers of right predictions, of predictions and of
    examples."""
    scores = {
        'precision': right / np.maximum(seen, 1),
        'recall': right / np.maximum(true, 1),
        'f1': 2 * right / np.maximum(seen + true, 1),
        'count': true,
    }
    return {
        label: {name: values[i].item() for name, values in scores.items()}
        for i, label in enumerate(labels)
    }


def write(workdir: epath.Path, report: Report) -> None:
    write_atomically(workdir / FILE, json.dumps(report) + '\n')


def read(workdir: epath.Path) -> Report:
    """The report of a run, {} if it has none."""
    path = workdir / FILE
    report: Report = json.loads(path.read_text()) if path.exists() else {}
    return report


def lines(report: Report) -> Iterator[str]:
    """The report as lines of at most 80 columns. Of many classes, those of the lowest F1."""
    classes = report['classes']
    shown = [*classes]
    if len(classes) > MOST_CLASSES:
        lowest = sorted(classes, key=lambda label: classes[label]['f1'])[:MOST_CLASSES]
        shown = [label for label in classes if label in lowest]
        yield f'  the {MOST_CLASSES} of {len(classes)} classes with the lowest F1'
    width = max(map(len, map(_name, ['class', *shown])))
    yield f'  {"class":<{width}}  precision  recall      f1   count'
    for label in shown:
        scores = classes[label]
        numbers = (scores['precision'], scores['recall'], scores['f1'])
        yield '  {:<{width}}  {:9.4f}  {:6.4f}  {:6.4f}  {:6,}'.format(
            _name(label), *numbers, scores['count'], width=width
        )
    if 'confusion' in report:
        yield from _confusion(**report['confusion'])


def _confusion(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Iterator[str]:
    """The confusion matrix or, if it is too wide, the most frequent mistakes."""
    column = max(len(str(number)) for number in (len(labels), *(max(row) for row in counts))) + 2
    names = [f'{i} {_name(label)}' for i, label in enumerate(labels, 1)]
    width = max(map(len, names))
    if width + column * len(labels) + 2 <= WIDTH:
        yield '  confusion matrix (a row for each label, a column for each prediction)'
        yield f'  {"":<{width}}' + ''.join(f'{i:>{column}}' for i in range(1, len(labels) + 1))
        for name, row in zip(names, counts, strict=True):
            yield f'  {name:<{width}}' + ''.join(f'{number:>{column}}' for number in row)
        return
    mistakes = [
        (number, labels[i], labels[j])
        for i, row in enumerate(counts)
        for j, number in enumerate(row)
        if i != j and number
    ]
    if mistakes:
        yield '  the most frequent mistakes (number, label, prediction)'
    for number, label, other in sorted(mistakes, key=lambda found: -found[0])[:MOST_MISTAKES]:
        yield f'  {number:>{column}}  {_name(label)} -> {_name(other)}'


def _name(label: str) -> str:
    label = ' '.join(label.split())
    return label if len(label) <= LONGEST_NAME else label[: LONGEST_NAME - 3] + '...'


def draw(report: Report, folder: epath.Path) -> bool:
    """Writes the picture of the confusion matrix into a folder, if the report has a matrix and if
    matplotlib is installed. Returns whether it did."""
    if 'confusion' not in report:
        return False
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    labels, counts = report['confusion']['labels'], np.array(report['confusion']['counts'])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = min(max(3.5, 0.45 * len(labels) + 2), 20)
    figure = Figure((size, size), layout='constrained')
    axes = figure.subplots()
    axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
    ticks, names = range(len(labels)), [_name(label) for label in labels]
    axes.set_xticks(ticks, names, rotation=90, parse_math=False)
    axes.set_yticks(ticks, names, parse_math=False)
    axes.set(xlabel='prediction', ylabel='label', title='examples (color: share of the label)')
    for i, j in np.ndindex(*counts.shape) if len(labels) <= MOST_NUMBERS else ():
        color = 'white' if shares[i, j] > 0.5 else 'black'
        axes.text(j, i, f'{counts[i, j]:,}', ha='center', va='center', color=color, size=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=120)
    (folder / PICTURE).write_bytes(buffer.getvalue())
    return True

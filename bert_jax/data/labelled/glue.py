"""Reads the files of the GLUE benchmark, official or from TFDS, and writes its submissions.

Labels have the official spelling ('entailment', '1', '3.800').
"""

import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
from etils import epath

from bert_jax.config.errors import first_line
from bert_jax.data.labelled.examples import Example
from bert_jax.data.labelled.glue_tasks import TASKS as TASKS
from bert_jax.data.labelled.glue_tasks import GlueTask
from bert_jax.data.labelled.labels import as_number
from bert_jax.data.labelled.tables import column_indices, tsv_rows
from bert_jax.data.summary import Summary

ADVICE = 'is it the official file of this task?'
HIGHEST = 5.0  # the highest score of STS-B; the lowest is 0
ODD_LINES = 'lines with another number of columns than the first, left out'
LONG_LINES = 'test lines with more columns than the first, read by its names'


class MissingFile(ValueError):
    """Raised if a split has no file."""


def read(
    task: str, directory: str | os.PathLike[str], split: str, summary: Summary | None = None
) -> list[Example]:
    """The examples of a split. `directory` is the task's own folder or holds all tasks' folders.

    Examples of test files have no label. Lines with too few columns, which QQP has, are left out
    and counted in `summary`; in a test file they would shift the submission and are an error.
    Raises MissingFile, and ValueError, with path:line, for a missing column and for a label that
    the task does not have.
    """
    path, summary = find(task, directory, split), summary or Summary()
    before = summary.counts[ODD_LINES]
    examples = list(_examples(TASKS[task], path, split, summary))
    if not examples:
        left_out = summary.counts[ODD_LINES] - before
        why = f'{left_out} {ODD_LINES}' if left_out else 'at most a line of column names'
        raise ValueError(f'{path} has no examples of {task} {split}: {why}')
    return _counted(TASKS[task], split, examples, str(path), summary)


def find(task: str, directory: str | os.PathLike[str], split: str) -> pathlib.Path:
    """The file that `read` reads. Raises MissingFile."""
    name = 'diagnostic.tsv' if task == 'ax' else f'{split}.tsv'
    folder, own = pathlib.Path(directory).expanduser(), TASKS[task].folder
    paths = [folder / own / name, folder / name]
    if task == 'ax':  # `directory` may be the folder of MNLI
        paths.append(folder.parent / own / name)
    for path in paths:
        if path.is_file():
            return path
    raise MissingFile(f'no {task} {split}: expected {" or ".join(map(str, paths))}')


def read_tfds(
    task: str, split: str, data_dir: str = '', summary: Summary | None = None
) -> list[Example]:
    """The examples of TFDS's `glue/TASK`, in the order of the official files.

    TFDS downloads and prepares them if `data_dir` does not have them. Raises ValueError if it
    fails.
    """
    import tensorflow_datasets as tfds  # imports TensorFlow, so only if it is needed

    name, tfds_split = f'glue/{task}', split.replace('dev', 'validation')
    try:
        builder = tfds.builder(name, data_dir=data_dir or None)
        builder.download_and_prepare()
    except Exception as error:  # TFDS raises errors of many types
        line = f'{type(error).__name__}: {first_line(error)}'
        raise ValueError(f'TFDS cannot load {name} ({line})') from error
    summary = summary or Summary()
    records = sorted(
        tfds.as_numpy(builder.as_dataset(tfds_split)), key=lambda record: int(record['idx'])
    )
    examples = [
        _tfds_example(TASKS[task], record, f'tfds:{name}:{tfds_split}[{record["idx"]}]', summary)
        for record in records
    ]
    return _counted(TASKS[task], split, examples, f'tfds:{name}', summary)


def write_submission(
    task: str, predictions: np.ndarray, path: epath.PathLike, split: str = 'test'
) -> epath.Path:
    """Writes the leaderboard's file for a test split into the folder `path`; returns its path.

    predictions: label ids int[n] or, for STS-B, scores float[n], which are clipped to [0, 5]. They
    are in the order of `read`. Raises ValueError if there is not one prediction for each example,
    and for scores that are not finite.
    """
    spec = TASKS[task]
    check_number(task, len(predictions), split)
    if spec.labels:
        names = [spec.labels[i] for i in predictions]
    elif np.all(np.isfinite(predictions)):
        names = [f'{score:.3f}' for score in np.clip(predictions, 0.0, HIGHEST)]
    else:
        raise ValueError(f'predictions for {task} are not all finite')
    folder = epath.Path(path).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / spec.submissions.get(split, f'{spec.folder}.tsv')
    rows = [f'{i}\t{name}\n' for i, name in enumerate(names)]
    output.write_text('index\tprediction\n' + ''.join(rows))
    return output


def check_number(task: str, number: int, split: str) -> None:
    """Raises ValueError if `number` is not the number of predictions that the leaderboard needs."""
    if number != (expected := TASKS[task].splits[split]):
        raise ValueError(
            f'{number:,} examples of {task} {split}; a submission needs a prediction for each of '
            f'its {expected:,}: put the official test file there, or remove it'
        )


def _counted(
    task: GlueTask, split: str, examples: list[Example], where: str, summary: Summary
) -> list[Example]:
    """The examples. `summary` counts their difference from the official number."""
    if missing := task.splits[split] - len(examples):
        what = 'missing from' if missing > 0 else 'more than in'
        summary.count(f'examples {what} the official {task.name} {split}', where, abs(missing))
    return examples


def _examples(
    task: GlueTask, path: pathlib.Path, split: str, summary: Summary
) -> Iterator[Example]:
    is_test = split.startswith('test')
    names = [*task.texts, *[task.label] * (not is_test)]
    header = [] if is_test else list(task.columns)
    indices = column_indices(header, names, str(path), ADVICE) if header else []
    for number, row in tsv_rows(path):
        where = f'{path}:{number}'
        if not row:
            continue
        if not header:
            header = [name.strip() for name in row]
            indices = column_indices(header, names, where, ADVICE)
        elif len(row) < len(header) and is_test:
            raise ValueError(
                f'{where} has {len(row)} columns; expected {len(header)}: the test file is '
                'damaged, download it again'
            )
        elif len(row) == len(header) or is_test:
            if len(row) > len(header):
                summary.count(LONG_LINES, where)
            yield _example(task, [row[i].strip() for i in indices], where, summary)
        else:
            summary.count(ODD_LINES, where)


def _example(task: GlueTask, values: list[str], where: str, summary: Summary) -> Example:
    """Makes an example. values: the texts and, except in test files, the label."""
    texts, label = values[: len(task.texts)], values[-1]
    if '' in texts:
        summary.count('examples with an empty text, kept', where)
    second = texts[1] if len(texts) == 2 else None
    if len(values) == len(texts):
        return Example(texts[0], second, None, where)
    if task.labels and label not in task.labels:
        expected = ', '.join(task.labels)
        raise ValueError(f'{where} has the label {label!r}; expected one of {expected}')
    if not task.labels and not 0 <= as_number(label) <= HIGHEST:
        raise ValueError(f'{where} has the score {label!r}; expected a number from 0 to {HIGHEST}')
    return Example(texts[0], second, label, where)


def _tfds_example(
    task: GlueTask, record: Mapping[str, np.ndarray], where: str, summary: Summary
) -> Example:
    """Makes an example. record: its label is an id or a score, and -1 in test splits."""
    names = task.tfds_texts or task.texts
    values = [bytes(record[name]).decode().strip() for name in names]
    if (label := record['label']) >= 0:
        values.append(task.labels[int(label)] if task.labels else f'{label:.3f}')
    return _example(task, values, where, summary)

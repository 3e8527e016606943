"""The files of the GLUE benchmark, in and out.

`read` reads the TSV files of the official folders, `read_tfds` the data sets `glue/*` of TFDS; both
give the labels in the official spelling ('entailment', '1', '3.800'). `write_submission` writes
the files that the leaderboard takes.
"""

import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
from etils import epath

from bert_jax.data.labelled.examples import Example, column_indices, tsv_rows
from bert_jax.data.labelled.glue_tasks import TASKS as TASKS
from bert_jax.data.labelled.glue_tasks import GlueTask
from bert_jax.data.summary import Summary

ADVICE = 'is it the official file of this task?'
HIGHEST = 5.0  # the highest score of STS-B; the lowest is 0
ODD_LINES = 'lines with another number of columns than the first, left out'
LONG_LINES = 'test lines with more columns than the first, read by its names'


def read(
    task: str, directory: str | os.PathLike[str], split: str, summary: Summary | None = None
) -> list[Example]:
    """The examples of a split, from the task's own folder or the one that holds all tasks' folders.

    A few lines of QQP are halves: lines without all columns are left out and counted in `summary`.
    In a test file such a line is an error, because it would shift the submission; the examples of
    test files have no labels. Raises ValueError, with path:line, for a missing file or column and
    for a label that the task does not have.
    """
    path, summary = find(task, directory, split), summary or Summary()
    before = summary.counts[ODD_LINES]
    examples = list(_examples(TASKS[task], path, split, summary))
    if not examples:
        left_out = summary.counts[ODD_LINES] - before
        why = f'{left_out} {ODD_LINES}' if left_out else 'only its line of column names, or less'
        raise ValueError(f'{path} has no examples of {task} {split}; {why}')
    return _counted(TASKS[task], split, examples, str(path), summary)


def find(task: str, directory: str | os.PathLike[str], split: str) -> pathlib.Path:
    """The file that `read` reads. Raises ValueError if there is none."""
    if task not in TASKS:
        raise ValueError(f'no GLUE task {task!r}; expected one of {", ".join(TASKS)}')
    _check_split(TASKS[task], split)
    name = 'diagnostic.tsv' if task == 'ax' else f'{split}.tsv'
    folder, own = pathlib.Path(directory).expanduser(), TASKS[task].folder
    paths = [folder / own / name, folder / name]
    if task == 'ax':  # `directory` may be the folder of MNLI
        paths.append(folder.parent / own / name)
    for path in paths:
        if path.is_file():
            return path
    raise ValueError(f'no {task} {split}: expected {" or ".join(map(str, paths))}')


def has(task: str, directory: str | os.PathLike[str], split: str) -> bool:
    """Whether `read` would find a file."""
    try:
        find(task, directory, split)
    except ValueError:
        return False
    return True


def read_tfds(
    task: str, split: str, data_dir: str = '', summary: Summary | None = None
) -> list[Example]:
    """The same examples from TFDS's `glue/TASK`, in the order of the official files. Downloads and
    prepares them if they are not in `data_dir` yet. Raises ValueError if that fails."""
    _check_split(TASKS[task], split)
    import tensorflow_datasets as tfds  # imports TensorFlow, so only if it is needed

    name, their_split = f'glue/{task}', split.replace('dev', 'validation')
    try:
        builder = tfds.builder(name, data_dir=data_dir or None)
        builder.download_and_prepare()
    except Exception as error:  # of many types
        first_line = str(error).strip().partition('\n')[0]
        raise ValueError(
            f'TFDS can not give {name} ({type(error).__name__}: {first_line})'
        ) from error
    summary = summary or Summary()
    records = sorted(
        tfds.as_numpy(builder.as_dataset(their_split)), key=lambda record: int(record['idx'])
    )
    examples = [
        _of_tfds(TASKS[task], record, f'tfds:{name}:{their_split}[{record["idx"]}]', summary)
        for record in records
    ]
    return _counted(TASKS[task], split, examples, f'tfds:{name}', summary)


def write_submission(
    task: str, predictions: np.ndarray, path: epath.PathLike, split: str = 'test'
) -> epath.Path:
    """Writes the leaderboard's file for a test split into the folder `path`; returns its path.

    predictions: in the order of `read`; label ids int[n], or for STS-B scores float[n], which are
    clipped to [0, 5]. Raises ValueError for another number of predictions and if they are not
    finite.
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
    """Raises ValueError if the leaderboard expects another number of predictions."""
    if number != (expected := TASKS[task].splits[split]):
        raise ValueError(
            f'{number:,} examples of {task} {split}; a submission has one prediction for each of '
            f'its {expected:,}: put the official file there, or none'
        )


def _check_split(task: GlueTask, split: str) -> None:
    if split not in task.splits:
        raise ValueError(f'{task.name} has no split {split!r}; it has {", ".join(task.splits)}')


def _counted(
    task: GlueTask, split: str, examples: list[Example], where: str, summary: Summary
) -> list[Example]:
    """The examples; `summary` counts how many they are short of or above the official number."""
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
    at = column_indices(header, names, str(path), ADVICE) if header else []
    for number, row in tsv_rows(path):
        where = f'{path}:{number}'
        if not row:
            continue
        if not header:
            header = [name.strip() for name in row]
            at = column_indices(header, names, where, ADVICE)
        elif len(row) < len(header) and is_test:
            raise ValueError(
                f'{where} has {len(row)} columns; expected {len(header)}: a test file has to be '
                'whole, download it again'
            )
        elif len(row) == len(header) or is_test:
            if len(row) > len(header):
                summary.count(LONG_LINES, where)
            yield _example(task, [row[i].strip() for i in at], where, summary)
        else:
            summary.count(ODD_LINES, where)


def _example(task: GlueTask, values: list[str], where: str, summary: Summary) -> Example:
    """values: the texts and, but in test files, the label."""
    texts, label = values[: len(task.texts)], values[-1]
    if '' in texts:
        summary.count('examples with an empty text, kept', where)
    second = texts[1] if len(texts) == 2 else None
    if len(values) == len(texts):
        return Example(texts[0], second, None, where)
    if task.labels and label not in task.labels:
        raise ValueError(
            f'{where} has the label {label!r}; expected one of {", ".join(task.labels)}'
        )
    if not task.labels and not _is_score(label):
        raise ValueError(f'{where} has the score {label!r}; expected a number from 0 to {HIGHEST}')
    return Example(texts[0], second, label, where)


def _is_score(label: str) -> bool:
    try:
        return 0 <= float(label) <= HIGHEST
    except ValueError:
        return False


def _of_tfds(
    task: GlueTask, record: Mapping[str, np.ndarray], where: str, summary: Summary
) -> Example:
    """record: its label is an id or a score, and -1 in test splits."""
    features = task.features or task.texts
    values = [bytes(record[name]).decode().strip() for name in features]
    if (label := record['label']) >= 0:
        values.append(task.labels[int(label)] if task.labels else f'{label:.3f}')
    return _example(task, values, where, summary)

"""The files of the GLUE benchmark (Wang et al. 2018, gluebenchmark.com), in and out.

`read` takes the official folders' TSV files, `read_tfds` TFDS's `glue/*`; both give the labels in
the official spelling ('entailment', '1', '3.800'). `write_submission` writes what the leaderboard
takes.
"""

import logging
import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
from etils import epath

from bert_jax.data.labelled.examples import Example, places, tsv_rows
from bert_jax.data.labelled.glue_tasks import TASKS as TASKS
from bert_jax.data.labelled.glue_tasks import GlueTask, named
from bert_jax.data.summary import Summary

LOG = logging.getLogger('bert_jax.data.labelled.glue')
ADVICE = 'is it the official file of this task?'
HIGHEST = 5.0  # of STS-B's scores, which begin at 0
ODD_LINES = 'lines with another number of columns than the first, left out'
LONG_LINES = 'test lines with more columns than the first, read by its names'


def read(
    task: str, directory: str | os.PathLike[str], split: str, summary: Summary | None = None
) -> list[Example]:
    """The examples of a split, from the task's own folder or the one that holds all tasks' folders.

    A few lines of QQP are halves: lines without all columns are left out and counted in `summary`
    (logged where that is None). A test file is read whole, or a submission would be shifted: there
    such a line is an error; its examples have no labels. Raises ValueError, with path:line, for a
    missing file or column and a label that the task does not have.
    """
    found = named(task)
    path = find(task, directory, split)
    odd = Summary() if summary is None else summary
    before = odd.counts[ODD_LINES]
    examples = list(_examples(found, path, split, odd))
    if not examples:
        left_out = odd.counts[ODD_LINES] - before
        why = f'{left_out} {ODD_LINES}' if left_out else 'only its line of column names, or less'
        raise ValueError(f'{path} has no examples of {task} {split}; {why}')
    return _whole(found, split, examples, str(path), odd, said=summary is not None)


def find(task: str, directory: str | os.PathLike[str], split: str) -> pathlib.Path:
    """The file that `read` reads. Raises ValueError where there is none."""
    found, folder = named(task), pathlib.Path(directory).expanduser()
    found.check_split(split)
    name = 'diagnostic.tsv' if task == 'ax' else f'{split}.tsv'
    paths = [folder / found.folder / name, folder / name]
    if task == 'ax':  # MNLI's model is what it is for
        paths.append(folder.parent / found.folder / name)
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
    """The same from TFDS's `glue/TASK`, in the order of the official files. Downloads and prepares
    it where it is not in `data_dir` yet. Raises ValueError where that is impossible."""
    found = named(task)
    found.check_split(split)
    import tensorflow_datasets as tfds  # brings TensorFlow: only where it is asked for

    name = f'glue/{task}'
    theirs = split.replace('dev', 'validation')
    try:
        builder = tfds.builder(name, data_dir=data_dir or None)
        builder.download_and_prepare()
    except Exception as error:  # of many types
        first_line = str(error).strip().partition('\n')[0]
        raise ValueError(
            f'TFDS can not give {name} ({type(error).__name__}: {first_line})'
        ) from error
    records = tfds.as_numpy(builder.as_dataset(theirs))
    odd = Summary() if summary is None else summary
    examples = [
        _of_tfds(found, record, f'tfds:{name}:{theirs}[{record["idx"]}]', odd)
        for record in sorted(records, key=lambda record: int(record['idx']))
    ]
    return _whole(found, split, examples, f'tfds:{name}', odd, said=summary is not None)


def _whole(
    task: GlueTask, split: str, examples: list[Example], where: str, odd: Summary, said: bool
) -> list[Example]:
    """The examples, with a count where their number is not the official one; logs all counts that
    nobody else says."""
    if missing := task.splits[split] - len(examples):
        what = 'missing from' if missing > 0 else 'more than in'
        odd.count(f'examples {what} the official {task.name} {split}', where, abs(missing))
    if not said:
        for what, count in odd.lines().items():
            LOG.warning('%s: %d', what, count)
    return examples


def write_submission(
    task: str, predictions: np.ndarray, path: epath.PathLike, split: str = 'test'
) -> epath.Path:
    """Writes the leaderboard's file for a test split into the folder `path`; returns where it is.

    predictions: in the order of `read`; class ids int[n], or for STS-B scores float[n], of which
    what is outside [0, 5] is moved to its end. Raises ValueError for a split that is not submitted
    and for predictions of another number or kind.
    """
    found = named(task)
    if split not in found.submissions:
        raise ValueError(
            f'{task} {split} is not submitted; expected one of {", ".join(found.submissions)}'
        )
    predictions = np.asarray(predictions)
    if predictions.ndim != 1:
        raise ValueError(f'predictions of shape {predictions.shape}; expected one for each example')
    check_number(task, len(predictions), split)
    output = epath.Path(path).expanduser() / found.submissions[split]
    output.parent.mkdir(parents=True, exist_ok=True)
    rows = [f'{i}\t{name}\n' for i, name in enumerate(_spelled(found, predictions))]
    output.write_text('index\tprediction\n' + ''.join(rows))
    return output


def check_number(task: str, number: int, split: str) -> None:
    """Raises ValueError where the leaderboard expects another number of predictions."""
    if number != (wanted := named(task).splits[split]):
        raise ValueError(
            f'{number:,} examples of {task} {split}; a submission has one prediction for each of '
            f'its {wanted:,}: put the official file there, or none'
        )


def _spelled(task: GlueTask, predictions: np.ndarray) -> list[str]:
    if task.regression:
        if not np.all(np.isfinite(predictions)):
            raise ValueError(f'predictions for {task.name} are not all finite')
        return [f'{score:.3f}' for score in np.clip(predictions, 0.0, HIGHEST)]
    if predictions.dtype.kind not in 'iu' or not np.all(
        (predictions >= 0) & (predictions < len(task.labels))
    ):
        raise ValueError(
            f'predictions for {task.name} are {predictions.dtype} from {predictions.min()} to '
            f'{predictions.max()}; expected whole numbers below {len(task.labels)}'
        )
    return [task.labels[i] for i in predictions]


def _examples(
    task: GlueTask, path: pathlib.Path, split: str, summary: Summary
) -> Iterator[Example]:
    is_test = split.startswith('test')
    names = [*task.texts, *[task.label] * (not is_test)]
    header = [] if is_test else list(task.columns)
    at = places(header, names, str(path), ADVICE) if header else []
    for number, row in tsv_rows(path):
        where = f'{path}:{number}'
        if not row:
            continue
        if not header:
            header = [name.strip() for name in row]
            at = places(header, names, where, ADVICE)
        elif len(row) < len(header) and is_test:
            raise ValueError(
                f'{where} has {len(row)} columns; expected {len(header)}: a test file has to be '
                'whole, get it anew'
            )
        elif len(row) == len(header) or is_test:
            if len(row) > len(header):
                summary.count(LONG_LINES, where)
            yield _example(task, [row[i].strip() for i in at], where, summary)
        else:
            summary.count(ODD_LINES, where)


def _example(task: GlueTask, values: list[str], where: str, summary: Summary) -> Example:
    """values: the texts and, but in test files, the label."""
    first, *others = values
    second = others.pop(0) if len(task.texts) == 2 else None
    label = others[0] if others else None
    if not first or second == '':
        summary.count('examples with an empty text, kept', where)
    if label is not None:
        _check_label(task, label, where)
    return Example(first, second, label, where)


def _check_label(task: GlueTask, label: str, where: str) -> None:
    if task.regression:
        try:
            if 0 <= float(label) <= HIGHEST:
                return
        except ValueError:
            pass
        raise ValueError(f'{where} has the score {label!r}; expected a number from 0 to {HIGHEST}')
    if label not in task.labels:
        raise ValueError(
            f'{where} has the label {label!r}; expected one of {", ".join(task.labels)}'
        )


def _of_tfds(
    task: GlueTask, record: Mapping[str, np.ndarray], where: str, summary: Summary
) -> Example:
    """There the label is an id or a score, and -1 in test splits."""
    values = [bytes(record[name]).decode().strip() for name in task.features]
    if (label := record['label']) >= 0:
        values.append(f'{label:.3f}' if task.regression else task.labels[int(label)])
    return _example(task, values, where, summary)

"""Predictions of a fine-tuned model: labels, numbers, tags, answers or texts."""

import contextlib
import itertools
import pathlib
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bert_jax.config import Config, disk
from bert_jax.config.console import plural, say
from bert_jax.config.errors import Interrupted
from bert_jax.config.files import partial_path
from bert_jax.data.files import kind, raw_lines
from bert_jax.data.labelled import file_lists, tables
from bert_jax.data.labelled.bad_rows import OnError, each
from bert_jax.data.progress import counted
from bert_jax.data.summary import Summary
from bert_jax.finetuning.datasets import processor_for
from bert_jax.finetuning.prediction_files import flat, keep_whole_lines, open_writer
from bert_jax.finetuning.task_data import PREDICT, Processor, Record, TaskFacts
from bert_jax.inference.trained_model import Bert

COPIED = ('id', 'words')  # columns of the input that a record has, too


def processor_of(bert: Bert) -> Processor:
    """The processor of the model's task. Raises ValueError if it has no task head."""
    config = Config(model=bert.config, data=bert.data, eval=bert.eval)
    facts = TaskFacts(bert.labels, bert.pairs, bert.no_answer, bert.multi_label)
    return processor_for(bert.heads, config, bert.encoder.vocabulary, facts)


def records(
    bert: Bert,
    paths: Sequence[pathlib.Path],
    on_error: OnError | None = None,
    columns: bool = False,
    all_scores: bool = False,
) -> Iterator[Record]:
    """Yields a record for each example of the files, in order. The format of the files depends on
    the task:

    Texts (tables, .jsonl, .json) get `label` and `probabilities`, or `value`, or, if a text may
    have several labels, `labels` (those above `eval.threshold`); sentences (.conll, or tables
    and .jsonl with `words`) get `tags`; questions (SQuAD's .json, or tables and .jsonl with
    `question` and `context`) get `answer`, `probability`, `n_best`, and `start` and `end`: the
    answer is the characters start to end - 1 of the context; texts to translate (.txt, tables and
    .jsonl with `source`) get `target`. Long texts are cut or split as in training; `bert.counted`
    counts them and other unusual things. .conll and .json files are read as a whole, others a
    window at a time. Before the first record of a file, a line says which columns of the file are
    read.

    columns: whether a record also has the columns of the file. A column is renamed if a record or a
    row of a table has a prediction of this name, such as `label` or `probability_LABEL`: `label`
    becomes `input_label`, or `input_label_2` if the file has an `input_label`. A file with a line
    for each word has a list for each column; those without a name are column_2, column_3, ...
    all_scores: whether a word has the probability of every label, and not only that of its tag.

    Raises ValueError for a checkpoint without the head of a task, and, with the file and line, for
    mistakes in the file, after the records of all rows before the mistake. `on_error` receives the
    errors of bad rows instead, and these rows are left out.
    """
    processor = processor_of(bert)
    processor.all_scores = all_scores
    errors, described = list[ValueError](), bert.counted.columns
    said = {*described}  # the files of earlier calls
    examples = _examples(processor, paths, bert.counted, on_error, errors)
    for example, record in _predicted(bert, processor, examples):
        for path in described.keys() - said:
            say(f'{path}: {described[path]}')
            said.add(path)
        yield _with_columns(record, example.columns or {}) if columns else record
    if errors:
        raise errors[0]


def of_texts(bert: Bert, texts: Sequence[Any]) -> list[Record]:
    """The records of texts in memory, as `Processor.from_texts` reads them."""
    processor = processor_of(bert)
    examples = processor.from_texts(texts)
    return [record for _, record in _predicted(bert, processor, examples)]


def write_records(
    bert: Bert,
    sources: Sequence[pathlib.Path],
    output: pathlib.Path,
    on_error: OnError | None = None,
    columns: bool = True,
    all_scores: bool = False,
) -> int:
    """Writes a row for each example of the files to a .jsonl, .csv, .tsv or .txt file, as soon as
    it is predicted; returns their number.

    See `records` for the other arguments; a .txt file has the texts alone. Raises ValueError for a
    bad row if `on_error` is not given, DiskError if the disk is full, and Interrupted after a
    signal. OUTPUT.partial then has the rows before the error, which says how many they are.
    """
    # If each row is an example, the number of rows is that of the examples.
    suffixes = ('.jsonl',) if 'tagger' in bert.heads else ('.jsonl', '.csv', '.tsv')
    by_row = all(kind(path)[0] in suffixes for path in sources)
    total = sum(map(number_of_rows, sources)) if by_row else None
    count, partial = 0, partial_path(output)
    columns = columns and output.suffix != '.txt'
    found = records(bert, sources, on_error, columns, all_scores)
    found = counted(bert.until_stopped(found), 'predicting', total)
    if partial.exists() and partial.stat().st_size:
        say(f'{partial} was left by a command that did not finish; it is written again')
    try:
        with open_writer(partial, bert.counted) as write:
            for _ in each(found, write, on_error):
                count += 1
        partial.replace(output)
    except (ValueError, OSError, KeyboardInterrupt, Interrupted) as error:
        raise _with_progress(error, partial, count) from error
    return count


def number_of_rows(path: pathlib.Path) -> int:
    """The number of rows of a .jsonl, .csv or .tsv file, including bad rows. The names of the
    columns and blank lines are not counted."""
    if kind(path)[0] == '.jsonl':
        return sum(1 for line in raw_lines(path) if line.content.strip())
    return sum(1 for _, cells in tables.rows(path, lambda _: None) if cells) - 1


def _with_progress(error: BaseException, output: pathlib.Path, count: int) -> BaseException:
    """The error with how far the output goes. The output has whole rows, or is removed if it has
    none."""
    has = f'{output} has the {plural(count, "record")} before it'
    with contextlib.suppress(OSError):  # the disk may be read-only now
        if not count:
            has = 'no record was written'
            output.unlink(missing_ok=True)
        elif isinstance(error, OSError):
            keep_whole_lines(output)
    if isinstance(error, ValueError):
        return ValueError(f'{error}. {has}') if count else error
    if isinstance(error, OSError):
        other = OSError(error.errno, f'{error.strerror or error}. {has}', str(output))
        return disk.explanation(error, output, lambda: has) or other
    number = error.number if isinstance(error, Interrupted) else signal.SIGINT
    return Interrupted(f'{str(error) or "interrupted"}; {has}', number)


def _predicted(
    bert: Bert, processor: Processor, examples: Iterable[Any]
) -> Iterator[tuple[Any, Record]]:
    """Each example with its record."""
    examples = iter(examples)
    while window := list(itertools.islice(examples, processor.window)):
        split = processor.encode(window, bert.counted)
        outputs = bert.predict(split.rows, processor.prediction_task)
        yield from zip(window, processor.records(split, outputs), strict=True)


def _examples(
    processor: Processor,
    paths: Sequence[pathlib.Path],
    summary: Summary,
    on_error: OnError | None,
    errors: list[ValueError],
) -> Iterator[Any]:
    """The examples of all files up to an error, which is added to `errors`, so that the examples
    before it are predicted first. It is an error if a file has other columns than the first."""
    names = [str(path) for path in paths]
    for number, name in enumerate(names, 1):
        try:
            for i, example in enumerate(processor.read(name, summary, PREDICT, on_error)):
                if i == 0:
                    file_lists.check_columns(names[:number], summary)
                yield example
        except ValueError as error:
            errors.append(error)
            return
        except OSError as error:  # as an OSError, it would be taken for one of the output
            errors.append(ValueError(f'{name} cannot be read ({error.strerror or error})'))
            return


def _with_columns(record: Record, columns: Mapping[str, Any]) -> Record:
    """The record after the columns of the input, which keep their order. A column is renamed if a
    record or a row of a table has a prediction of its name."""
    carried = {}
    predicted = {*record, *flat(record)}
    taken = {*columns, *predicted}
    for name, value in columns.items():
        if name in predicted and name not in COPIED:
            new, number = f'input_{name}', 1
            name = new
            while name in taken:
                number += 1
                name = f'{new}_{number}'
            taken.add(name)
        carried[name] = value
    return carried | record

"""Writes files of predictions: .jsonl, .csv, .tsv and .txt.

Each row is flushed to the file at once. Until the last row is written, the name of the file has the
suffix .partial, so that a part of the rows is never taken for all of them.
"""

import contextlib
import csv
import json
import mmap
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from bert_jax.config.files import PARTIAL
from bert_jax.data.summary import Summary
from bert_jax.finetuning.task_data import Record

NOT_IN_TSV = str.maketrans('\t\r\n', '   ')


@contextlib.contextmanager
def open_writer(path: pathlib.Path, summary: Summary) -> Iterator[Callable[[Record], None]]:
    """A function that writes a record as a row of a new file. The suffix of the file, without
    PARTIAL, decides its format.

    In .csv and .tsv, each label's probability is a column, and lists are JSON. .tsv has no quotes,
    so tabs and line breaks in texts become spaces; `summary` counts these texts. A .txt has a line
    for each text that was written, and nothing else.
    """
    suffix = pathlib.Path(path.name.removesuffix(PARTIAL)).suffix
    # UTF-8 cannot encode half of a surrogate pair. It is written as JSON does, such as \ud83d.
    errors = 'backslashreplace'
    with path.open('w', encoding='utf-8', errors=errors, newline='', buffering=1) as file:
        if suffix == '.jsonl':
            yield lambda record: print(json.dumps(record, ensure_ascii=False), file=file)
            return
        if suffix == '.txt':
            yield lambda record: print(_only_text(record), file=file)
            return
        table = csv.writer(file, lineterminator='\n')
        columns: list[str] = []

        def line(cells: list[str]) -> None:
            if suffix == '.csv':
                table.writerow(cells)
                return
            plain = [cell.translate(NOT_IN_TSV) for cell in cells]
            changed = sum(a != b for a, b in zip(cells, plain, strict=True))
            summary.count('values with tabs or line breaks, written as spaces', number=changed)
            print('\t'.join(plain), file=file)

        def write(record: Record) -> None:
            row = flat(record)
            if not columns:
                columns.extend(row)
                line(columns)
            if more := [name for name in row if name not in columns]:
                raise ValueError(
                    f'a row has the column {more[0]!r}, which the first row does not have; write '
                    'to a .jsonl file, where rows may differ'
                )
            line([_cell(row.get(name)) for name in columns])

        yield write


def keep_whole_lines(path: pathlib.Path) -> None:
    """Removes what follows the last line break of a file that is not empty: a row that was not
    written as a whole."""
    with path.open('r+b') as file:
        with mmap.mmap(file.fileno(), 0) as content:  # the file may be larger than the memory
            end = content.rfind(b'\n') + 1
        file.truncate(end)


def _only_text(record: Record) -> str:
    """The text of a record that has nothing but a text without line breaks."""
    values = list(record.values())
    if len(values) != 1 or not isinstance(values[0], str):
        raise ValueError(
            'a .txt file has only texts, and the predictions of this model have more: '
            f'{", ".join(record)}; write to a .jsonl, .csv or .tsv file'
        )
    return ' '.join(values[0].splitlines())


def flat(record: Record) -> dict[str, Any]:
    """The record with a column for each label's probability, after `probability`, the largest."""
    row: dict[str, Any] = {}
    for name, value in record.items():
        if name == 'probabilities' and isinstance(value, dict):
            row['probability'] = max(value.values())
            row |= {f'probability_{label}': number for label, number in value.items()}
        else:
            row[name] = value
    return row


def _cell(value: Any) -> str:
    if value is None:
        return ''
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""Labelled texts, and their readers: .csv, .tsv and .jsonl files, plain or .gz.

CSV is RFC 4180 and TSV knows no quotes; both begin with a line of column names. JSONL has an object
a line. Blank lines are passed over, but where there is one column, whose empty text each would
be; anything else that is no example is an error with its line.
"""

import csv
import json
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bert_jax.data.files import COMPRESSIONS, kind, lines
from bert_jax.data.labelled.texts import Text

SUFFIXES = ('.csv', '.tsv', '.jsonl')
TEXT_B = 'text_b'  # the one column of a text that may be absent, under this name only
LONGEST = 1 << 24  # characters of a CSV field: more is a quote that nobody closed
SHOWN = 20  # labels of a message
ADVICE = (
    'correct it, or name the columns with config.data.text_field, text_b_field and label_field '
    '(predict has them from training)'
)


class Example(NamedTuple):
    """A text or a pair of them. label: as it stands in the file, None where there is none.
    where: 'path:line'."""

    text: str
    text_b: str | None
    label: str | None
    where: str

    @property
    def parts(self) -> Text:
        return self.text if self.text_b is None else (self.text, self.text_b)


def read_file(
    path: str | os.PathLike[str], *, text: str = 'text', text_b: str = TEXT_B, label: str = 'label'
) -> list[Example]:
    """All of `iter_file`."""
    return list(iter_file(path, text=text, text_b=text_b, label=label))


def iter_file(
    path: str | os.PathLike[str], *, text: str = 'text', text_b: str = TEXT_B, label: str = 'label'
) -> Iterator[Example]:
    """The examples of a file, a line at a time; `text`, `text_b` and `label` name its columns.

    Texts come stripped. The column of labels may be absent, and an empty label is None. So may
    `text_b`, unless it was given another name than 'text_b'. Raises ValueError, with path:line,
    for whatever is not an example, and for a file that is missing, damaged, not UTF-8 or empty.
    """
    path = pathlib.Path(path).expanduser()
    suffix = kind(path)[0]
    if suffix not in SUFFIXES:
        raise ValueError(
            f'{path}: expected a name that ends in {", ".join(SUFFIXES)}, with '
            f'{", ".join(COMPRESSIONS)} after it if it is compressed'
        )
    if suffix == '.jsonl':
        examples = _jsonl(path, text, text_b, label)
    else:
        rows = csv_rows(path) if suffix == '.csv' else tsv_rows(path)
        examples = _table(path, rows, text, text_b, label)
    empty = True
    for example in examples:
        empty = False
        yield example
    if empty:
        raise ValueError(f'{path} has no examples')


def alike(examples: Iterable[Example], pairs: bool | None = None) -> Iterator[Example]:
    """The examples. Raises ValueError, with path:line, where some are pairs of texts and others are
    not, or any is not what `pairs` says."""
    for example in examples:
        if pairs is None:
            pairs = example.text_b is not None
        if pairs != (example.text_b is not None):
            raise ValueError(
                f'{example.where} has {"no" if pairs else "a"} second text, unlike those before it '
                f'or those that were learned from; {ADVICE}'
            )
        yield example


def label_names(examples: Sequence[Example]) -> list[str]:
    """The labels that occur, sorted; by value where all are whole numbers. Raises ValueError where
    one is missing."""
    names = {_label(example) for example in examples}
    if all(re.fullmatch(r'[+-]?\d{1,18}', name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def label_ids(examples: Sequence[Example], names: Sequence[str]) -> np.ndarray:
    """int32[n], places in `names`. Raises ValueError for a label that is not there or missing."""
    ids = {name: i for i, name in enumerate(names)}
    for example in examples:
        if _label(example) not in ids:
            known = ', '.join(map(repr, names[:SHOWN])) + (', ...' if len(names) > SHOWN else '')
            raise ValueError(
                f'{example.where} has the label {example.label!r}; expected one of those to learn: '
                f'{known}' + '; to learn numbers: config.data.regression=true' * _number(example)
            )
    return np.array([ids[_label(example)] for example in examples], np.int32)


def label_values(examples: Sequence[Example]) -> np.ndarray:
    """float32[n], for regression. Raises ValueError for what is no finite number or missing."""
    values = np.empty(len(examples), np.float32)
    for i, example in enumerate(examples):
        label = _label(example)
        try:
            value = np.nan if '_' in label else float(label)  # 1_000 is a number to Python only
        except ValueError:
            value = np.nan
        if not abs(value) <= float(np.finfo(np.float32).max):
            raise ValueError(
                f'{example.where} has the label {example.label!r}; expected a finite number'
            )
        values[i] = value
    return values


def _number(example: Example) -> bool:
    try:
        return float(_label(example)) % 1 > 0
    except ValueError:
        return False


def _label(example: Example) -> str:
    if example.label is None:
        raise ValueError(
            f'{example.where} has no label; give it one, or name the column that has it with '
            'config.data.label_field'
        )
    return example.label


def csv_rows(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, fields) of each record; no fields: a blank line."""
    csv.field_size_limit(max(LONGEST, csv.field_size_limit()))
    reader = csv.reader(lines(path), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(
                f'{path}:{number} is not CSV ({error}); a text with commas, quotes or line breaks '
                'stands in double quotes, and a quote in it is doubled'
            ) from error
        yield number, row


def tsv_rows(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    """(number, fields) of each line; no fields: a blank line. Quotes are text."""
    for number, line in enumerate(lines(path), 1):
        line = line.rstrip('\r\n')
        yield number, line.split('\t') if line else []


def places(header: Sequence[str], names: Sequence[str], where: str, advice: str) -> list[int]:
    """Where the columns `names` stand. Raises ValueError where one is missing or there twice."""
    for name in names:
        if header.count(name) != 1:
            has = 'several columns' if name in header else 'no column'
            raise ValueError(f'{where} has {has} {name!r}, it has {list(header)}; {advice}')
    return [header.index(name) for name in names]


def _table(
    path: pathlib.Path, rows: Iterator[tuple[int, list[str]]], text: str, text_b: str, label: str
) -> Iterator[Example]:
    header: list[str] = []
    for number, row in rows:
        where = f'{path}:{number}'
        if not row and len(header) != 1:
            continue
        if not header:
            header = [name.strip() for name in row]
            has_b, has_label = text_b != TEXT_B or text_b in header, label in header
            names = [text, *[text_b] * has_b, *[label] * has_label]
            at = places(header, names, where, f'the first line names the columns; {ADVICE}')
            continue
        row = row or ['']  # of the one column there is
        if len(row) != len(header):
            raise ValueError(
                f'{where} has {len(row)} columns; expected {len(header)}, as in the first line '
                f'({", ".join(header)})'
            )
        yield Example(
            _not_empty(row[at[0]], text, where),
            _not_empty(row[at[1]], text_b, where) if has_b else None,
            (row[at[-1]].strip() or None) if has_label else None,
            where,
        )


def records(path: pathlib.Path, name: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The JSON objects of a file that has one a line, and where each stands. name: a key they
    should have, for errors."""
    for number, line in enumerate(lines(path), 1):
        if not line.strip():
            continue
        where = f'{path}:{number}'
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            column = error.pos + 1
            raise ValueError(
                f'{where}:{column} is not JSON ({error.msg}), {line.strip()[:60]!r}; expected an '
                f'object a line, {{"{name}": ...}}'
            ) from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f'{where} is not JSON ({error})') from error
        if not isinstance(record, dict):
            raise ValueError(f'{where} is {_short(record)}; expected an object, {{"{name}": ...}}')
        yield record, where


def _jsonl(path: pathlib.Path, text: str, text_b: str, label: str) -> Iterator[Example]:
    for record, where in records(path, text):
        places(list(record), [text, *[text_b] * (text_b != TEXT_B)], where, ADVICE)
        second = record.get(text_b)
        yield Example(
            string(record[text], text, where),
            None if second is None else string(second, text_b, where),
            _json_label(record.get(label), label, where),
            where,
        )


def string(value: Any, name: str, where: str) -> str:
    """Stripped. Raises ValueError for what is none, or an empty one."""
    return _not_empty(characters(value, name, where), name, where)


def characters(value: Any, name: str, where: str) -> str:
    """As it is. Raises ValueError for what is no string of characters."""
    if not isinstance(value, str):
        raise ValueError(f'{where} has {_short(value)} in {name!r}; expected a string')
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f'{where} has half of a surrogate pair in {name!r}, which is no character; correct it'
        ) from error
    return value


def _json_label(value: Any, name: str, where: str) -> str | None:
    """Numbers as they are spelled in JSON."""
    if value is None or isinstance(value, str):
        return (value or '').strip() or None
    if not isinstance(value, int | float):
        raise ValueError(f'{where} has {_short(value)} in {name!r}; expected a string or a number')
    if value != value:
        return None  # pandas writes so what is missing
    return json.dumps(value)


def _not_empty(value: str, name: str, where: str) -> str:
    value = value.strip()
    if not value:
        raise ValueError(f'{where} has an empty text in {name!r}; fill it in or remove the line')
    return value


def _short(value: Any) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 60 else shown[:57] + '...'

"""Reads labelled texts from .csv, .tsv and .jsonl files, which may be compressed.

CSV follows RFC 4180; TSV has no quoting. Both begin with a line of column names. JSONL has an
object on each line. Blank lines are skipped, but in a table of one column they are empty texts.
"""

import csv
import json
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bert_jax.data.files import COMPRESSIONS, kind, lines
from bert_jax.data.labelled.bad_rows import OnError, each
from bert_jax.data.labelled.texts import Text

SUFFIXES = ('.csv', '.tsv', '.jsonl')
TEXT_B = 'text_b'  # a column of second texts that has this name may be missing
LONGEST = 1 << 24  # characters of a CSV field; a longer one probably has a quote that is not closed
LISTED = 20  # a message lists at most this many labels
SURROGATES = re.compile('[\ud800-\udfff]')
WHOLE_NUMBER = re.compile(r'([+-]?\d{1,18})(\.0+)?')
ADVICE = (
    'correct it, or name the columns with config.data.text_field, text_b_field and label_field '
    '(predict uses the names of training)'
)


class Example(NamedTuple):
    """A text or a pair of texts. label: as in the file, or None. where: 'path:line'. columns: all
    values of the row, if the caller asked for them."""

    text: str
    text_b: str | None
    label: str | None
    where: str
    columns: Mapping[str, Any] | None = None

    @property
    def parts(self) -> Text:
        return self.text if self.text_b is None else (self.text, self.text_b)


def iter_file(
    path: str | os.PathLike[str],
    *,
    text: str = 'text',
    text_b: str = TEXT_B,
    label: str = 'label',
    columns: bool = False,
    on_error: OnError | None = None,
) -> Iterator[Example]:
    """Reads the examples of a file one by one; `text`, `text_b` and `label` name its columns.

    Texts are stripped. The label is None if it is empty or the file has no such column. A column
    `text_b` may be missing if it has its default name. columns: whether an example has all values
    of its row. Raises ValueError, with path:line, for a line that is not an example, unless
    `on_error` is given (see `each`), and for a file that is missing, damaged, not UTF-8 or empty.
    """
    path = pathlib.Path(path).expanduser()
    suffix = kind(path)[0]
    if suffix not in SUFFIXES:
        raise ValueError(
            f'{path}: expected a name that ends in {", ".join(SUFFIXES)}, with '
            f'{", ".join(COMPRESSIONS)} after it if it is compressed'
        )
    needed = [text, *[text_b] * (text_b != TEXT_B)]
    if suffix == '.jsonl':
        read = records(path, text, on_error)
    else:
        rows = (csv_rows if suffix == '.csv' else tsv_rows)(path, on_error)
        read = _table(path, rows, needed, label, on_error)
    empty = True

    def example(found: tuple[dict[str, Any], str]) -> Example:
        nonlocal empty
        (record, where), empty = found, False
        second = record.get(text_b)
        if suffix == '.jsonl':
            column_indices(list(record), needed, where, ADVICE)
        return Example(
            _text(record[text], text, where),
            None if second is None else _text(second, text_b, where),
            _as_label(record.get(label), label, where),
            where,
            record if columns else None,
        )

    yield from each(read, example, on_error)
    if empty:
        expected = f'an object on each line, {{"{text}": ...}}'
        if suffix != '.jsonl':
            expected = f'a line that names the columns, such as {text}, and a line for each example'
        raise ValueError(f'{path} has no examples; expected {expected}')


def check_pairs(examples: Sequence[Example], pairs: bool | None = None) -> None:
    """Raises ValueError, with path:line, for an example that is a pair if `pairs` is False, or a
    single text if it is True. If `pairs` is None, all examples must be like the first one."""
    for example in examples:
        if pairs is None:
            pairs = example.text_b is not None
        if pairs != (example.text_b is not None):
            raise ValueError(
                f'{example.where} has {"no" if pairs else "a"} second text, unlike the examples '
                f'before it or the training examples; {ADVICE}'
            )


def label_names(examples: Sequence[Example]) -> list[str]:
    """The labels that occur, in alphabetical order, or by value if all are whole numbers. Raises
    ValueError if an example has no label, and if a number has two spellings, such as 1 and 1.0."""
    names: dict[str, str] = {}
    for example in examples:
        label = _label(example)
        number = WHOLE_NUMBER.fullmatch(label)
        other = names.setdefault(number[1].removeprefix('+') if number else label, label)
        if other != label:
            raise ValueError(
                f'{example.where} has the label {label!r}, and an example before it has {other!r}; '
                'write equal numbers in the same way'
            )
    if all(re.fullmatch(r'[+-]?\d{1,18}', name) for name in names.values()):
        return sorted(names.values(), key=lambda name: (int(name), name))
    return sorted(names.values())


def label_ids(examples: Sequence[Example], names: Sequence[str]) -> np.ndarray:
    """int32[n], indices in `names`. Raises ValueError for a label that is unknown or missing."""
    ids = {name: i for i, name in enumerate(names)}
    for example in examples:
        if (label := _label(example)) not in ids:
            known = ', '.join(map(repr, names[:LISTED])) + (', ...' if len(names) > LISTED else '')
            hint = '; to learn numbers: config.data.regression=true' * (as_number(label) % 1 > 0)
            raise ValueError(
                f'{example.where} has the label {label!r}; expected one of the training '
                f'file: {known}{hint}'
            )
    return np.array([ids[_label(example)] for example in examples], np.int32)


def label_values(examples: Sequence[Example]) -> np.ndarray:
    """float32[n]. Raises ValueError for a label that is missing or is not a finite number."""
    values = np.array([as_number(_label(example)) for example in examples])
    bad = np.flatnonzero(~(np.abs(values) <= np.finfo(np.float32).max)).tolist()
    if bad:
        first = examples[bad[0]]
        raise ValueError(f'{first.where} has the label {first.label!r}; expected a finite number')
    return values.astype(np.float32)


def as_number(label: str) -> float:
    """The number, or NaN if the label is not a number."""
    try:
        return np.nan if '_' in label else float(label)  # 1_000 is a number in Python only
    except ValueError:
        return np.nan


def _label(example: Example) -> str:
    if example.label is None:
        raise ValueError(
            f'{example.where} has no label; add it, or name the column of labels with '
            'config.data.label_field'
        )
    return example.label


def csv_rows(
    path: pathlib.Path, on_error: OnError | None = None
) -> Iterator[tuple[int, list[str]]]:
    """(number of the first line, fields) of each record; a blank line has no fields."""
    csv.field_size_limit(max(LONGEST, csv.field_size_limit()))
    reader = csv.reader(lines(path, on_error), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            wrong = ValueError(
                f'{path}:{number} is not CSV ({error}); put double quotes around a text with '
                'commas, quotes or line breaks, and double the quotes in it. A file of JSON '
                'objects, one on each line, needs a name that ends in .jsonl'
            )
            if on_error is None:
                raise wrong from error
            on_error(wrong)
        else:
            yield number, row


def tsv_rows(
    path: pathlib.Path, on_error: OnError | None = None
) -> Iterator[tuple[int, list[str]]]:
    """(number, fields) of each line; a blank line has no fields. Quotes belong to the text."""
    for number, line in enumerate(lines(path, on_error), 1):
        line = line.rstrip('\r\n')
        yield number, line.split('\t') if line else []


def column_indices(
    header: Sequence[str], names: Iterable[str], where: str, advice: str
) -> list[int]:
    """The indices of the columns `names`. Raises ValueError if one is missing or repeated."""
    names = list(names)
    for name in names:
        if header.count(name) != 1:
            has = 'several columns' if name in header else 'no column'
            raise ValueError(f'{where} has {has} {name!r}, it has {list(header)}; {advice}')
    return [header.index(name) for name in names]


def records(
    path: pathlib.Path, name: str, on_error: OnError | None = None
) -> Iterator[tuple[dict[str, Any], str]]:
    """The JSON object of each line and its 'path:line'. name: a key of the objects, for messages.
    Raises ValueError, with path:line, for a line that is not an object, unless `on_error` is given
    (see `each`)."""

    def record_of(numbered: tuple[int, str]) -> tuple[dict[str, Any], str]:
        number, line = numbered
        where = f'{path}:{number}'
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f'{where}:{error.pos + 1} is not JSON ({error.msg}), {line.strip()[:60]!r}; '
                f'expected an object on each line, {{"{name}": ...}}'
            ) from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f'{where} is not JSON ({error})') from error
        if not isinstance(record, dict):
            raise ValueError(f'{where} is {_short(record)}; expected an object, {{"{name}": ...}}')
        return record, where

    numbered = (
        (number, line) for number, line in enumerate(lines(path, on_error), 1) if line.strip()
    )
    yield from each(numbered, record_of, on_error)


def characters(value: Any, name: str, where: str) -> str:
    """Returns `value`. Raises ValueError if it is not a string that UTF-8 can encode."""
    if not isinstance(value, str):
        raise ValueError(f'{where} has {_short(value)} in {name!r}; expected a string')
    if SURROGATES.search(value):
        raise ValueError(f'{where} has half a surrogate pair in {name!r}, which is not a character')
    return value


def _table(
    path: pathlib.Path,
    rows: Iterator[tuple[int, list[str]]],
    needed: list[str],
    label: str,
    on_error: OnError | None,
) -> Iterator[tuple[dict[str, str], str]]:
    number, row = next((found for found in rows if found[1]), (0, []))
    header = [name.strip() for name in row]
    if not header:
        return
    names = {*needed, *({TEXT_B, label} & {*header})}
    where = f'{path}:{number}'
    column_indices(header, names, where, f'the first line names the columns; {ADVICE}')

    def named(found: tuple[int, list[str]]) -> tuple[dict[str, str], str]:
        number, row = found
        where, row = f'{path}:{number}', row or ['']  # a blank line is one empty cell
        if len(row) != len(header):
            raise ValueError(
                f'{where} has {len(row)} columns; expected {len(header)}, as in the first line '
                f'({", ".join(header)})'
            )
        return dict(zip(header, row, strict=True)), where

    yield from each((found for found in rows if found[1] or len(header) == 1), named, on_error)


def _as_label(value: Any, name: str, where: str) -> str | None:
    """The label as a string; numbers are written as in JSON."""
    if value is None or isinstance(value, str):
        return (value or '').strip() or None
    if not isinstance(value, int | float):
        raise ValueError(f'{where} has {_short(value)} in {name!r}; expected a string or a number')
    return json.dumps(value) if value == value else None  # pandas writes NaN for a missing value


def _text(value: Any, name: str, where: str) -> str:
    """The stripped text. Raises ValueError if it is not a string or is empty."""
    text = characters(value, name, where).strip()
    if not text:
        raise ValueError(f'{where} has an empty text in {name!r}; fill it in or remove the line')
    return text


def _short(value: Any) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 60 else shown[:57] + '...'

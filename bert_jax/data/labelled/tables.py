"""Reads tables: .csv, which follows RFC 4180, and .tsv, which has no quoting."""

import ast
import contextlib
import csv
import pathlib
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from bert_jax.data.file_kinds import separator, text_kind
from bert_jax.data.files import kind, lines
from bert_jax.data.labelled import json_files
from bert_jax.data.labelled.bad_rows import OnError, each

SUFFIXES = ('.csv', '.tsv')
# pandas and datasets write a NumPy array to a table without commas: ['EU' 'rejects'] or [3 0].
VALUE = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?\d+""")
ARRAY = re.compile(rf'\[\s*(?:{VALUE.pattern})(?:\s+(?:{VALUE.pattern}))*\s*\]')
# pandas writes NumPy arrays inside other values: array(['otto lang'], dtype=object).
INNER_ARRAY = re.compile(r'\barray\((\[[^\[\]]*\])(?:, *dtype=\w+)?\)')
LONGEST = 1 << 24  # characters of a CSV field; a longer one probably has a quote that is not closed
Numbered = tuple[int, list[str]]  # the number of the first line of a row, and its cells


class Table(NamedTuple):
    """A table whose first line names the columns. where: the place of this line. header: the names
    of the columns; empty if the file has only blank lines. rows: the rows after the first line."""

    path: pathlib.Path
    where: str
    header: list[str]
    rows: Iterator[Numbered]

    def record(self, found: Numbered) -> json_files.Record:
        """The object of a row, by the names of the columns, and its place. Raises ValueError for a
        row with more or fewer cells than there are columns, and if it repeats their names."""
        number, row = found
        where, row = f'{self.path}:{number}', row or ['']  # a blank line is one empty cell
        if len(row) != len(self.header):
            raise ValueError(
                f'{where} has {len(row)} columns; expected {len(self.header)}, as in the first '
                f'line ({", ".join(self.header)})'
            )
        if _distinct([cell.strip() for cell in row]) == self.header:
            names = ', '.join(self.header)
            raise ValueError(
                f'{where} repeats the names of the columns ({names}); remove this line'
            )
        return dict(zip(self.header, row, strict=True)), where


def open_table(path: pathlib.Path, on_error: OnError | None = None) -> Table:
    """The table in a file. Its first line that is not blank names the columns and has been read."""
    found = rows(path, on_error)
    number, row = next(((number, row) for number, row in found if row), (0, []))
    return Table(path, f'{path}:{number}', [name.strip() for name in row], found)


def rows(path: pathlib.Path, on_error: OnError | None = None) -> Iterator[Numbered]:
    """(number of the first line, cells) of each row; a blank line has no cells."""
    return (csv_rows if kind(path)[0] == '.csv' else tsv_rows)(path, on_error)


def csv_rows(path: pathlib.Path, on_error: OnError | None = None) -> Iterator[Numbered]:
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
            mark, remedy = separator(next(lines(path), '')) if number == 1 else '', ''
            if mark not in ('', ','):
                remedy = f'separate its columns by commas instead of {mark!r}, or '
            wrong = ValueError(
                f'{path}:{number} is not CSV ({error}); {remedy}put double quotes around a text '
                'with commas, quotes or line breaks, and double the quotes in it. A file of JSON '
                'objects, one on each line, needs a name that ends in .jsonl'
            )
            if on_error is None:
                raise wrong from error
            on_error(wrong)
        else:
            yield number, row


def tsv_rows(path: pathlib.Path, on_error: OnError | None = None) -> Iterator[Numbered]:
    """(number, fields) of each line; a blank line has no fields. Quotes belong to the text."""
    for number, line in enumerate(lines(path, on_error), 1):
        line = line.rstrip('\r\n')
        yield number, line.split('\t') if line else []


def value_in(cell: str) -> Any:
    """The value in a cell, as JSON, Python or NumPy writes it; None if the cell has something
    else."""
    cell = cell.strip()
    if ARRAY.fullmatch(cell):
        return [ast.literal_eval(value) for value in VALUE.findall(cell)]
    for parse, text in (json_files.loads, cell), (ast.literal_eval, INNER_ARRAY.sub(r'\1', cell)):
        with contextlib.suppress(ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return parse(text)
    return None


def list_in(cell: str) -> list[Any] | None:
    """The values of a list in a cell, or of a tuple or a set of Python; None if the cell is not a
    list."""
    values = value_in(cell) if cell.strip().startswith(('[', '(', '{', 'set()')) else None
    if isinstance(values, set):
        return sorted(values, key=str)
    return [*values] if isinstance(values, list | tuple) else None


def column_indices(
    header: Sequence[str], names: Sequence[str], where: str, advice: str
) -> list[int]:
    """The indices of the columns `names`. Raises ValueError if one is missing or repeated."""
    for name in names:
        if header.count(name) != 1:
            has = 'several columns' if name in header else 'no column'
            raise ValueError(f'{where} has {has} {name!r}, it has {list(header)}; {advice}')
    return [header.index(name) for name in names]


def records(
    path: pathlib.Path,
    needed: Collection[str],
    optional: Collection[str],
    advice: str,
    on_error: OnError | None = None,
) -> Iterator[json_files.Record]:
    """The rows of a table as objects by the names of its columns, each with its 'path:line'.

    The columns `needed` have to be there once, and `optional` at most once; `advice` is what a
    message about them says. Blank lines are left out, but in a table of one column they are empty
    cells, except at the end of the file. Raises ValueError as `Table.record` does, unless
    `on_error` is given (see `each`).
    """
    table = open_table(path, on_error)
    header = table.header
    if not header:
        return
    names = [*needed, *(name for name in optional if name in header)]
    column_indices(header, names, table.where, hint(header, needed) + advice)
    table = table._replace(header=_distinct(header))
    is_wide = len(header) > 1
    kept = (row for row in table.rows if row[1]) if is_wide else _with_inner_blanks(table.rows)
    yield from each(kept, table.record, on_error)


def _distinct(header: Sequence[str]) -> list[str]:
    """The names of columns, in which a repeated name has a number: a, a_2, a_3."""
    names: list[str] = []
    for name in header:
        number, new = 1, name
        while new in names:
            number += 1
            new = f'{name}_{number}'
        names.append(new)
    return names


def hint(header: Sequence[str], names: Collection[str]) -> str:
    """A part of a message about a header without the columns `names`: what the file looks like, and
    what to do."""
    line, looks = header[0], ''
    other = separator(line) if len(header) == 1 else ''
    if other and {*names} & {*map(str.strip, line.split(other))}:
        name = 'tabs' if other == '\t' else f'{other!r}'
        suffix = {',': '.csv', '\t': '.tsv'}.get(other, '')
        remedy = f'rename it to {suffix}' if suffix else 'separate them by commas'
        looks = f'its columns are separated by {name}: {remedy}; '
    elif kind_of_text := text_kind([', '.join(header)]):
        looks = f'it looks like {kind_of_text}; '
    return f'{looks}the first line names the columns; '


def _with_inner_blanks(found: Iterator[Numbered]) -> Iterator[Numbered]:
    """The rows without the blank lines at the end."""
    blanks: list[Numbered] = []
    for number, row in found:
        if row:
            yield from blanks
            blanks = []
            yield number, row
        else:
            blanks.append((number, row))

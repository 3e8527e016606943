"""Reads labelled texts from .csv, .tsv, .jsonl and .json files, which may be compressed.

CSV follows RFC 4180; TSV has no quoting. Both begin with a line of column names. JSONL has an
object on each line; JSON may have a list of them. Blank lines are skipped, but in a table of one
column they are empty texts, except at the end.
"""

import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bert_jax.data.files import kind
from bert_jax.data.labelled import json_files, label_sets, records, tables
from bert_jax.data.labelled.bad_rows import OnError, each, not_empty
from bert_jax.data.labelled.json_files import characters, short
from bert_jax.data.labelled.texts import Text
from bert_jax.data.summary import Summary

ROLES = ('text', 'text_b', 'label')  # of the columns that are read
TEXT_B = 'text_b'  # a column of second texts that has this name may be missing
ADVICE = 'correct it, or name the columns with config.data.text_field, text_b_field and label_field'


class Example(NamedTuple):
    """A text or a pair of texts. label: as in the file, or None. where: 'path:line'. columns: all
    values of the row, if the caller asked for them. labels: all labels, if an example may have
    several; then `label` is None."""

    text: str
    text_b: str | None
    label: str | None
    where: str
    columns: Mapping[str, Any] | None = None
    labels: tuple[str, ...] | None = None

    @property
    def parts(self) -> Text:
        return self.text if self.text_b is None else (self.text, self.text_b)

    @property
    def all_labels(self) -> tuple[str, ...] | None:
        """The labels of an example that may have one or several; None if they are not known."""
        return self.labels if self.label is None else (self.label,)


def iter_file(
    path: str | os.PathLike[str],
    *,
    text: str = 'text',
    text_b: str = TEXT_B,
    label: str = 'label',
    columns: bool = False,
    on_error: OnError | None = None,
    summary: Summary | None = None,
    advice: str = ADVICE,
    roles: Sequence[str] = ROLES,
    separator: str | None = None,
    predicts: bool = False,
) -> Iterator[Example]:
    """Reads the examples of a file one by one; `text`, `text_b` and `label` name its columns.

    Texts are stripped. The label is None if it is empty or the file has no such column. A column
    `text_b` may be missing if it has its default name. columns: whether an example has all values
    of its row. `summary` notes the columns that are read, by their `roles`. advice: the end of
    messages about columns. separator: what separates several labels in a cell (see
    `label_sets.parse`); None if an example has one label. predicts: whether the examples are only
    predicted. If so, labels are not read; if not, rows that were rejected in Prodigy are left out.
    Raises ValueError, with path:line, for a line that is not an example, unless `on_error` is given
    (see `each`), and for a file that is missing, damaged, not UTF-8 or empty.
    """
    path, summary = pathlib.Path(path).expanduser(), summary or Summary()
    needed, labels = [text, *[text_b] * (text_b != TEXT_B)], [] if predicts else [label]
    is_json = kind(path)[0] in records.JSON
    advice = predict_advice(needed) if predicts else advice
    in_cells = None if is_json else separator

    def example(found: json_files.Record) -> Example:
        record, where = found
        if str(path) not in summary.columns:  # this is the first example of the file
            named = dict(zip(roles, (text, text_b, *labels), strict=False))
            summary.describe(str(path), named, record)
        second, found_label = record.get(text_b), None if predicts else record.get(label)
        if is_json:
            tables.column_indices(list(record), needed, where, advice)
        return Example(
            _text(record[text], text, where),
            None if second is None else _text(second, text_b, where),
            _as_label(found_label, label, where) if separator is None else None,
            where,
            record if columns else None,
            label_sets.parse(found_label, label, where, in_cells) if separator else None,
        )

    expected = f'a line that names the columns, such as {text}, and a line for each example'
    if is_json:
        expected = f'an object on each line, {{"{text}": ...}}'
    read = records.read(path, needed, [TEXT_B, *labels], advice, on_error)
    read = read if predicts else json_files.accepted(read, summary)
    error = f'{path} has no examples; expected {expected}'
    yield from each(not_empty(read, error), example, on_error)


def predict_advice(names: Sequence[str]) -> str:
    """The end of a message about the columns of a file to predict."""
    return f'name the columns of texts as in training: {", ".join(map(repr, names))}'


def check_pairs(
    examples: Sequence[Example], pairs: bool | None = None, advice: str = ADVICE
) -> None:
    """Raises ValueError, with path:line, for an example that is a pair if `pairs` is False, or a
    single text if it is True. If `pairs` is None, all examples must be like the first one."""
    for example in examples:
        if pairs is None:
            pairs = example.text_b is not None
        if pairs != (example.text_b is not None):
            raise ValueError(
                f'{example.where} has {"no" if pairs else "a"} second text, unlike the examples '
                f'before it or the training examples; {advice}'
            )


def _as_label(value: Any, name: str, where: str) -> str | None:
    """The label as a string; numbers are written as in JSON."""
    if value is None or isinstance(value, str):
        return characters(value or '', name, where).strip() or None
    if not isinstance(value, int | float):
        raise ValueError(f'{where} has {short(value)} in {name!r}; expected a string or a number')
    return json.dumps(value) if value == value else None  # pandas writes NaN for a missing value


def _text(value: Any, name: str, where: str) -> str:
    """The stripped text. Raises ValueError if it is not a string or is empty."""
    text = characters(value, name, where).strip()
    if not text:
        raise ValueError(f'{where} has an empty text in {name!r}; fill it in or remove the line')
    return text

"""Several labels of an example: lists in .jsonl files, and cells in tables."""

import json
from typing import Any

from bert_jax.data.labelled import tables
from bert_jax.data.labelled.json_files import characters


def parse(value: Any, name: str, where: str, separator: str | None) -> tuple[str, ...] | None:
    """The labels in a value of the column `name`.

    A list has the labels as strings or whole numbers; an empty list means no labels, and null or no
    value gives None. separator: what separates the labels in a string, which is a list of JSON,
    Python or NumPy if it begins with a bracket; None if only lists are allowed. Raises ValueError,
    with the place `where`, for anything else, and for a label that is empty or occurs twice.
    """
    if value is None:
        return None
    if isinstance(value, str) and separator is not None:
        value = _cell(value, separator, name, where)
    if not isinstance(value, list):
        raise ValueError(
            f'{where} has {value!r:.60} in {name!r}; expected a list of labels, ["a", "b"], '
            'because config.data.multi_label is true'
        )
    labels = [_label(label, name, where) for label in value]
    if again := [label for i, label in enumerate(labels) if label in labels[:i]]:
        raise ValueError(f'{where} has the label {again[0]!r} twice in {name!r}')
    return tuple(labels)


def _cell(value: str, separator: str, name: str, where: str) -> Any:
    """The labels in a cell of a table."""
    if (found := tables.list_in(value)) is not None:
        return found
    if value.strip().startswith(('[', '{', '(')):
        raise ValueError(
            f'{where} has {value!r:.60} in {name!r}, which begins like a list but is not one; '
            f'write labels with {separator!r} between them, or as ["a", "b"]'
        )
    return [label.strip() for label in value.split(separator) if label.strip()]


def _label(value: Any, name: str, where: str) -> str:
    if isinstance(value, int):
        return json.dumps(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(
            f'{where} has the label {value!r:.60} in {name!r}; expected strings or whole numbers'
        )
    return characters(value, name, where).strip()

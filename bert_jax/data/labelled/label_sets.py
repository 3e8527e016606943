"""Examples with several labels: lists in .jsonl files, cells in tables, and arrays."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from bert_jax.data.labelled import tables
from bert_jax.data.labelled.examples import Example
from bert_jax.data.labelled.json_files import characters
from bert_jax.data.labelled.labels import label_names

BITS = {'0', '1', 'true', 'false'}
Parser = Callable[[Any, str, str], tuple[str, ...] | None]


def parser(separator: str | None) -> Parser:
    """Returns a function that reads an example's labels: (value, name of the column, where) ->
    labels.

    A list has the labels as strings or whole numbers; an empty list means no labels, and null or no
    value gives None. separator: what separates the labels in a string, which is a list of JSON,
    Python or NumPy if it begins with a bracket; None if only lists are allowed. The function raises
    ValueError, with `where`, for anything else, and for a label that is empty or occurs twice.
    """

    def parse(value: Any, name: str, where: str) -> tuple[str, ...] | None:
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

    return parse


def _cell(value: str, separator: str, name: str, where: str) -> Any:
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


def names(examples: Sequence[Example]) -> list[str]:
    """The labels that occur, in the order of `labels.label_names`. Raises ValueError if an
    example has no value for labels, and if no example has a label."""
    found = label_names(examples)
    if not found:
        raise ValueError('no example has a label; expected at least one')
    counts = {len(example.labels or ()) for example in examples}
    if {*found} <= BITS and min(counts) > 1:
        raise ValueError(
            f'{examples[0].where} has {examples[0].labels}, which looks like a 0 or a 1 for each '
            'label; expected the names of the labels that the text has'
        )
    return found

"""Splits the examples of one file by a column that says which split a row belongs to."""

from collections.abc import Sequence
from typing import Any

NAMES = {
    'train': ('train', 'training'),
    'dev': ('dev', 'development', 'eval', 'evaluation', 'val', 'valid', 'validation'),
    'test': ('test', 'testing'),
}
SPLITS = {name: split for split, names in NAMES.items() for name in names}


def parts(examples: Sequence[Any], field: str) -> dict[str, list[Any]]:
    """The examples of each split, 'train', 'dev' and 'test', by the value of their column `field`.

    The case of the values does not matter. Raises ValueError, with path:line, if an example has no
    such column or another value, and if there are no rows to train on.
    """
    found: dict[str, list[Any]] = {split: [] for split in NAMES}
    for example in examples:
        columns = example.columns or {}
        if field not in columns:
            raise ValueError(
                f'{example.where} has no column {field!r}, it has {list(columns)}; correct '
                'config.data.split_field'
            )
        value = columns[field]
        if isinstance(value, list):  # a value for each word; often only the first one is filled in
            distinct = {*value} - {''}
            value = value if len(distinct) > 1 else next(iter(distinct), '')
        split = SPLITS.get(value.strip().lower()) if isinstance(value, str) else None
        if split is None:
            raise ValueError(
                f'{example.where} has {value!r} in {field!r}; expected one of {", ".join(SPLITS)}'
            )
        found[split].append(example)
    if not found['train']:
        raise ValueError(f"no row has 'train' in the column {field!r} (config.data.split_field)")
    return found

"""Splits the examples of a file into those to train on, to evaluate on and to predict."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

WORD = re.compile(r'\w+')
NAMES = {
    'train': ('train', 'training'),
    'dev': ('dev', 'development', 'eval', 'evaluation', 'val', 'valid', 'validation'),
    'test': ('test', 'testing'),
}
SPLITS = {name: split for split, names in NAMES.items() for name in names}


def held_out(
    texts: Sequence[str], labels: Sequence[str], path: str, share: float = 0.1
) -> np.ndarray:
    """bool[n]: whether each example is held out; about `share` of the examples of each label.

    The choice depends on the texts and labels alone, so every seed and every restart gives the
    same one. Examples whose texts differ only in case and punctuation stay together, so that
    training never sees a copy of a held-out text. Raises ValueError, naming the file `path`, if
    there are too few examples.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        groups[' '.join(WORD.findall(text.casefold())) or text].append(i)
    of_label: dict[str, list[str]] = defaultdict(list)
    for key, members in groups.items():
        of_label[labels[members[0]]].append(key)
    held_out, due = np.zeros(len(texts), bool), 0.0
    for label in sorted(of_label):
        keys = sorted(of_label[label], key=lambda key: hashlib.sha256(key.encode()).digest())
        due += share * sum(len(groups[key]) for key in keys)  # plus the remainder of labels before
        for key in keys[:-1]:  # every label keeps an example to train on
            if due < 0.5:
                break
            held_out[groups[key]] = True
            due -= len(groups[key])
    if not held_out.any():
        why = f'too few to hold {share:.0%} of them out;'
        if len(of_label) == len(texts) > 1:
            why = (
                'each label only once, so none can be held out; check that '
                'config.data.label_field is the column of the labels, or'
            )
        raise ValueError(
            f'{path} has {len(texts)} examples, {why} give a file to evaluate on: '
            'config.data.eval_file'
        )
    return held_out


def by_column(examples: Sequence[Any], field: str) -> dict[str, list[Any]]:
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

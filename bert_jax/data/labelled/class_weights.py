"""The weights of labels in the training loss, from config.data.class_weights."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bert_jax.data.labelled.labels import as_number

KEY = 'config.data.class_weights'
BALANCED = 'balanced'


def of_classes(setting: str, names: Sequence[str], ids: np.ndarray) -> np.ndarray:
    """float32[labels], the weight of each label if each example (or word) has one label.

    ids: int[examples], the labels of the training examples. 'balanced' gives label c the weight
    examples / (labels x examples of c), as in scikit-learn, so that every label has the same part
    in the loss. Raises ValueError as `named` does.
    """
    if setting != BALANCED or not names:
        return named(setting, names)
    counts = np.bincount(ids, minlength=len(names))
    weights: np.ndarray = len(ids) / (len(names) * np.maximum(counts, 1))
    return weights.astype(np.float32)


def of_label_sets(setting: str, names: Sequence[str], targets: np.ndarray) -> np.ndarray:
    """float32[labels], the weight of the examples that have a label, in the loss of that label.

    targets: int[examples, labels], 1 for the labels of each example. 'balanced' is the number of
    examples without the label divided by that of examples with it, as for PyTorch's pos_weight.
    Raises ValueError as `named` does.
    """
    if setting != BALANCED:
        return named(setting, names)
    having = targets.sum(axis=0)
    weights: np.ndarray = np.maximum(len(targets) - having, 1) / np.maximum(having, 1)
    return weights.astype(np.float32)


def named(setting: str, names: Sequence[str]) -> np.ndarray:
    """float32[labels], the weights in 'NAME=2,OTHER=0.5' or in a JSON object; 1 for other labels.

    Raises ValueError if a name is not one of `names` or occurs twice, and if a weight is not a
    positive number.
    """
    if not names:
        raise ValueError(f'{KEY} is {setting!r}, but this task has no labels; remove it')
    weights = dict.fromkeys(names, 1.0)
    given = set[str]()
    for name, value in _pairs(setting):
        if name not in weights or name in given:
            shown = ', '.join(names[:20]) + ', ...' * (len(names) > 20)
            twice = 'twice' if name in given else 'which is not a label'
            raise ValueError(f'{KEY} has the name {name!r} {twice}; the labels are {shown}')
        given.add(name)
        weights[name] = as_number(str(value))
        if not 0 < weights[name] < math.inf:
            expected = 'expected a positive number'
            raise ValueError(f'{KEY} has the weight {value!r} for {name!r}; {expected}')
    return np.array([*weights.values()], np.float32)


def _pairs(setting: str) -> list[tuple[str, Any]]:
    if setting.lstrip().startswith('{'):
        try:
            return [*json.loads(setting).items()]
        except ValueError as error:
            raise ValueError(f'{KEY} is not JSON ({error}): {setting!r:.60}') from error
    pairs = [part.rpartition('=') for part in setting.split(',')]
    if not all(name and value for name, _, value in pairs):
        raise ValueError(
            f"{KEY} is {setting!r}; expected 'balanced', NAME=WEIGHT,NAME=WEIGHT or a JSON object, "
            '{"NAME": WEIGHT}'
        )
    return [(name.strip(), value) for name, _, value in pairs]

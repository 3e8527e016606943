"""The teacher's layers that a student starts from."""

import dataclasses

import numpy as np
import pytest
import small_tasks

from bert_jax.config import DistillConfig, ModelConfig
from bert_jax.training import teacher

TEACHER = dataclasses.replace(small_tasks.MODEL, num_hidden_layers=3)


@pytest.mark.parametrize(
    ('layers', 'of', 'expected'),
    [
        (6, 12, [0, 2, 4, 7, 9, 11]),  # DistilBERT (Sanh et al., 2019)
        (1, 2, [0]),
        (3, 3, [0, 1, 2]),
        (2, 24, [0, 23]),
        (4, 24, [0, 8, 15, 23]),
    ],
)
def test_layers_are_spread_evenly(layers: int, of: int, expected: list[int]) -> None:
    student, model = (ModelConfig(num_hidden_layers=n) for n in (layers, of))
    assert teacher.chosen_layers(student, model, DistillConfig()) == expected


@pytest.mark.parametrize(
    ('layers', 'given', 'message'),
    [
        (4, (), 'num_hidden_layers is 4, but the teacher has 3'),
        (2, (0.0, 3.0), r'layers is \(0, 3\); expected 2 numbers.* from 0 to 2'),
        (2, (1.0,), r'layers is \(1,\); expected 2 numbers'),
    ],
)
def test_layers_have_to_fit(layers: int, given: tuple[float, ...], message: str) -> None:
    student = dataclasses.replace(TEACHER, num_hidden_layers=layers)
    with pytest.raises(ValueError, match=message):
        teacher.chosen_layers(student, TEACHER, DistillConfig(layers=given))


def test_layers_may_be_shared() -> None:
    """ALBERT has one layer, which it applies several times."""
    shared = dataclasses.replace(TEACHER, share_layers=True)
    assert teacher.chosen_layers(small_tasks.MODEL, shared, DistillConfig()) == [0, 2]
    fact = type('Fact', (), {'part': 'layers'})()
    one, three = np.zeros((1, 5)), np.arange(3.0)[:, None]
    assert teacher._start(fact, one, 2, [0, 2]).shape == (2, 5)
    assert teacher._start(fact, three, 1, [0, 2]).tolist() == [[0.0]]

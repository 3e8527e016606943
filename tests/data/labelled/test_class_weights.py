import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from bert_jax.data.labelled import class_weights

NAMES = ('a', 'b=c', 'd')


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    ids = np.array([0, 0, 0, 1, 2, 2])
    found = class_weights.of_classes('balanced', NAMES, ids)
    expected = compute_class_weight('balanced', classes=np.arange(3), y=ids)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32
    never = class_weights.of_classes('balanced', NAMES, np.array([0, 0]))
    assert np.isfinite(never).all(), 'a label that does not occur'


def test_balanced_weights_of_label_sets() -> None:
    """The ratio of examples without a label to those with it, as the documentation of PyTorch's
    pos_weight recommends."""
    targets = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]])
    found = class_weights.of_label_sets('balanced', NAMES, targets)
    np.testing.assert_allclose(found, [1 / 3, 3, 4])


@pytest.mark.parametrize(
    ('setting', 'expected'),
    [
        ('a=2', [2, 1, 1]),
        ('b=c=0.5, d=3', [1, 0.5, 3]),
        ('{"d": 4, "b=c": 2}', [1, 2, 4]),
    ],
)
def test_named_weights(setting: str, expected: list[float]) -> None:
    ids, targets = np.zeros(2, np.int64), np.zeros((2, 3), np.int64)
    assert class_weights.of_classes(setting, NAMES, ids).tolist() == expected
    assert class_weights.of_label_sets(setting, NAMES, targets).tolist() == expected


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ('balance', "class_weights is 'balance'; expected 'balanced', NAME=WEIGHT"),
        ('a=2,', 'expected .balanced., NAME=WEIGHT'),
        ('x=2', "the name 'x' which is not a label; the labels are a, b=c, d"),
        ('a=1,a=2', "the name 'a' twice"),
        ('a=0', "the weight '0' for 'a'; expected a positive number"),
        ('a=-1', 'expected a positive number'),
        ('a=nan', 'expected a positive number'),
        ('a=inf', 'expected a positive number'),
        ('{"a": "much"}', "the weight 'much' for 'a'"),
        ('{"a": null}', 'the weight None'),
        ('{"a": 1', 'class_weights is not JSON'),
    ],
)
def test_what_is_wrong_is_named(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_weights.of_classes(setting, NAMES, np.zeros(1, np.int64))


def test_a_task_without_labels_has_no_weights() -> None:
    with pytest.raises(ValueError, match='this task has no labels; remove it'):
        class_weights.of_classes('balanced', (), np.zeros(2))

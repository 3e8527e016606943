import numpy as np
import pytest

from bert_jax.data.labelled.glue_tasks import TASKS, glue_average
from bert_jax.data.labelled.labels import label_ids
from bert_jax.finetuning.official_scores import classification, regression

pytestmark = pytest.mark.filterwarnings('error')
ALL = ('accuracy', 'macro_f1', 'matthews')


def test_classification_of_two_classes():
    """There are 4 true and 1 false positives, and 2 true and 3 false negatives."""
    predicted = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0], np.int32)
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 1, 1, 1], np.int32)
    scores = classification(predicted, labels, (*ALL, 'f1'))
    assert list(scores) == [*ALL, 'f1'] and all(type(s) is float for s in scores.values())
    assert scores['accuracy'] == 0.6
    assert scores['f1'] == pytest.approx(8 / 12)
    assert scores['macro_f1'] == pytest.approx((8 / 12 + 4 / 8) / 2)
    assert scores['matthews'] == pytest.approx((4 * 2 - 1 * 3) / np.sqrt(5 * 7 * 3 * 5))


def test_classification_of_three_classes():
    predicted, labels = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 2, 0])
    scores = classification(predicted, labels, ALL)
    assert scores['accuracy'] == pytest.approx(4 / 6)
    assert scores['macro_f1'] == pytest.approx((2 / 4 + 2 / 3 + 4 / 5) / 3)
    # Gorodkin's: (c s - sum p t) / sqrt((s^2 - sum p^2) (s^2 - sum t^2))
    assert scores['matthews'] == pytest.approx((4 * 6 - 12) / np.sqrt((36 - 14) * (36 - 12)))
    with pytest.raises(ValueError, match='multiclass'):
        classification(predicted, labels, ['f1'])


@pytest.mark.parametrize('label', [0, 1])
@pytest.mark.parametrize('predicted', [0, 1])
def test_one_class_everywhere_gives_numbers(predicted, label):
    predicted, label = np.full(5, predicted), np.full(5, label)
    scores = classification(predicted, label, (*ALL, 'f1'))
    assert scores['matthews'] == 0
    assert scores['accuracy'] == (predicted[0] == label[0])
    assert scores['f1'] == (predicted[0] == label[0] == 1)


def test_constant_predictions_score_nothing():
    labels = np.array([0, 1, 1, 0, 1])
    assert classification(np.zeros(5, int), labels, ('f1', 'matthews')) == {'f1': 0, 'matthews': 0}
    scores = regression(np.full(5, np.float32(2.3)), labels)
    assert scores['pearson'] == scores['spearman'] == 0
    assert scores['mse'] == pytest.approx((2 * 2.3**2 + 3 * 1.3**2) / 5)
    assert regression(labels, np.full(5, 2.3))['pearson'] == 0
    one = regression(np.array([1.5]), np.array([1.0]))
    assert one == {'pearson': 0, 'spearman': 0, 'mse': 0.25}


def test_regression():
    labels = np.array([0, 1, 2, 3, 4], np.float32)
    scores = regression(labels**3, labels)
    assert scores['spearman'] == pytest.approx(1)
    assert scores['pearson'] == pytest.approx(np.corrcoef(labels**3, labels)[0, 1])
    assert scores['mse'] == pytest.approx(np.mean((labels**3 - labels) ** 2))
    assert all(type(score) is float for score in scores.values())
    assert regression(-labels, labels)['pearson'] == pytest.approx(-1)


def test_predictions_that_are_hardly_more_than_constant():
    labels = np.array([0.0, 1, 2, 3])
    predicted = np.float32(2.5) + np.float32(2.5e-7) * labels.astype(np.float32)
    assert len(set(predicted)) > 1
    assert 0.8 < regression(predicted, labels)['pearson'] <= 1


def test_what_can_not_be_scored_is_named():
    with pytest.raises(ValueError, match=r'predictions of shape \(2,\) and labels of shape \(3,\)'):
        classification(np.zeros(2, int), np.zeros(3, int))
    with pytest.raises(ValueError, match=r'labels of shape \(2, 1\)'):
        regression(np.zeros((2, 1)), np.zeros((2, 1)))
    with pytest.raises(ValueError, match='at least one'):
        classification(np.zeros(0, int), np.zeros(0, int))
    with pytest.raises(ValueError, match='2 of 3 predictions are not finite'):
        regression(np.array([np.nan, np.inf, 1]), np.zeros(3))
    with pytest.raises(ValueError, match='1 of 3 labels are not finite'):
        regression(np.zeros(3), np.array([np.nan, 2, 1]))


def test_main_scores_of_glue():
    scores = {'accuracy': 0.8, 'f1': 0.9, 'matthews': 0.3, 'pearson': 0.7, 'spearman': 0.6}
    found = {name: TASKS[name].main_score(scores) for name in TASKS}
    wanted = dict.fromkeys(TASKS, 0.8) | {'cola': 0.3, 'ax': 0.3}
    assert found == pytest.approx(wanted | {'mrpc': 0.85, 'stsb': 0.65, 'qqp': 0.85})


def test_average_of_glue():
    assert glue_average({'cola': 0.5, 'mnli': 0.8, 'wnli': 0.2, 'ax': 0.1}) == pytest.approx(0.65)


def test_real_labels_against_themselves(shared_data):
    from bert_jax.data.labelled import glue

    for name in ('cola', 'mrpc', 'rte', 'sst2'):
        task = TASKS[name]
        labels = label_ids(glue.read(name, shared_data('glue'), 'dev'), task.labels)
        assert task.main_score(classification(labels, labels, task.metrics)) == 1
        assert task.main_score(classification(1 - labels, labels, task.metrics)) <= 0
        shares = {'cola': 0.691, 'mrpc': 0.684, 'rte': 0.527, 'sst2': 0.509}  # of the commoner one
        common = np.full_like(labels, np.bincount(labels).argmax())
        found = classification(common, labels)['accuracy']
        assert found == pytest.approx(shares[name], abs=1e-3)

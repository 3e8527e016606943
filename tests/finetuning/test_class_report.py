import pathlib

import numpy as np
import pytest
import sklearn.metrics
from etils import epath

from bert_jax.finetuning import class_report
from bert_jax.finetuning.official_scores import entities, label_sets


def drawn(count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(classes)
    truth = random.integers(classes, size=count)
    predicted = np.where(random.random(count) < 0.6, truth, random.integers(classes, size=count))
    return predicted, truth


def names(count: int, length: int = 4) -> list[str]:
    return [f'{i:0{length}}' for i in range(count)]


def test_the_report_of_classes_is_that_of_scikit_learn() -> None:
    predicted, truth = drawn(100, 4)
    truth[truth == 3], predicted[5] = 0, 3  # a class that is only predicted
    report = class_report.of_classes(predicted, truth, names(4))
    expected = sklearn.metrics.precision_recall_fscore_support(
        truth, predicted, labels=range(4), zero_division=0.0
    )
    found = [[*scores.values()] for scores in report['classes'].values()]
    np.testing.assert_allclose(np.transpose(found), expected)
    matrix = sklearn.metrics.confusion_matrix(truth, predicted, labels=range(4))
    assert report['confusion'] == {'labels': names(4), 'counts': matrix.tolist()}


def test_scores_and_report_of_label_sets_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    shares, truth = random.random((50, 3)), (random.random((50, 3)) < 0.4).astype(int)
    predicted, scores = shares > 0.6, label_sets(shares, truth, 0.6)
    for average in ('micro', 'macro'):
        found = sklearn.metrics.f1_score(truth, predicted, average=average)
        assert scores[f'{average}_f1'] == pytest.approx(found)
    micro = [
        function(truth, predicted, average='micro')
        for function in (sklearn.metrics.precision_score, sklearn.metrics.recall_score)
    ]
    assert [scores['micro_precision'], scores['micro_recall']] == pytest.approx(micro)
    assert scores['exact_match'] == sklearn.metrics.accuracy_score(truth, predicted)
    mean = sklearn.metrics.average_precision_score(truth, shares, average='macro')
    assert scores['average_precision'] == pytest.approx(mean)
    report = class_report.of_label_sets(predicted, truth > 0, names(3))
    expected = sklearn.metrics.precision_recall_fscore_support(truth, predicted)
    found = [[*one.values()] for one in report['classes'].values()]
    np.testing.assert_allclose(np.transpose(found), expected)
    nothing = np.zeros((2, 3))
    assert label_sets(nothing, nothing)['micro_f1'] == 0 and 'confusion' not in report


def test_entities_have_the_scores_of_their_types() -> None:
    truth = [['B-A', 'I-A', 'O', 'B-C'], ['O', 'B-A']]
    predicted = [['B-A', 'I-A', 'O', 'B-A'], ['B-D', 'B-A']]
    classes = class_report.of_tags(predicted, truth)['classes']
    assert [*classes] == ['A', 'C', 'D'] and [c['count'] for c in classes.values()] == [2, 1, 0]
    scores = entities(truth, predicted)
    assert {f'f1/{kind}': c['f1'] for kind, c in classes.items()}.items() <= scores.items()
    assert classes['A']['precision'] == pytest.approx(2 / 3) and classes['A']['recall'] == 1


def test_other_tags_have_a_matrix() -> None:
    report = class_report.of_tags([['N', 'V', 'X']], [['N', 'N', 'V']])
    assert report['confusion'] == {
        'labels': ['N', 'V', 'X'],
        'counts': [[1, 1, 0], [0, 0, 1], [0, 0, 0]],
    }


@pytest.mark.parametrize('classes', [2, 12, 13, 40, 300])
@pytest.mark.parametrize('length', [1, 60])
def test_lines_fit_into_a_terminal(classes: int, length: int) -> None:
    report = class_report.of_classes(*drawn(3000, classes), names(classes, length))
    lines = [*class_report.lines(report)]
    assert max(map(len, lines)) <= 80
    (end,) = (i for i, x in enumerate(lines) if 'confusion matrix' in x or 'mistakes' in x)
    table = lines[:end]
    first = 1 if classes <= class_report.MOST_CLASSES else 2  # lines before the classes
    assert len(table) == first + min(classes, class_report.MOST_CLASSES)
    if classes > class_report.MOST_CLASSES:
        lowest = min(report['classes'].values(), key=lambda scores: scores['f1'])['f1']
        assert any(f'{lowest:.4f}' in line for line in table)
        assert f'{class_report.MOST_CLASSES} of {classes} classes' in lines[0]


def test_the_matrix_and_the_mistakes_are_shown() -> None:
    report = class_report.of_classes(np.array([0, 1, 1]), np.array([0, 0, 1]), ['no', 'yes'])
    assert [*class_report.lines(report)] == [
        '  class  precision  recall      f1   count',
        '  no        1.0000  0.5000  0.6667       2',
        '  yes       0.5000  1.0000  0.6667       1',
        '  confusion matrix (a row for each label, a column for each prediction)',
        '         1  2',
        '  1 no   1  1',
        '  2 yes  0  1',
    ]
    many = class_report.of_classes(np.array([1, 1, 2]), np.array([0, 0, 2]), names(40))
    shown = [*class_report.lines(many)]
    assert shown[-2:] == [
        '  the most frequent mistakes (number, label, prediction)',
        '     2  0000 -> 0001',
    ]


def test_the_picture(tmp_path: pathlib.Path) -> None:
    pytest.importorskip('matplotlib')
    report = class_report.of_classes(*drawn(50, 3), ['$a_^$', 'ü', 'c'])
    assert class_report.draw(report, epath.Path(tmp_path))
    assert (tmp_path / 'confusion.png').read_bytes().startswith(b'\x89PNG')
    assert not class_report.draw({'classes': {}}, epath.Path(tmp_path))

"""Official scores, on the host: scikit-learn's and SciPy's, as fractions.

A score that is not defined, such as a correlation with predictions that are all the same, is 0.0.
"""

import collections
import itertools
import re
import warnings
from collections.abc import Sequence

import numpy as np

try:
    import scipy.stats
    import sklearn.metrics
except ModuleNotFoundError as error:
    raise ImportError(f"scores need {error.name}: pip install '.[finetune]'") from error

CLASSIFICATION = ('accuracy', 'f1', 'macro_f1', 'matthews')
TYPED = re.compile('[BIESLU]-.+')
MARKS = frozenset('OBIESLU')


def classification(
    predicted: np.ndarray, labels: np.ndarray, metrics: Sequence[str] = ('accuracy',)
) -> dict[str, float]:
    """Those of CLASSIFICATION that `metrics` names, of class ids int[n] and int[n].

    f1: of class 1, where the classes are 0 and 1. macro_f1: the mean over the classes that occur
    in either. Raises ValueError for an unknown metric, f1 of more than two classes, and arrays
    that are empty or of different lengths.
    """
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    _check(predicted, labels)
    scores = {}
    for metric in metrics:
        if metric == 'accuracy':
            score = sklearn.metrics.accuracy_score(labels, predicted)
        elif metric == 'f1':
            largest = max(predicted.max(), labels.max())
            if largest > 1:
                raise ValueError(f'f1 is of classes 0 and 1, and here is a {largest}; use macro_f1')
            score = sklearn.metrics.f1_score(labels, predicted, zero_division=0.0)
        elif metric == 'macro_f1':
            score = sklearn.metrics.f1_score(labels, predicted, average='macro', zero_division=0.0)
        elif metric == 'matthews':
            with warnings.catch_warnings(action='ignore'):  # of one class: 0.0 is what we want
                score = sklearn.metrics.matthews_corrcoef(labels, predicted)
        else:
            raise ValueError(f'no metric {metric!r}; expected some of {", ".join(CLASSIFICATION)}')
        scores[metric] = float(score)
    return scores


def regression(predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """pearson, spearman and mse of float[n] and float[n]. Raises ValueError for what is not finite
    and arrays that are empty or of different lengths."""
    predicted, labels = np.asarray(predicted, np.float64), np.asarray(labels, np.float64)
    _check(predicted, labels)
    for name, values in (('predictions', predicted), ('labels', labels)):
        if bad := int(np.sum(~np.isfinite(values))):
            raise ValueError(f'{bad} of {len(values)} {name} are not finite')
    mse = sklearn.metrics.mean_squared_error(labels, predicted)
    if not (np.ptp(predicted) and np.ptp(labels)):
        return {'pearson': 0.0, 'spearman': 0.0, 'mse': float(mse)}
    pearson = scipy.stats.pearsonr(predicted, labels).statistic
    spearman = scipy.stats.spearmanr(predicted, labels).statistic
    return {'pearson': float(pearson), 'spearman': float(spearman), 'mse': float(mse)}


def entities(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 of entities, of all and `f1/TYPE`, and the accuracy of words.

    gold, predicted: tags of the words of each sentence, BIO, IOB1, IOBES or BILOU. An entity is
    right where its first word, last word and type are; those of ill-formed tags are conlleval's,
    as in seqeval's default mode. `entities` and `predicted_entities` count them, `ill_formed`
    those predicted that begin with I-, E- or L-, as only IOB1's may. Tags that mark no entities,
    as parts of speech, have an accuracy only. Raises ValueError where the words are not the same.
    """
    if len(gold) != len(predicted):
        raise ValueError(f'{len(predicted)} sentences have predictions, expected {len(gold)}')
    for i, (a, b) in enumerate(zip(gold, predicted, strict=True)):
        if len(a) != len(b):
            raise ValueError(f'sentence {i} has {len(b)} predicted tags, expected {len(a)}')
    words, tags = (list(itertools.chain.from_iterable(s)) for s in (gold, predicted))
    if not words:
        raise ValueError('there are no words to score')
    accuracy = sum(a == b for a, b in zip(words, tags, strict=True)) / len(words)
    if not (any(map(TYPED.fullmatch, words)) or set(words) <= MARKS):
        return {'accuracy': accuracy}
    there, found = ({(i, *e) for i, s in enumerate(x) for e in spans(s)} for x in (gold, predicted))
    all_there, all_found, right = (
        collections.Counter(kind for *_, kind in e) for e in (there, found, there & found)
    )
    total, guessed, hits = all_there.total(), all_found.total(), right.total()
    marks = [predicted[i][start][0] for i, start, _, _ in found]
    return {
        'precision': hits / max(guessed, 1),
        'recall': hits / max(total, 1),
        'f1': 2 * hits / max(total + guessed, 1),
        'accuracy': accuracy,
        'entities': total,
        'predicted_entities': guessed,
        'ill_formed': sum(mark in 'IEL' for mark in marks),
    } | {
        f'f1/{kind}': 2 * right[kind] / (all_there[kind] + all_found[kind])
        for kind in sorted(all_there | all_found)
        if kind
    }


def spans(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """The entities of a sentence: first word, last word and type (empty for bare B and I).

    As conlleval's: a word goes on with an entity if it has I- or E- (or L-) of the same type after
    B- or I-, and begins one with any other tag than O.
    """
    found: list[tuple[int, int, str]] = []
    before = 'O'
    for i, tag in enumerate(tags):
        kind = tag[2:]
        if before[0] in 'BI' and tag[0] in 'IEL' and before[2:] == kind:
            found[-1] = (found[-1][0], i, kind)
        elif tag != 'O':
            found.append((i, i, kind))
        before = tag
    return found


def _check(predicted: np.ndarray, labels: np.ndarray) -> None:
    if predicted.shape != labels.shape or predicted.ndim != 1 or not predicted.size:
        raise ValueError(
            f'predictions of shape {predicted.shape} and labels of shape {labels.shape}; expected '
            'one each of every example, and at least one'
        )

"""Official scores, on the host: scikit-learn's and SciPy's, as fractions.

A score that is not defined, such as a correlation with predictions that are all the same, is 0.0.
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats
import sklearn.metrics

CLASSIFICATION = ('accuracy', 'f1', 'macro_f1', 'matthews')
# GLUE's score of a task is the mean of these (Wang et al. 2018, section 3); `ax` is no task of the
# benchmark's average.
GLUE = {
    'cola': ('matthews',),
    'sst2': ('accuracy',),
    'mrpc': ('accuracy', 'f1'),
    'stsb': ('pearson', 'spearman'),
    'qqp': ('accuracy', 'f1'),
    'mnli': ('accuracy',),
    'qnli': ('accuracy',),
    'rte': ('accuracy',),
    'wnli': ('accuracy',),
    'ax': ('matthews',),
}
MNLI = ('mnli_matched', 'mnli_mismatched')


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


def main_score(task_name: str, scores: Mapping[str, float]) -> float:
    """The one number of a GLUE task: of MRPC and QQP the mean of accuracy and F1, of STS-B the
    mean of Pearson and Spearman, of the others their only score. Raises ValueError for an unknown
    task or a missing score."""
    if task_name not in GLUE:
        raise ValueError(f'no GLUE task {task_name!r}; expected one of {", ".join(GLUE)}')
    missing = [metric for metric in GLUE[task_name] if metric not in scores]
    if missing:
        raise ValueError(f'the scores of {task_name} lack {missing}; they have {sorted(scores)}')
    return float(np.mean([scores[metric] for metric in GLUE[task_name]]))


def glue_average(scores: Mapping[str, float], *, with_wnli: bool = False) -> float:
    """The mean of the tasks' main scores, {task: score}; a task counts once.

    MNLI is 'mnli', or 'mnli_matched' and 'mnli_mismatched', of which the mean counts. WNLI is left
    out unless asked for: its dev set contradicts its training set, and the average in BERT's
    paper (Devlin et al. 2018, section 4.1) is without it. `ax` is never part of it. The average is
    over the tasks that are given: it compares with a published one only where they are the same.
    Raises ValueError where none is given.
    """
    unknown = set(scores) - {*GLUE, *MNLI}
    if unknown or ('mnli' in scores and set(MNLI) & set(scores)):
        raise ValueError(
            f'the tasks {sorted(scores)} have no average; expected some of {", ".join(GLUE)}, or '
            f'for mnli {" and ".join(MNLI)}'
        )
    left_out = {'ax'} if with_wnli else {'ax', 'wnli'}
    tasks = [score for name, score in scores.items() if name not in {*left_out, *MNLI}]
    mnli = [scores[name] for name in MNLI if name in scores]
    tasks += [float(np.mean(mnli))] if mnli else []
    if not tasks:
        raise ValueError(f'none of {sorted(scores)} counts in the average of GLUE')
    return float(np.mean(tasks))


def _check(predicted: np.ndarray, labels: np.ndarray) -> None:
    if predicted.shape != labels.shape or predicted.ndim != 1 or not predicted.size:
        raise ValueError(
            f'predictions of shape {predicted.shape} and labels of shape {labels.shape}; expected '
            'one each of every example, and at least one'
        )

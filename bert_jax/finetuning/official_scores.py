"""Official scores for labels, numbers, entities and translations. Those of labels, numbers and
entities are fractions; they are 0.0 if they are undefined, such as a correlation with constant
predictions."""

import collections
import importlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from bert_jax.data.labelled.tags import mark_entities, scheme


def check_installed(names: Sequence[str] = ('scipy', 'sklearn'), extra: str = 'finetune') -> None:
    """Raises ImportError if a library of scores is missing. extra: the extra that installs it."""
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ImportError(f"scores need {name}: pip install '.[{extra}]'") from error


def classification(
    predicted: np.ndarray, labels: np.ndarray, metrics: Sequence[str] = ('accuracy',)
) -> dict[str, float]:
    """Scores by name. predicted, labels: class ids int[n].

    metrics: some of accuracy, f1 (of class 1, if the classes are 0 and 1), macro_f1 (the mean over
    the classes that occur) and matthews. Raises ValueError for arrays that are empty or of
    different shapes.
    """
    import sklearn.metrics

    _check(predicted, labels)
    functions = {
        'accuracy': sklearn.metrics.accuracy_score,
        'f1': lambda y, x: sklearn.metrics.f1_score(y, x, zero_division=0.0),
        'macro_f1': lambda y, x: sklearn.metrics.f1_score(y, x, average='macro', zero_division=0.0),
        'matthews': sklearn.metrics.matthews_corrcoef,
    }
    with warnings.catch_warnings(action='ignore'):  # scikit-learn warns if there is only one class
        return {metric: float(functions[metric](labels, predicted)) for metric in metrics}


def label_sets(
    probabilities: np.ndarray, truth: np.ndarray, threshold: float = 0.5
) -> dict[str, float]:
    """Scores of examples that may have several labels, by name.

    probabilities: float[n, labels]; labels above the threshold are predicted. truth:
    int[n, labels], 1 for the labels of each example. micro_precision, micro_recall and micro_f1
    count all labels of all examples. macro_f1 is the mean of the F1 of each label that occurs or is
    predicted. exact_match is the share of examples whose predicted labels are all right.
    average_precision, which does not depend on the threshold, is the mean over the labels that
    occur. Raises ValueError for arrays that are empty or of different shapes.
    """
    import sklearn.metrics

    _check(probabilities.ravel(), truth.ravel())
    predicted, right = probabilities > threshold, truth > 0
    true_of, seen_of = right.sum(axis=0), predicted.sum(axis=0)
    both_of = (right & predicted).sum(axis=0)
    both, seen, true = both_of.sum(), seen_of.sum(), true_of.sum()
    occur = true_of + seen_of > 0
    f1_of = 2 * both_of[occur] / (true_of + seen_of)[occur]
    precisions = [
        sklearn.metrics.average_precision_score(right[:, i], probabilities[:, i])
        for i in np.flatnonzero(true_of)
    ]
    scores = {
        'micro_f1': 2 * both / max(seen + true, 1),
        'macro_f1': f1_of.mean() if len(f1_of) else 0.0,
        'micro_precision': both / max(seen, 1),
        'micro_recall': both / max(true, 1),
        'exact_match': (predicted == right).all(axis=1).mean(),
        'average_precision': np.mean(precisions) if precisions else 0.0,
    }
    return {name: float(value) for name, value in scores.items()}


def regression(predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """pearson, spearman and mse of float[n] and float[n]. Raises ValueError for values that are not
    finite, and for arrays that are empty or of different shapes."""
    import scipy.stats

    predicted, labels = np.asarray(predicted, np.float64), np.asarray(labels, np.float64)
    _check(predicted, labels)
    for name, values in (('predictions', predicted), ('labels', labels)):
        if bad := int(np.sum(~np.isfinite(values))):
            raise ValueError(f'{bad} of {len(values)} {name} are not finite')
    scores = {'pearson': 0.0, 'spearman': 0.0, 'mse': np.square(labels - predicted).mean()}
    if np.ptp(predicted) and np.ptp(labels):
        scores['pearson'] = scipy.stats.pearsonr(predicted, labels).statistic
        scores['spearman'] = scipy.stats.spearmanr(predicted, labels).statistic
    return {name: float(score) for name, score in scores.items()}


def entities(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 of entities, F1 of each type as `f1/TYPE`, and accuracy of words.

    gold, predicted: the tags of the words of each sentence, in BIO, IOB1, IOBES or BILOU. (No
    library scores all of these.) A predicted entity is correct if its first word, its last word and
    its type are correct.
    Ill-formed tags are read as conlleval and seqeval's default mode read them. `entities` and
    `predicted_entities` are numbers of entities. `ill_formed` is the number of predicted tags that
    the scheme of `gold` does not allow where they stand. Tags that do not mark entities, such as
    parts of speech, have an accuracy only. Raises ValueError if there are no words, or if the
    numbers of words differ.
    """
    pairs = [pair for s in zip(gold, predicted, strict=True) for pair in zip(*s, strict=True)]
    if not pairs:
        raise ValueError('there are no words to score')
    accuracy = sum(a == b for a, b in pairs) / len(pairs)
    if not mark_entities({tag for tag, _ in pairs}):
        return {'accuracy': accuracy}
    by_type = entities_by_type(gold, predicted)
    right, seen, true = (sum(numbers[i] for numbers in by_type.values()) for i in range(3))
    return {
        'precision': right / max(seen, 1),
        'recall': right / max(true, 1),
        'f1': 2 * right / max(true + seen, 1),
        'accuracy': accuracy,
        'entities': true,
        'predicted_entities': seen,
        'ill_formed': scheme(predicted, scheme(gold).name).ill_formed,
    } | {
        f'f1/{kind}': 2 * right / (seen + true)
        for kind, (right, seen, true) in by_type.items()
        if kind
    }


def entities_by_type(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> dict[str, tuple[int, int, int]]:
    """For each type of entities the numbers of those that are predicted right, of those that are
    predicted, and of those in `gold`. The arguments are those of `entities`."""
    true, seen = ({(i, *e) for i, s in enumerate(x) for e in spans(s)} for x in (gold, predicted))
    right_of, seen_of, true_of = (
        collections.Counter(kind for *_, kind in found) for found in (true & seen, seen, true)
    )
    kinds = sorted(seen_of | true_of)
    return {kind: (right_of[kind], seen_of[kind], true_of[kind]) for kind in kinds}


def spans(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """The entities of a sentence: first word, last word and type, which is '' for B and I alone.

    As in conlleval, I-, E- or L- after B- or I- of the same type continues an entity, and any other
    tag except O begins one.
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


def translations(
    written: Sequence[str], references: Sequence[str], lowercase: bool
) -> tuple[dict[str, float], dict[str, str]]:
    """BLEU (Papineni et al., 2002) and chrF (Popović, 2015) of whole files, from 0 to 100, computed
    by sacreBLEU, and the signatures of both, which say how they were computed.

    lowercase: whether case is ignored.
    """
    from sacrebleu.metrics import BLEU, CHRF

    metrics: dict[str, Any] = {'bleu': BLEU(lowercase=lowercase), 'chrf': CHRF(lowercase=lowercase)}
    found, signatures = dict[str, float](), dict[str, str]()
    for name, metric in metrics.items():
        found[name] = float(metric.corpus_score(list(written), [list(references)]).score)
        signatures[name] = str(metric.get_signature())
    return found, signatures


def _check(predicted: np.ndarray, labels: np.ndarray) -> None:
    if predicted.shape != labels.shape or predicted.ndim != 1 or not predicted.size:
        raise ValueError(
            f'predictions of shape {predicted.shape} and labels of shape {labels.shape}; expected '
            'the same number of both, and at least one'
        )

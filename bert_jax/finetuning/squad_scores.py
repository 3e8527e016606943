"""The official scores of SQuAD 1.1 and 2.0."""

import collections
import re
import string
from collections.abc import Mapping, Sequence

import numpy as np

from bert_jax.config.console import plural

ARTICLES = re.compile(r'\b(a|an|the)\b')
NO_PUNCTUATION = str.maketrans('', '', string.punctuation)


def squad(
    references: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    *,
    version_2: bool,
    null_odds: Mapping[str, float] | None = None,
    best: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """Exact match and F1 in percent, as the official SQuAD evaluations 1.1 and 2.0 compute them.

    references: the texts of the right answers by question id; a question of 2.0 without an answer
    has none. Questions without a prediction are wrong. With `null_odds`, 2.0 adds the scores at the
    best thresholds (see `best_threshold`) of the answers `best` or else `predictions`. Raises
    ValueError if there are no questions.
    """
    if not references:
        raise ValueError('no questions to score')
    unanswered = [name for name, golds in references.items() if not golds]
    if unanswered and not version_2:
        raise ValueError(
            f'{plural(len(unanswered), "question has", "questions have")} no answers (first: '
            f'{unanswered[0]}); only SQuAD 2.0 can score them'
        )
    exact, f1 = _raw(references, predictions, version_2)
    if not version_2:
        return {'exact_match': _percent(exact), 'f1': _percent(f1)}
    has = np.array([bool(golds) for golds in references.values()])
    scores = {}
    for prefix, chosen in (('', has | True), ('HasAns_', has), ('NoAns_', ~has)):
        if chosen.any():
            scores[f'{prefix}exact'] = _percent(exact[chosen])
            scores[f'{prefix}f1'] = _percent(f1[chosen])
            scores[f'{prefix}total'] = float(chosen.sum())
    if null_odds is not None:
        scores |= best_threshold(references, best or predictions, null_odds)
    return scores


def best_threshold(
    references: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    null_odds: Mapping[str, float],
) -> dict[str, float]:
    """The best scores of SQuAD 2.0 over all thresholds, and the thresholds that give them.

    With a threshold, the prediction for a question is "no answer" if its `null_odds` are above the
    threshold. Returns best_exact and best_f1, in percent, and best_exact_thresh and best_f1_thresh.

    predictions: the best answer to each question, also where the model predicts "no answer". If
    these are '' instead, only thresholds below the one in use can be found. As in the official
    evaluation:
    - the threshold is 0 if it is best to predict "no answer" for all questions;
    - of several questions with equal odds, some may get an answer and others not;
    - a question without odds gets no answer.
    """
    scores = dict(zip(('exact', 'f1'), _raw(references, predictions, True), strict=True))
    index = {name: i for i, name in enumerate(references)}
    by_odds = sorted(null_odds, key=lambda name: null_odds[name])
    known = [name for name in by_odds if name in predictions and name in index]
    order = np.array([index[name] for name in known], np.int64)
    has = np.array([bool(golds) for golds in references.values()])
    answered = np.array([bool(predictions.get(name)) for name in references])
    found = {}
    for name, score in scores.items():
        gains = np.where(has, score, -1.0 * answered)[order]
        totals = np.cumsum([float((~has).sum()), *gains])
        most = int(totals.argmax())
        found[f'best_{name}'] = 100.0 * float(totals[most]) / len(references)
        found[f'best_{name}_thresh'] = float(null_odds[known[most - 1]]) if most else 0.0
    return found


def normalized(answer: str) -> str:
    """Lower case, without ASCII punctuation and articles, and with single spaces."""
    return ' '.join(ARTICLES.sub(' ', answer.lower().translate(NO_PUNCTUATION)).split())


def _raw(
    references: Mapping[str, Sequence[str]], predictions: Mapping[str, str], version_2: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Exact match and F1 of each question with its nearest answer: 0 to 1, float64[questions]."""
    exact, f1 = np.zeros((2, len(references)))
    for i, (name, answers) in enumerate(references.items()):
        if name not in predictions:
            continue
        predicted = normalized(predictions[name])
        golds = [normalized(answer) for answer in answers]
        if version_2:
            golds = [gold for gold in golds if gold] or ['']
        exact[i] = predicted in golds
        f1[i] = max(_f1(predicted, gold, version_2) for gold in golds)
    return exact, f1


def _f1(predicted: str, gold: str, version_2: bool) -> float:
    """The F1 of two answers. If both are empty, it is 1 in SQuAD 2.0 and 0 in 1.1."""
    if version_2 and not (predicted and gold):
        return float(predicted == gold)
    ours, theirs = predicted.split(), gold.split()
    same = (collections.Counter(ours) & collections.Counter(theirs)).total()
    if not same:
        return 0.0
    precision, recall = same / len(ours), same / len(theirs)
    return 2 * precision * recall / (precision + recall)


def _percent(values: np.ndarray) -> float:
    return 100.0 * float(values.sum()) / len(values)

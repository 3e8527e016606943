"""Answers to questions from the logits of windows, and files of answers."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from bert_jax.config import EvalConfig
from bert_jax.data.labelled.squad import Question
from bert_jax.data.labelled.squad_windows import QuestionWindows

# Spans that are kept in a window for each of the n_best answers. Several may have the same text.
SPANS_PER_ANSWER = 4
OFFICIAL = ('text', 'probability', 'start_logit', 'end_logit')  # keys of nbest_predictions.json
SPAN = np.dtype([('first', 'i4'), ('last', 'i4'), ('start', 'f8'), ('end', 'f8')])


class Answers(NamedTuple):
    """Answers by question id. The answer '' means that the question has no answer.

    nbest: the best answers first, with text, probability, start_logit, end_logit, start and end.
    The text is the characters from start to end - 1 of the context; for '', both are None.
    null_odds: the score of '' minus the score of the best other answer; {} for SQuAD 1.1. best: the
    best answers other than ''.
    """

    predictions: dict[str, str]
    nbest: dict[str, list[dict[str, Any]]]
    null_odds: dict[str, float]
    best: dict[str, str]


class _Candidate(NamedTuple):
    """An answer: the characters start to end - 1 of the context. The text '' stands for no answer
    and has no place."""

    text: str
    start_logit: float
    end_logit: float
    start: int | None = None
    end: int | None = None

    @property
    def score(self) -> float:
        return self.start_logit + self.end_logit


def decode(
    questions: Sequence[Question],
    windows: QuestionWindows,
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    config: EvalConfig,
    *,
    no_answer: bool,
) -> Answers:
    """The best answers to each question, by `n_best`, `max_answer_length` and `null_threshold`.

    Answers are the texts of the spans of at most `max_answer_length` tokens with the largest sums
    of logits, over all windows of the question. start_logits, end_logits: float[windows, length],
    padded at the end of each row. no_answer: whether a question may have no answer, as in SQuAD
    2.0. If so, '' is a candidate too; its score is the lowest one of all windows. It is the
    prediction if this score is more than `null_threshold` above that of the best span. Raises
    ValueError for logits that are not finite and for questions without windows.
    """
    used = np.arange(start_logits.shape[1]) < windows.lengths[:, None]
    for name, logits in (('start_logits', start_logits), ('end_logits', end_logits)):
        bad = np.flatnonzero((~np.isfinite(logits) & used).any(1))
        if len(bad):
            raise ValueError(f'{name} of {len(bad)} windows are not finite (first: {bad[0]})')
    bounds = np.searchsorted(windows.question, np.arange(len(questions) + 1))
    answers = Answers({}, {}, {}, {})
    for i, question in enumerate(questions):
        members = range(bounds[i], bounds[i + 1])
        if not members:
            raise ValueError(f'{question.where} has no windows; make them with training=False')
        spans = [_spans(windows, w, start_logits[w], end_logits[w], config) for w in members]
        best = _candidates(question, windows, i, np.concatenate(spans))[: config.n_best]
        answers.best[question.id] = best[0].text if best else ''
        answers.predictions[question.id] = answers.best[question.id]
        if no_answer:
            at = [(w, windows.no_answer[w]) for w in members]
            nulls = [_Candidate('', float(start_logits[p]), float(end_logits[p])) for p in at]
            null = min(nulls, key=lambda candidate: candidate.score)
            odds = null.score - best[0].score if best else np.finfo(np.float32).max.item()
            answers.null_odds[question.id] = odds
            if odds > config.null_threshold:
                answers.predictions[question.id] = ''
            best = sorted([*best, null], key=lambda candidate: -candidate.score)
        answers.nbest[question.id] = _with_probabilities(best or [_Candidate('', 0.0, 0.0)])
    return answers


def write(answers: Answers, directory: epath.PathLike) -> None:
    """Writes predictions.json, nbest_predictions.json and, for SQuAD 2.0, null_odds.json, in the
    formats of the official evaluation and google-research/bert."""
    directory = epath.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    nbest = {
        name: [{key: found[key] for key in OFFICIAL} for found in best]
        for name, best in answers.nbest.items()
    }
    files = {
        'predictions.json': answers.predictions,
        'nbest_predictions.json': nbest,
        'null_odds.json': answers.null_odds,
    }
    for name, content in files.items():
        if content:
            (directory / name).write_text(json.dumps(content, indent=4) + '\n')


def _spans(
    windows: QuestionWindows, w: int, starts: np.ndarray, ends: np.ndarray, config: EvalConfig
) -> np.ndarray:
    """The best spans of window w, unordered: SPAN[at most SPANS_PER_ANSWER * n_best].

    Tokens are given by their numbers in the context. starts, ends: float[length], the logits of the
    row.
    """
    shift = int(windows.shift[w])
    begin, stop, end = int(windows.best_begin[w]), int(windows.best_end[w]), int(windows.end[w])
    longest, most = config.max_answer_length, SPANS_PER_ANSWER * config.n_best
    start = starts[shift + begin : shift + stop].astype(np.float64)
    padded = np.full(end - begin + longest - 1, -np.inf)
    padded[: end - begin] = ends[shift + begin : shift + end]
    if not len(start):
        return np.zeros(0, SPAN)
    # sums: [first token, length - 1]
    sums = start[:, None] + np.lib.stride_tricks.sliding_window_view(padded, longest)[: len(start)]
    flat = sums.ravel()
    kept = np.argpartition(-flat, most)[:most] if len(flat) > most else np.arange(len(flat))
    kept = kept[np.isfinite(flat[kept])]
    first, extra = np.divmod(kept, longest)
    spans = np.zeros(len(kept), SPAN)
    spans['first'], spans['last'] = begin + first, begin + first + extra
    spans['start'], spans['end'] = start[first], padded[first + extra]
    return spans


def _candidates(
    question: Question, windows: QuestionWindows, index: int, spans: np.ndarray
) -> list[_Candidate]:
    """The distinct texts of the spans, best first. If scores are equal, the earlier span comes
    first, then the shorter. index: the index of the question in `windows`."""
    tokens, offset = windows.contexts, windows.contexts.begin[windows.context[index]]
    candidates: dict[str, _Candidate] = {}
    order = np.lexsort((spans['last'], spans['first'], -spans['start'] - spans['end']))
    for first, last, start, end in spans[order].tolist():
        place = int(tokens.starts[offset + first])
        text = question.context[place : tokens.ends[offset + last]]
        place += len(text) - len(text.lstrip())
        if text := text.strip():
            candidates.setdefault(text, _Candidate(text, start, end, place, place + len(text)))
    return list(candidates.values())


def _with_probabilities(candidates: Sequence[_Candidate]) -> list[dict[str, Any]]:
    scores = np.array([candidate.score for candidate in candidates])
    exponentials = np.exp(scores - scores.max())
    probabilities = (exponentials / exponentials.sum()).tolist()
    return [
        # The first two keys are named so that they come first in the file.
        {'text': candidate.text, 'probability': probability} | candidate._asdict()
        for candidate, probability in zip(candidates, probabilities, strict=True)
    ]

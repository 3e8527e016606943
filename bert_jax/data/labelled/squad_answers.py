"""From logits of windows to answers, and their files."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from bert_jax.config import EvalConfig
from bert_jax.data.labelled.squad import Question
from bert_jax.data.labelled.squad_windows import QuestionWindows

SPARE = 4  # spans kept of a window for each that is wanted, as several may have the same text


class Answers(NamedTuple):
    """All by a question's id. best: the best that is not empty, also where `predictions` has ''."""

    predictions: dict[str, str]
    nbest: dict[str, list[dict[str, Any]]]  # text, probability, start_logit, end_logit; best first
    null_odds: dict[str, float]  # score of no answer less that of the best one; {} for 1.1
    best: dict[str, str]


class _Span(NamedTuple):
    text: str
    start_logit: float
    end_logit: float

    @property
    def score(self) -> float:
        return self.start_logit + self.end_logit


def decode(
    questions: Sequence[Question],
    windows: QuestionWindows,
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    limits: EvalConfig,
    *,
    no_answer: bool,
) -> Answers:
    """The spans of at most `max_answer_length` tokens with the largest sums of logits, of all
    windows of a question, each text once, as it stands in the context.

    start_logits, end_logits: float[windows, length], a row of each window, padded at its end. For
    2.0 no answer is one of the n best too; it is the prediction where its score, the least of all
    windows, is more than `null_threshold` above that of the best span. Raises ValueError for
    logits of other shapes, or that are not finite, and for questions without windows.
    """
    starts, ends = (
        _checked(name, logits, windows)
        for name, logits in (('start_logits', start_logits), ('end_logits', end_logits))
    )
    bounds = np.searchsorted(windows.question, np.arange(len(questions) + 1))
    answers = Answers({}, {}, {}, {})
    for i, question in enumerate(questions):
        members = range(bounds[i], bounds[i + 1])
        if not members:
            raise ValueError(f'{question.where} has no windows; make them with training=False')
        spans = _spans(question, windows, members, starts, ends, limits)
        answers.best[question.id] = spans[0].text if spans else ''
        answers.predictions[question.id] = answers.best[question.id]
        if no_answer:
            null = min(
                (_Span('', float(starts[w, 0]), float(ends[w, 0])) for w in members),
                key=lambda span: span.score,
            )
            odds = null.score - spans[0].score if spans else np.finfo(np.float32).max.item()
            answers.null_odds[question.id] = odds
            if odds > limits.null_threshold:
                answers.predictions[question.id] = ''
            spans = sorted([*spans, null], key=lambda span: -span.score)
        answers.nbest[question.id] = _with_probabilities(spans or [_Span('', 0.0, 0.0)])
    return answers


def write(answers: Answers, directory: epath.PathLike) -> None:
    """predictions.json, nbest_predictions.json and, for 2.0, null_odds.json, as the official
    evaluation and google-research/bert have them."""
    directory = epath.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    files = {
        'predictions.json': answers.predictions,
        'nbest_predictions.json': answers.nbest,
        'null_odds.json': answers.null_odds,
    }
    for name, content in files.items():
        if content:
            (directory / name).write_text(json.dumps(content, indent=4) + '\n')


def _checked(name: str, logits: np.ndarray, windows: QuestionWindows) -> np.ndarray:
    logits = np.asarray(logits)
    longest = int(windows.lengths.max(initial=0))
    if logits.ndim != 2 or len(logits) != len(windows) or logits.shape[1] < longest:
        raise ValueError(
            f'{name} have shape {logits.shape}; expected ({len(windows)}, {longest} or more)'
        )
    used = np.arange(logits.shape[1]) < windows.lengths[:, None]
    bad = np.flatnonzero((~np.isfinite(logits) & used).any(1))
    if len(bad):
        raise ValueError(f'{name} of {len(bad)} windows are not finite (first: window {bad[0]})')
    return logits


def _spans(
    question: Question,
    windows: QuestionWindows,
    members: range,
    starts: np.ndarray,
    ends: np.ndarray,
    limits: EvalConfig,
) -> list[_Span]:
    """The n best of distinct texts, best first; of equals the earlier, then the shorter one."""
    n_best, longest = limits.n_best, limits.max_answer_length
    found = np.concatenate(
        [_candidates(windows, w, starts[w], ends[w], SPARE * n_best, longest) for w in members]
    )
    contexts, context = windows.contexts, windows.context[windows.question[members[0]]]
    at = contexts.begin[context]
    spans: dict[str, _Span] = {}
    order = np.lexsort((found['last'], found['first'], -found['start'] - found['end']))
    for first, last, start, end in found[order].tolist():
        text = question.context[contexts.starts[at + first] : contexts.ends[at + last]].strip()
        if text and text not in spans:
            spans[text] = _Span(text, start, end)
            if len(spans) == n_best:
                break
    return list(spans.values())


CANDIDATE = np.dtype([('first', 'i4'), ('last', 'i4'), ('start', 'f8'), ('end', 'f8')])


def _candidates(
    windows: QuestionWindows, w: int, starts: np.ndarray, ends: np.ndarray, most: int, longest: int
) -> np.ndarray:
    """The best spans of a window, in no order: CANDIDATE[n], n <= most; places in the context."""
    begin, end, shift = int(windows.begin[w]), int(windows.end[w]), int(windows.shift[w])
    from_, to = int(windows.best_begin[w]), int(windows.best_end[w])
    place = shift - begin  # of the context's first token, were it in this row
    start = starts[place + from_ : place + to].astype(np.float64)
    padded = np.full(end - from_ + longest - 1, -np.inf)
    padded[: end - from_] = ends[place + from_ : place + end]
    if not len(start):
        return np.zeros(0, CANDIDATE)
    # [first, length - 1]
    sums = start[:, None] + np.lib.stride_tricks.sliding_window_view(padded, longest)[: len(start)]
    flat = sums.ravel()
    kept = np.argpartition(-flat, most)[:most] if len(flat) > most else np.arange(len(flat))
    kept = kept[np.isfinite(flat[kept])]
    first, extra = np.divmod(kept, longest)
    found = np.zeros(len(kept), CANDIDATE)
    found['first'], found['last'] = from_ + first, from_ + first + extra
    found['start'], found['end'] = start[first], padded[first + extra]
    return found


def _with_probabilities(spans: Sequence[_Span]) -> list[dict[str, Any]]:
    scores = np.array([span.score for span in spans])
    shares = np.exp(scores - scores.max())
    return [
        {'text': text, 'probability': share, 'start_logit': start, 'end_logit': end}
        for (text, start, end), share in zip(spans, (shares / shares.sum()).tolist(), strict=True)
    ]

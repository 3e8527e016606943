"""Rows of a question and a window of its context, and the positions of answers in them."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bert_jax.config import DataConfig
from bert_jax.data.labelled.squad import Question
from bert_jax.data.labelled.texts import Row
from bert_jax.data.row_format import BERT, RowFormat
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.specials import Specials
from bert_jax.data.tokenizers.tokenizer import Tokenizer

BATCH = 512  # texts encoded together; few, because their offsets are Python tuples, which are large


class Tokens(NamedTuple):
    """Texts in flat arrays: the tokens of text i are [begin[i], begin[i + 1])."""

    ids: np.ndarray  # int32[tokens]
    starts: np.ndarray  # int32[tokens]: the index of a token's first character in its text
    ends: np.ndarray  # int32[tokens]: one more than the index of its last character
    begin: np.ndarray  # int64[texts + 1]


@dataclasses.dataclass(frozen=True)
class QuestionWindows:
    """An iterable of rows, each with a question and a window of its context.

    The arrays are int32, per question or per window. Tokens are numbered within their context. A
    token may be in several windows, but an answer may begin at it only in the window that has the
    most context around it. So in a window an answer may begin at `best_begin` to `best_end` - 1.
    """

    specials: Specials[int]
    row_format: RowFormat
    queries: Tokens  # of all questions
    contexts: Tokens  # of all distinct contexts
    context: np.ndarray  # [questions]: the index of the question's context
    query_length: np.ndarray  # [questions]: how many tokens of the question are in its rows
    answer_first: np.ndarray  # [questions]: the first token of the answer, -1 if unknown
    answer_last: np.ndarray  # [questions]: the last token of the answer
    question: np.ndarray  # [windows], ascending: the index of the window's question
    begin: np.ndarray  # [windows]: the first token of the window
    end: np.ndarray  # [windows]: one more than the last token
    best_begin: np.ndarray  # [windows]
    best_end: np.ndarray  # [windows]

    def __len__(self) -> int:
        return len(self.question)

    def __iter__(self) -> Iterator[Row]:
        for question, begin, end in zip(self.question, self.begin, self.end, strict=True):
            start = self.queries.begin[question]
            query = self.queries.ids[start : start + self.query_length[question]]
            start = self.contexts.begin[self.context[question]]
            piece = self.contexts.ids[start + begin : start + end]
            yield Row(*self.row_format.row([query.tolist(), piece.tolist()], self.specials))

    @property
    def lengths(self) -> np.ndarray:
        """int32[windows]: the number of tokens of each row."""
        return self.row_format.size([self.query_length[self.question], self.end - self.begin])

    @functools.cached_property
    def shift(self) -> np.ndarray:
        """int32[windows]: position in the row minus number in the context, for the same token."""
        _, start = self.row_format.starts([self.query_length[self.question], 0])
        return start - self.begin

    @functools.cached_property
    def no_answer(self) -> np.ndarray:
        """int32[windows]: the position that stands for no answer, the row's pooled token."""
        return self.row_format.pooled(self.lengths) + np.zeros(len(self), np.int32)

    @property
    def has_answer(self) -> np.ndarray:
        """bool[windows]: whether the row has the whole answer."""
        first, last = self.answer_first[self.question], self.answer_last[self.question]
        return (first >= self.begin) & (last < self.end)

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """The positions in each row of the first and the last token of its question's answer;
        `no_answer` in rows that do not have the whole answer."""
        tokens = {'start_positions': self.answer_first, 'end_positions': self.answer_last}
        return {
            name: np.where(self.has_answer, number[self.question] + self.shift, self.no_answer)
            for name, number in tokens.items()
        }


def windows(
    questions: Sequence[Question],
    tokenizer: Tokenizer,
    data: DataConfig,
    *,
    training: bool,
    summary: Summary | None = None,
    row_format: RowFormat = BERT,
) -> QuestionWindows:
    """Rows for each question; the windows of a long context begin `doc_stride` tokens apart.

    The label of a question is its first answer that is in the context, as the fewest tokens that
    cover it. Training leaves out questions without a known answer. `summary` counts these, and
    questions that are cut to `max_query_length` tokens, answers that begin or end inside a token or
    are whole in no window, and questions whose windows do not overlap. Raises ValueError if a row
    has no room for context.
    """
    _check_room(data, row_format)
    summary = summary or Summary()

    def count(name: str, chosen: np.ndarray) -> None:
        """Counts the questions for which `chosen`, bool[questions], is true."""
        for i in np.flatnonzero(chosen).tolist():
            summary.count(name, questions[i].where)

    queries = _encode([q.question for q in questions], tokenizer)
    indices: dict[str, int] = {}
    context = np.array([indices.setdefault(q.context, len(indices)) for q in questions], int)
    contexts = _encode(list(indices), tokenizer)
    query_length, cut = np.diff(queries.begin), data.max_query_length
    summary.count('questions cut to max_query_length', number=int((query_length > cut).sum()))
    query_length = np.minimum(query_length, cut)
    first, last = _answer_tokens(questions, contexts, context, summary)
    count('questions without a known token', _has_no_known_token(queries, tokenizer.specials.unk))
    no_context = _has_no_known_token(contexts, tokenizer.specials.unk)
    count('contexts without a known token', no_context[context])
    lengths = np.diff(contexts.begin)[context]
    rooms = row_format.room(2, data.max_seq_length) - query_length
    strides = np.minimum(data.doc_stride, rooms)
    apart = int(((lengths > rooms) & (data.doc_stride >= rooms)).sum())
    summary.count('questions whose windows do not overlap (doc_stride is too large)', number=apart)
    counts = 1 + -(-np.maximum(lengths - rooms, 0) // strides)  # the windows of each question
    if training:
        unknown = (first < 0) & ~np.array([q.is_impossible for q in questions], bool)
        count('questions without a known answer, left out', unknown)
        counts[unknown] = 0

    question = np.repeat(np.arange(len(questions)), counts)
    number = np.arange(len(question)) - np.repeat(np.cumsum(counts) - counts, counts)
    begin = number * strides[question]
    end = np.minimum(begin + rooms[question], lengths[question])
    best = _best(begin, end, np.flatnonzero(number == 0))
    arrays = (context, query_length, first, last, question, begin, end, *best)
    int32s = (array.astype(np.int32) for array in arrays)
    made = QuestionWindows(tokenizer.specials, row_format, queries, contexts, *int32s)
    in_windows = np.bincount(question[made.has_answer], minlength=len(questions))
    count('answers that are whole in no window', (first >= 0) & (counts > 0) & (in_windows == 0))
    summary.count('windows', number=len(question))
    return made


def _check_room(data: DataConfig, row_format: RowFormat) -> None:
    """Raises ValueError if a row has no room for context."""
    least = data.max_query_length + row_format.num_specials(2) + 1
    if data.max_seq_length < least:
        raise ValueError(
            f'config.data.max_seq_length is {data.max_seq_length}, and max_query_length is '
            f'{data.max_query_length}; expected a max_seq_length of at least {least}: room for the '
            'question, the special tokens and one token of the context'
        )


def _encode(texts: Sequence[str], tokenizer: Tokenizer) -> Tokens:
    ids, spans, sizes = [], [], [0]
    for i in range(0, len(texts), BATCH):
        for numbers, offsets in tokenizer.encode_offsets(texts[i : i + BATCH]):
            ids.append(np.array(numbers, np.int32))
            spans.append(np.array(offsets, np.int32).reshape(-1, 2))
            sizes.append(len(numbers))
    starts, ends = np.concatenate([np.zeros((0, 2), np.int32), *spans]).T
    return Tokens(
        np.concatenate([np.zeros(0, np.int32), *ids]),
        np.ascontiguousarray(starts),
        np.ascontiguousarray(ends),
        np.cumsum(sizes),
    )


def _has_no_known_token(texts: Tokens, unknown: int) -> np.ndarray:
    """bool[texts]: whether a text has no token or unknown tokens alone."""
    known = np.concatenate([[0], np.cumsum(texts.ids != unknown)])
    return np.diff(known[texts.begin]) == 0


def _answer_tokens(
    questions: Sequence[Question], contexts: Tokens, context: np.ndarray, summary: Summary
) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last token of each question's first known answer, int64[questions] each;
    -1 if no answer is known."""
    answer_first, answer_last = np.full((2, len(questions)), -1)
    for i, question in enumerate(questions):
        answer = next((answer for answer in question.answers if answer.start >= 0), None)
        if answer is None:
            continue
        tokens = slice(*contexts.begin[context[i] : context[i] + 2])
        starts, ends = contexts.starts[tokens], contexts.ends[tokens]
        first = int(np.searchsorted(ends, answer.start, 'right'))
        last = int(np.searchsorted(starts, answer.end, 'left')) - 1
        if first > last:
            summary.count('answers without a token', question.where)
            continue
        answer_first[i], answer_last[i] = first, last
        pieces = question.context[starts[first] : ends[last]], question.context[slice(*answer[1:])]
        covered, wanted = (''.join(piece.lower().split()) for piece in pieces)
        if covered != wanted:
            summary.count('answers that begin or end inside a token', question.where)
    return answer_first, answer_last


def _best(
    begin: np.ndarray, end: np.ndarray, first_windows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each window, the range of tokens, [begin, end), that have the most context in it.

    The context of a token in a window is its distance from the nearer end. As in
    google-research/bert, a hundredth of the window's length is added to it, and if two windows are
    equal, the earlier one is chosen. first_windows: the index of each question's first window.
    """
    best_begin, best_end = begin.copy(), end.copy()
    for first, after in itertools.pairwise([*first_windows.tolist(), len(begin)]):
        if after - first < 2:
            continue
        start, stop = begin[first:after, None], end[first:after, None]
        token = np.arange(end[after - 1])
        nearest = np.minimum(token - start, stop - 1 - token)
        winner = np.where(nearest < 0, -1, 100 * nearest + stop - start).argmax(0)
        best_begin[first:after] = np.searchsorted(winner, np.arange(after - first), 'left')
        best_end[first:after] = np.searchsorted(winner, np.arange(after - first), 'right')
    return best_begin, best_end

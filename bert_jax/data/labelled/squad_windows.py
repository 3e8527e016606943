"""Questions and their contexts as windows of tokens, and answers as positions in them."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bert_jax.config import DataConfig
from bert_jax.data.labelled.squad import Question
from bert_jax.data.labelled.texts import Row
from bert_jax.data.row_format import BERT, RowFormat
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.specials import Specials
from bert_jax.data.tokenizers.tokenizer import Tokenizer

BATCH = 512  # texts encoded together: few, because their offsets are large while Python tuples


class Tokens(NamedTuple):
    """Texts in flat arrays: the tokens of text i are [begin[i], begin[i + 1])."""

    ids: np.ndarray  # int32[tokens]
    starts: np.ndarray  # int32[tokens]: the first character in its text
    ends: np.ndarray  # int32[tokens]: the one after the last
    begin: np.ndarray  # int64[texts + 1]


@dataclasses.dataclass(frozen=True)
class QuestionWindows:
    """Rows of a question and a piece of its context; window i is row i.

    The arrays are int32, per question or per window. If several windows have a token, only the one
    with the most context around it may begin an answer there: tokens `best_begin` to `best_end`.
    """

    specials: Specials[int]
    row_format: RowFormat
    queries: Tokens  # of all questions
    contexts: Tokens  # each distinct context once
    context: np.ndarray  # [questions]: the index of its context
    query_length: np.ndarray  # [questions]: the tokens of the question in a row
    answer_first: np.ndarray  # [questions]: the answer's first token in the context, -1 if unknown
    answer_last: np.ndarray  # [questions]: its last token
    question: np.ndarray  # [windows], ascending: the index of its question
    begin: np.ndarray  # [windows]: the first token of the context in the row
    end: np.ndarray  # [windows]: the token of the context after the last
    best_begin: np.ndarray  # [windows]
    best_end: np.ndarray  # [windows]

    def __len__(self) -> int:
        return len(self.question)

    def __getitem__(self, index: int) -> Row:
        question = self.question[index]
        at = self.queries.begin[question]
        query = self.queries.ids[at : at + self.query_length[question]]
        at = self.contexts.begin[self.context[question]]
        piece = self.contexts.ids[at + self.begin[index] : at + self.end[index]]
        return Row(*self.row_format.row([query.tolist(), piece.tolist()], self.specials))

    @property
    def lengths(self) -> np.ndarray:
        """int32[windows]: the number of tokens of each row."""
        return self.row_format.size([self.query_length[self.question], self.end - self.begin])

    @property
    def shift(self) -> np.ndarray:
        """int32[windows]: the position in the row of the context's token 0, if the row had it."""
        _, start = self.row_format.starts([self.query_length[self.question], 0])
        return start - self.begin

    @property
    def no_answer(self) -> np.ndarray:
        """int32[windows]: the position in the row that stands for no answer, its pooled token."""
        return self.row_format.pooled(self.lengths) + np.zeros(len(self), np.int32)

    @property
    def has_answer(self) -> np.ndarray:
        """bool[windows]: whether the row has the whole answer."""
        first, last = self.answer_first[self.question], self.answer_last[self.question]
        return (first >= self.begin) & (last < self.end)

    @property
    def start_positions(self) -> np.ndarray:
        """int32[windows]: the position in the row of the answer's first token, or `no_answer`."""
        position = self.answer_first[self.question] + self.shift
        return np.where(self.has_answer, position, self.no_answer)

    @property
    def end_positions(self) -> np.ndarray:
        """int32[windows]: the position in the row of the answer's last token, or `no_answer`."""
        position = self.answer_last[self.question] + self.shift
        return np.where(self.has_answer, position, self.no_answer)


def windows(
    questions: Sequence[Question],
    tokenizer: Tokenizer,
    data: DataConfig,
    *,
    training: bool,
    summary: Summary | None = None,
    row_format: RowFormat = BERT,
) -> QuestionWindows:
    """Windows over each question's context, `doc_stride` tokens apart if it needs several.

    The label of a question is its first answer that is in the context, as the fewest tokens that
    cover it. Training leaves out questions whose answer is unknown. `summary` counts these,
    questions cut to `max_query_length` tokens, answers that no tokens cover exactly or that no
    window has whole, and questions whose windows don't overlap. Raises ValueError if a row has no
    room for context.
    """
    _check_room(data, row_format)
    summary = summary or Summary()
    queries = _encode([question.question for question in questions], tokenizer)
    indices: dict[str, int] = {}
    context = np.array([indices.setdefault(q.context, len(indices)) for q in questions], np.int32)
    contexts = _encode(list(indices), tokenizer)
    query_length, cut = np.diff(queries.begin), data.max_query_length
    summary.count('questions cut to max_query_length', number=int((query_length > cut).sum()))
    query_length = np.minimum(query_length, cut)
    first, last = _answer_tokens(questions, contexts, context, summary)

    lengths = np.diff(contexts.begin)[context]
    rooms = row_format.room(2, data.max_seq_length) - query_length
    steps = np.minimum(data.doc_stride, rooms)
    apart = int(((lengths > rooms) & (data.doc_stride >= rooms)).sum())
    summary.count('questions whose windows do not overlap (doc_stride is too large)', number=apart)
    counts = 1 + -(-np.maximum(lengths - rooms, 0) // steps)
    if training:
        unknown = (first < 0) & ~np.array([q.is_impossible for q in questions], bool)
        counts[unknown] = 0
        for i in np.flatnonzero(unknown).tolist():
            summary.count('questions without a known answer, left out', questions[i].where)

    question = np.repeat(np.arange(len(questions)), counts)
    number = np.arange(len(question)) - np.repeat(np.cumsum(counts) - counts, counts)
    begin = number * steps[question]
    end = np.minimum(begin + rooms[question], lengths[question])
    best = _best(begin, end, np.flatnonzero(number == 0))
    arrays = (query_length, first, last, question, begin, end, *best)
    made = QuestionWindows(
        tokenizer.specials,
        row_format,
        queries,
        contexts,
        context,
        *(array.astype(np.int32) for array in arrays),
    )
    shown = np.zeros(len(questions), bool)
    shown[question[made.has_answer]] = True
    for i in np.flatnonzero((first >= 0) & (counts > 0) & ~shown).tolist():
        summary.count('answers that are whole in no window', questions[i].where)
    summary.count('windows', number=len(question))
    return made


def _check_room(data: DataConfig, row_format: RowFormat) -> None:
    least = data.max_query_length + row_format.num_specials(2) + 1
    if data.max_seq_length < least or data.doc_stride < 1 or data.max_query_length < 1:
        raise ValueError(
            f'config.data.max_seq_length is {data.max_seq_length}, max_query_length '
            f'{data.max_query_length} and doc_stride {data.doc_stride}; expected 1 or more of '
            f'each, and a max_seq_length of at least {least}: the question, the special tokens and '
            'one token of the context'
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


def _answer_tokens(
    questions: Sequence[Question], contexts: Tokens, context: np.ndarray, summary: Summary
) -> tuple[np.ndarray, np.ndarray]:
    """The first and last token of each question's answer in its context, -1 if none is known:
    int64[questions] both."""
    first, last = np.full((2, len(questions)), -1)
    for i, question in enumerate(questions):
        known = [answer for answer in question.answers if answer.start >= 0]
        if not known:
            continue
        _, begin, end = known[0]
        tokens = slice(contexts.begin[context[i]], contexts.begin[context[i] + 1])
        starts, ends = contexts.starts[tokens], contexts.ends[tokens]
        one = int(np.searchsorted(ends, begin, 'right'))
        other = int(np.searchsorted(starts, end, 'left')) - 1
        if one > other:
            summary.count('answers of characters that no token has', question.where)
            continue
        first[i], last[i] = one, other
        covered = question.context[starts[one] : ends[other]]
        if _letters(covered) != _letters(question.context[begin:end]):
            summary.count('answers that begin or end inside a token', question.where)
    return first, last


def _letters(text: str) -> str:
    return ''.join(text.lower().split())


def _best(begin: np.ndarray, end: np.ndarray, firsts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The range of tokens, [begin, end), for which each window has the most context.

    That is the window in which the token is farthest from the nearer end. A longer window wins by
    a hundredth of a token per token that it is longer, and the earlier window wins a tie, as in
    google-research/bert. firsts: the index of each question's first window.
    """
    best_begin, best_end = begin.copy(), end.copy()
    for one, after in itertools.pairwise([*firsts.tolist(), len(begin)]):
        if after - one < 2:
            continue
        start, stop = begin[one:after, None], end[one:after, None]
        token = np.arange(end[after - 1])
        nearest = np.minimum(token - start, stop - 1 - token)
        winner = np.where(nearest < 0, -1, 100 * nearest + stop - start).argmax(0)
        best_begin[one:after] = np.searchsorted(winner, np.arange(after - one), 'left')
        best_end[one:after] = np.searchsorted(winner, np.arange(after - one), 'right')
    return best_begin, best_end

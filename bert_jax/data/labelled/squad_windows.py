"""Questions and their contexts as windows of tokens, and answers as places in them."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bert_jax.config import DataConfig
from bert_jax.data.labelled.squad import Question
from bert_jax.data.labelled.texts import Row
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer

AT_ONCE = 512  # texts encoded together: few, as their offsets are large while Python's tuples


class Tokens(NamedTuple):
    """Texts one after the other; text i is [begin[i], begin[i + 1])."""

    ids: np.ndarray  # int32[tokens]
    starts: np.ndarray  # int32[tokens]: the first character in its text
    ends: np.ndarray  # int32[tokens]: the one after the last
    begin: np.ndarray  # int64[texts + 1]


@dataclasses.dataclass(frozen=True)
class QuestionWindows:
    """[CLS] question [SEP] piece of the context [SEP]: `len` of them, a texts.Row by place.

    Of the windows that have a token, only the one with most context around it may begin an answer
    there: those tokens are `best_begin` to `best_end`. Places are in tokens, of the context or,
    for the labels, of the row.
    """

    specials: tuple[int, int]  # the ids of [CLS] and [SEP]
    queries: Tokens  # of all questions
    contexts: Tokens  # each distinct one once
    context: np.ndarray  # int32[questions]: which of the contexts
    question: np.ndarray  # int32[windows], ascending: which of the questions
    shift: np.ndarray  # int32[windows]: where the context begins in the row
    begin: np.ndarray  # int32[windows]: the first token of the context ...
    end: np.ndarray  # int32[windows]: ... and the one after the last
    best_begin: np.ndarray  # int32[windows]
    best_end: np.ndarray  # int32[windows]
    start_positions: np.ndarray  # int32[windows]: in the row; 0, of [CLS], where the answer ...
    end_positions: np.ndarray  # int32[windows]: ... is not in the window; its last token

    def __len__(self) -> int:
        return len(self.question)

    @property
    def lengths(self) -> np.ndarray:
        """int32[windows]: the tokens in a row."""
        return self.shift + self.end - self.begin + 1

    def __getitem__(self, place: int) -> Row:
        question, shift = int(self.question[place]), int(self.shift[place])
        at = self.queries.begin[question]
        query = self.queries.ids[at : at + shift - 2].tolist()
        at = self.contexts.begin[self.context[question]]
        piece = self.contexts.ids[at + self.begin[place] : at + self.end[place]].tolist()
        cls, sep = self.specials
        types = [0] * shift + [1] * (len(piece) + 1)
        return Row([cls, *query, sep, *piece, sep], types)


def windows(
    questions: Sequence[Question],
    vocabulary: Tokenizer,
    data: DataConfig,
    *,
    training: bool,
    summary: Summary | None = None,
) -> QuestionWindows:
    """Windows over each question's context, `doc_stride` tokens apart where it is too long for one.

    Labelled is a question's first answer that is in its context, as the fewest tokens that cover
    it. Training leaves out questions whose answer is unknown. `summary` counts these, questions
    cut to `max_query_length` tokens, answers that no tokens give exactly or that are whole in no
    window, and questions whose windows are as far apart as they are long. Raises ValueError
    where no room is left for a context.
    """
    max_seq_length, doc_stride = data.max_seq_length, data.doc_stride
    max_query_length = data.max_query_length
    room = max_seq_length - max_query_length - 3
    if room < 1 or doc_stride < 1 or max_query_length < 1:
        raise ValueError(
            f'config.data.max_seq_length is {max_seq_length}, max_query_length {max_query_length} '
            f'and doc_stride {doc_stride}; expected 1 or more of each, and a max_seq_length of at '
            f'least max_query_length + 4, here {max_query_length + 4}: three special tokens and '
            'some of the context'
        )
    summary = summary or Summary()
    queries = _encode([question.question for question in questions], vocabulary)
    places: dict[str, int] = {}
    context = [places.setdefault(question.context, len(places)) for question in questions]
    contexts = _encode(list(places), vocabulary)
    sizes = np.diff(queries.begin)
    summary.count('questions cut to max_query_length', number=int((sizes > max_query_length).sum()))
    sizes = np.minimum(sizes, max_query_length)
    lengths = np.diff(contexts.begin)[context]

    first, last = _answers(questions, contexts, context, summary)
    rooms = max_seq_length - 3 - sizes
    steps = np.minimum(doc_stride, rooms)
    apart = int(((lengths > rooms) & (doc_stride >= rooms)).sum())
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
    shift = sizes[question] + 2
    best_begin, best_end = _best(begin, end, np.flatnonzero(number == 0))
    inside = (first[question] >= begin) & (last[question] < end)
    found = np.zeros(len(questions), bool)
    found[question[inside]] = True
    for i in np.flatnonzero((first >= 0) & (counts > 0) & ~found).tolist():
        summary.count('answers that are whole in no window', questions[i].where)
    summary.count('windows', number=len(question))
    per_window = (
        *(question, shift, begin, end, best_begin, best_end),
        np.where(inside, first[question] - begin + shift, 0),
        np.where(inside, last[question] - begin + shift, 0),
    )
    return QuestionWindows(
        (vocabulary.cls_id, vocabulary.sep_id),
        queries,
        contexts,
        np.array(context, np.int32),
        *(array.astype(np.int32) for array in per_window),
    )


def _encode(texts: Sequence[str], vocabulary: Tokenizer) -> Tokens:
    ids, spans, sizes = [], [], [0]
    for i in range(0, len(texts), AT_ONCE):
        for numbers, places in vocabulary.encode_offsets(texts[i : i + AT_ONCE]):
            ids.append(np.array(numbers, np.int32))
            spans.append(np.array(places, np.int32).reshape(-1, 2))
            sizes.append(len(numbers))
    starts, ends = np.concatenate([np.zeros((0, 2), np.int32), *spans]).T
    return Tokens(
        np.concatenate([np.zeros(0, np.int32), *ids]),
        np.ascontiguousarray(starts),
        np.ascontiguousarray(ends),
        np.cumsum(sizes),
    )


def _answers(
    questions: Sequence[Question], contexts: Tokens, context: Sequence[int], summary: Summary
) -> tuple[np.ndarray, np.ndarray]:
    """The first and last token of each question's answer in its context, -1 where none is known:
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
        if _letters(question.context[starts[one] : ends[other]]) != _letters(
            question.context[begin:end]
        ):
            summary.count('answers that begin or end inside a token', question.where)
    return first, last


def _letters(text: str) -> str:
    return ''.join(text.lower().split())


def _best(begin: np.ndarray, end: np.ndarray, firsts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From and to which token a window has most context: of all windows that have the token the
    largest distance to its nearer end. A longer window wins by a hundredth of a token for each it
    is longer, an earlier one where they are equal; google-research/bert counts so.

    firsts: the windows that are their question's first. A question's windows take turns.
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

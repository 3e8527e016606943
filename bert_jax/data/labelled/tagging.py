"""Rows of sentences for a model that tags tokens, and tags of words from its outputs."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from bert_jax.data.labelled.sentence import Sentence
from bert_jax.data.labelled.tags import NO_TAG
from bert_jax.data.labelled.texts import Row
from bert_jax.data.row_format import BERT, RowFormat
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class SentenceWindows:
    """Rows of a sentence or a part of one. A word is tagged at its first token, in one of its rows.

    labels: int32[length] per row, the label id at tokens where a word with a tag is tagged, and -1
    at other tokens. words: int32[length] per row, the index in the sentence of the word that is
    tagged at a token, and -1 at other tokens. sentences: int32[rows], the index of each row's
    sentence. names: the names of the labels by id.
    """

    rows: list[Row]
    labels: list[np.ndarray]
    words: list[np.ndarray]
    sentences: np.ndarray
    names: tuple[str, ...]


def windows(
    sentences: Sequence[Sentence],
    tokenizer: Tokenizer,
    names: Sequence[str],
    *,
    max_seq_length: int,
    allow_unknown: bool = False,
    summary: Summary | None = None,
    row_format: RowFormat = BERT,
) -> SentenceWindows:
    """Rows of at most `max_seq_length` tokens; a longer sentence becomes several.

    Each window begins in the middle of the one before. A word is tagged in the window that has the
    most words on both sides of it. `summary` counts what is cut or left out. Raises ValueError
    for a tag that `names` does not have; with allow_unknown that word has no label, and any
    prediction for it is wrong.
    """
    room, summary = row_format.room(1, max_seq_length), summary or Summary()
    # Words are encoded one by one, so that the tokens of each word are known.
    distinct = list(dict.fromkeys(word for sentence in sentences for word in sentence.words))
    tokens_of = dict(zip(distinct, tokenizer.encode_words(distinct), strict=True))
    ids = {name: i for i, name in enumerate(names)}
    dropped = f'words that the tokenizer drops, tagged {_outside(names)}'
    rows, labels, words, owners = [], [], [], []
    unknown = tokenizer.specials.unk
    for index, sentence in enumerate(sentences):
        tokens = [tokens_of[word][:room] for word in sentence.words]
        for text in sentence.words:
            if not tokens_of[text]:
                where = f'{sentence.where} {text!r}'
                summary.count(dropped, where)
            elif len(tokens_of[text]) > room:
                summary.count('words cut to fit', f'{sentence.where} {text[:40]!r}')
        if all(ids_of in ([], [unknown]) for ids_of in tokens):
            summary.count('sentences of unknown words alone', sentence.where)
        sizes = np.array([len(word) for word in tokens], np.int64)
        tag_ids = _label_ids(sentence, ids, allow_unknown, summary)
        spans = _spans(sizes, room)
        if len(spans) > 1:
            summary.count('sentences in several windows', sentence.where)
        for (start, stop), tagged in zip(spans, _tagged_words(spans, len(tokens)), strict=True):
            tagged = tagged[sizes[tagged] > 0]
            if not len(tagged):
                continue
            segment = list(itertools.chain.from_iterable(tokens[start:stop]))
            row = Row(*row_format.row([segment], tokenizer.specials))
            (first,) = row_format.starts([len(segment)])
            positions = first + np.cumsum(sizes[start:stop]) - sizes[start:stop]
            word = np.full(len(row.input_ids), -1, np.int32)
            word[positions[tagged - start]] = tagged
            rows.append(row)
            words.append(word)
            labels.append(np.where(word >= 0, tag_ids[word], -1).astype(np.int32))
            owners.append(index)
    return SentenceWindows(rows, labels, words, np.array(owners, np.int32), tuple(names))


def decode(
    sentences: Sequence[Sentence], windows: SentenceWindows, outputs: Sequence[np.ndarray]
) -> list[list[str]]:
    """A tag for each word of each sentence; O, or _ if there is no O, for words without tokens.

    outputs: label ids for each row, int[length], or longer if the row is padded.
    """
    outside = _outside(windows.names)
    return [
        [outside if i is None else windows.names[i] for i in ids]
        for ids in by_word(sentences, windows, outputs)
    ]


def by_word(
    sentences: Sequence[Sentence], windows: SentenceWindows, outputs: Sequence[np.ndarray]
) -> list[list[Any]]:
    """The output for each word of each sentence; None for words without tokens. outputs: for each
    row an array of [length] values or [length, ...] lists of values, or longer if it is padded."""
    values: list[list[Any]] = [[None] * len(sentence.words) for sentence in sentences]
    for index, words, output in zip(windows.sentences, windows.words, outputs, strict=True):
        for position in np.flatnonzero(words >= 0).tolist():
            values[index][words[position]] = output[position].tolist()
    return values


def _outside(names: Sequence[str]) -> str:
    """The tag of words without tokens."""
    return 'O' if 'O' in names else NO_TAG


def _label_ids(
    sentence: Sentence, ids: dict[str, int], allow_unknown: bool, summary: Summary
) -> np.ndarray:
    """int32[words], -1 for a word without a label."""
    if sentence.tags is None:
        return np.full(len(sentence.words), -1, np.int32)
    for word, tag in zip(sentence.words, sentence.tags, strict=True):
        if tag in ids:
            continue
        where = f'{sentence.where} {word!r}'
        if not allow_unknown:
            raise ValueError(
                f'{where} has the tag {tag!r}; the model has the tags {", ".join(ids)}. Correct '
                'the tag, or train on text that has it'
            )
        summary.count(f'words with the unknown tag {tag!r}, scored as wrong', where)
    return np.array([ids.get(tag, -1) for tag in sentence.tags], np.int32)


def _spans(sizes: np.ndarray, room: int) -> list[tuple[int, int]]:
    """The words of each window, [start, stop). sizes: the number of tokens of each word, at most
    `room`."""
    ends = np.cumsum(sizes)
    spans: list[tuple[int, int]] = []
    start = stop = 0
    while stop < len(sizes):
        before = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, before + room, 'right'))
        if not spans or stop > spans[-1][1]:  # otherwise the window before has all of its words
            spans.append((start, stop))
        start += max((stop - start) // 2, 1)
    return spans


def _tagged_words(spans: list[tuple[int, int]], count: int) -> list[np.ndarray]:
    """The words that each window tags: those that are farther from its ends than in other windows.
    If two windows are equal, the earlier one tags the word."""
    most, owner = np.full(count, -1), np.zeros(count, np.int64)
    for i, (start, stop) in enumerate(spans):
        word = np.arange(start, stop)
        context = np.minimum(word - start, stop - 1 - word)
        better = word[context > most[start:stop]]
        most[better], owner[better] = context[better - start], i
    return [np.flatnonzero(owner == i) for i in range(len(spans))]

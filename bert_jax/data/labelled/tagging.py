"""Sentences of words as rows for a model that tags tokens, and its outputs as tags of words."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from bert_jax.data.labelled.conll import Sentence
from bert_jax.data.labelled.texts import Row
from bert_jax.data.row_format import BERT, RowFormat
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class SentenceWindows:
    """Rows of a sentence or a part of one. The tag of a word stands at the word's first token, in
    one row.

    labels: int32[length] per row, the label id of each token that has a tag, else -1. words:
    int32[length] per row, the index in its sentence of the word whose tag stands at the token,
    else -1. sentences: int32[rows], the index of each row's sentence. names: the labels by id.
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
    stride: int | None = None,
    allow_unknown: bool = False,
    summary: Summary | None = None,
    row_format: RowFormat = BERT,
) -> SentenceWindows:
    """Rows of at most `max_seq_length` tokens; a longer sentence becomes several.

    Each window begins `stride` words after the one before, by default half of its words. A word is
    tagged in the window that has the most words on both sides of it. `summary` counts what the
    rows do not show. Raises ValueError for a tag that `names` lacks; with allow_unknown that word
    has no label, and any prediction for it is wrong.
    """
    room = row_format.room(1, max_seq_length)
    if room < 1 or (stride is not None and stride < 1):
        raise ValueError(
            f'max_seq_length is {max_seq_length} and stride {stride}; expected '
            f'{row_format.num_specials(1) + 1} or more, and 1 or more'
        )
    summary = summary or Summary()
    tokens_of = _tokens(sentences, tokenizer)
    ids = {name: i for i, name in enumerate(names)}
    rows, labels, words, owners = [], [], [], []
    for index, sentence in enumerate(sentences):
        tokens = [tokens_of[word] for word in sentence.words]
        _count(sentence, tokens, room, summary)
        tokens = [some[:room] for some in tokens]
        sizes = np.array([len(some) for some in tokens], np.int64)
        tags = _label_ids(sentence, ids, allow_unknown, summary)
        spans = _spans(sizes, room, stride)
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
            labels.append(np.where(word >= 0, tags[word], -1).astype(np.int32))
            owners.append(index)
    return SentenceWindows(rows, labels, words, np.array(owners, np.int32), tuple(names))


def decode(
    sentences: Sequence[Sentence], windows: SentenceWindows, outputs: Sequence[np.ndarray]
) -> list[list[str]]:
    """A tag for each word of each sentence; O for words without tokens.

    outputs: for each row label ids, int[n]; n is the row's length, or more if it is padded. Raises
    ValueError for other shapes and ids.
    """
    if len(outputs) != len(windows.rows):
        raise ValueError(f'{len(outputs)} outputs for {len(windows.rows)} rows')
    tags = [['O'] * len(sentence.words) for sentence in sentences]
    count = len(windows.names)
    for row, (output, words) in enumerate(zip(outputs, windows.words, strict=True)):
        if output.ndim != 1 or len(output) < len(words):
            raise ValueError(
                f'the output of row {row} has shape {output.shape}; expected ({len(words)},)'
            )
        positions = np.flatnonzero(words >= 0)
        chosen = output[positions]
        if chosen.min() < 0 or chosen.max() >= count:
            raise ValueError(f'row {row} has label ids beyond 0 to {count - 1}: {chosen}')
        sentence = tags[windows.sentences[row]]
        for word, label in zip(words[positions].tolist(), chosen.tolist(), strict=True):
            sentence[word] = windows.names[label]
    return tags


def _tokens(sentences: Sequence[Sentence], tokenizer: Tokenizer) -> dict[str, list[int]]:
    """The tokens of each word. Words are encoded one by one, to know which tokens are whose."""
    distinct = list(dict.fromkeys(word for sentence in sentences for word in sentence.words))
    return dict(zip(distinct, tokenizer.encode_batch(distinct), strict=True))


def _count(sentence: Sentence, tokens: list[list[int]], room: int, summary: Summary) -> None:
    for word, some in zip(sentence.words, tokens, strict=True):
        if not some:
            summary.count('words that the tokenizer drops, tagged O', f'{sentence.where} {word!r}')
        elif len(some) > room:
            summary.count('words cut to fit', f'{sentence.where} {word[:40]!r}')


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
                f'{where} has the tag {tag!r}, which the model does not have; it has '
                f'{", ".join(ids)}. Correct the tag, or train on text that has it'
            )
        summary.count(f'words with the unknown tag {tag!r}, scored as wrong', where)
    return np.array([ids.get(tag, -1) for tag in sentence.tags], np.int32)


def _spans(sizes: np.ndarray, room: int, stride: int | None) -> list[tuple[int, int]]:
    """The words of each window, [start, stop); together they have all words."""
    ends = np.cumsum(sizes)
    spans: list[tuple[int, int]] = []
    start = stop = 0
    while stop < len(sizes):
        before = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, before + room, 'right'))
        if not spans or stop > spans[-1][1]:  # else the window before has all of its words
            spans.append((start, stop))
        start = min(start + (stride or max((stop - start) // 2, 1)), stop)
    return spans


def _tagged_words(spans: list[tuple[int, int]], count: int) -> list[np.ndarray]:
    """The words that each window tags: those that are farthest from an end in it. The earlier
    window wins a tie."""
    best, owner = np.full(count, -1), np.zeros(count, np.int64)
    for i, (start, stop) in enumerate(spans):
        word = np.arange(start, stop)
        context = np.minimum(word - start, stop - 1 - word)
        better = context > best[start:stop]
        best[start:stop] = np.where(better, context, best[start:stop])
        owner[start:stop] = np.where(better, i, owner[start:stop])
    return [np.flatnonzero(owner == i) for i in range(len(spans))]

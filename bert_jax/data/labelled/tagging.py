"""Sentences of words as rows for a model that tags tokens, and its outputs as tags of words."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from bert_jax.data.labelled.conll import Sentence
from bert_jax.data.labelled.texts import Row
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class SentenceWindows:
    """Every word that has pieces has its tag at one token of one row: its first piece.

    rows: [CLS] words [SEP], of one sentence or a part of it. labels: int32[length] for each row,
    -1 where a token has none. words: int32[length] for each row, which word of its sentence has
    its tag here, or -1. sentences: int32[rows], the row's sentence. names: the labels' names.
    """

    rows: list[Row]
    labels: list[np.ndarray]
    words: list[np.ndarray]
    sentences: np.ndarray
    names: list[str]
    summary: Summary

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]


def windows(
    sentences: Sequence[Sentence],
    vocabulary: Tokenizer,
    names: Sequence[str],
    *,
    max_seq_length: int,
    stride: int | None = None,
    allow_unknown: bool = False,
    summary: Summary | None = None,
) -> SentenceWindows:
    """Rows of at most `max_seq_length` tokens; a longer sentence becomes several.

    Each begins `stride` words, by default half of its words, after the one before, and a word has
    its tag where it stands farthest from an end at which text is missing. `summary` counts
    what the rows do not show. Raises ValueError for a tag that `names` lacks; with allow_unknown it
    is no label, and any prediction of it is wrong.
    """
    room = max_seq_length - 2
    if room < 1 or (stride is not None and stride < 1):
        raise ValueError(
            f'max_seq_length is {max_seq_length} and stride {stride}; expected 3 or more, and 1 '
            'or more'
        )
    pieces, summary = _pieces(sentences, vocabulary), summary or Summary()
    ids = {name: i for i, name in enumerate(names)}
    rows, labels, words, places = [], [], [], []
    for place, sentence in enumerate(sentences):
        parts = [pieces[word] for word in sentence.words]
        _count(sentence, parts, room, summary)
        parts = [part[:room] for part in parts]
        sizes = np.array([len(part) for part in parts], np.int64)
        tags = _label_ids(sentence, ids, allow_unknown, summary)
        spans = _spans(sizes, room, stride)
        if len(spans) > 1:
            summary.count('sentences in several windows', sentence.where)
        for span, mine in zip(spans, _shares(spans, len(parts)), strict=True):
            read = mine[sizes[mine] > 0]
            if not len(read):
                continue
            tokens = list(itertools.chain.from_iterable(parts[span[0] : span[1]]))
            rows.append(_row(tokens, vocabulary))
            words.append(np.full(len(tokens) + 2, -1, np.int32))
            begins = 1 + np.cumsum(sizes[span[0] : span[1]]) - sizes[span[0] : span[1]]
            words[-1][begins[read - span[0]]] = read
            labels.append(np.where(words[-1] >= 0, tags[words[-1]], -1).astype(np.int32))
            places.append(place)
    return SentenceWindows(rows, labels, words, np.array(places, np.int32), list(names), summary)


def decode(
    sentences: Sequence[Sentence], windows: SentenceWindows, outputs: Sequence[np.ndarray]
) -> list[list[str]]:
    """A tag for each word of each sentence; O for words without pieces.

    outputs: for each row label ids, int[n], or logits, float[n, labels]; n is the row's length, or
    more where it is padded. Raises ValueError for other shapes.
    """
    if len(outputs) != len(windows.rows):
        raise ValueError(f'{len(outputs)} outputs for {len(windows.rows)} rows')
    tags = [['O'] * len(sentence.words) for sentence in sentences]
    count = len(windows.names)
    for row, output in enumerate(outputs):
        output, words = np.asarray(output), windows.words[row]
        if len(output) < len(words) or (output.ndim == 2 and output.shape[1] != count):
            raise ValueError(
                f'the output of row {row} has shape {output.shape}; expected ({len(words)},) or '
                f'({len(words)}, {count})'
            )
        at = np.flatnonzero(words >= 0)
        chosen = output[at].argmax(-1) if output.ndim == 2 else output[at]
        if chosen.min() < 0 or chosen.max() >= count:
            raise ValueError(f'row {row} has label ids beyond 0 to {count - 1}: {chosen}')
        sentence = tags[windows.sentences[row]]
        for word, label in zip(words[at].tolist(), chosen.tolist(), strict=True):
            sentence[word] = windows.names[label]
    return tags


def _pieces(sentences: Sequence[Sentence], vocabulary: Tokenizer) -> dict[str, list[int]]:
    """Each word by itself, or one could not tell which tokens are whose."""
    distinct = list(dict.fromkeys(word for sentence in sentences for word in sentence.words))
    return dict(zip(distinct, vocabulary.encode_batch(distinct), strict=True))


def _count(sentence: Sentence, parts: list[list[int]], room: int, summary: Summary) -> None:
    for word, part in zip(sentence.words, parts, strict=True):
        if not part:
            summary.count('words that the tokenizer drops, tagged O', f'{sentence.where} {word!r}')
        elif len(part) > room:
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
                f'{where} has the tag {tag!r}, which the model has not: it has {", ".join(ids)}; '
                'correct it, train on text that has it, or allow it, to be scored as wrong'
            )
        summary.count(f'words with the unknown tag {tag!r}, scored as wrong', where)
    return np.array([ids.get(tag, -1) for tag in sentence.tags], np.int32)


def _spans(sizes: np.ndarray, room: int, stride: int | None) -> list[tuple[int, int]]:
    """Which words each window has, start and stop; together all of them."""
    ends = np.cumsum(sizes)
    spans: list[tuple[int, int]] = []
    start = stop = 0
    while stop < len(sizes):
        before = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, before + room, 'right'))
        if not spans or stop > spans[-1][1]:  # else it has nothing that its predecessor has not
            spans.append((start, stop))
        start = min(start + (stride or max((stop - start) // 2, 1)), stop)
    return spans


def _shares(spans: list[tuple[int, int]], count: int) -> list[np.ndarray]:
    """For each window the words that it tags: of those that two have, each has the nearer half."""
    best, owner = np.full(count, -1), np.zeros(count, np.int64)
    for i, (start, stop) in enumerate(spans):
        word = np.arange(start, stop)
        context = np.minimum(word - start, stop - 1 - word)
        better = context > best[start:stop]
        best[start:stop] = np.where(better, context, best[start:stop])
        owner[start:stop] = np.where(better, i, owner[start:stop])
    return [np.flatnonzero(owner == i) for i in range(len(spans))]


def _row(tokens: list[int], vocabulary: Tokenizer) -> Row:
    return Row([vocabulary.cls_id, *tokens, vocabulary.sep_id], [0] * (len(tokens) + 2))

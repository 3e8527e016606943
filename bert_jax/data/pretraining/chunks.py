"""Chunks of whole sentences of a store, one for each pretraining row (numpy only).

As in google-research/bert, consecutive sentences form a chunk until they fill a row. A chunk has
sentences of one document, or continues across documents. So it has at least `budget` tokens (the
last chunk of a document or of the text may have fewer). Each epoch cuts it to the length of a row
at another place. Every sentence belongs to exactly one chunk.
"""

import dataclasses

import numpy as np

from bert_jax.data.store.format import Store

BLOCK = 1 << 20  # sentences that are processed together; this limits the memory


@dataclasses.dataclass(frozen=True)
class Chunks:
    """The chunks of a split, in the order of the text; all arrays are int64.

    start, end [chunks]: the first sentence, and the one after the last. document [chunks]: the
    document of each chunk, or of its first sentence. first_chunk [documents + 1]: the first chunk
    of each document. dropped: the number of documents of a single token, which cannot be split into
    two segments. begin, stop [chunks]: the first token, and the one after the last. separators
    [documents]: the places of the separators between documents, None if chunks do not cross
    documents.

    Separators count as tokens: with them, token t of document d stands at place t + d.
    """

    start: np.ndarray
    end: np.ndarray
    document: np.ndarray
    first_chunk: np.ndarray
    dropped: int
    begin: np.ndarray
    stop: np.ndarray
    separators: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.begin)


def make_chunks(store: Store, budget: int) -> Chunks:
    """The chunks, of at least `budget` tokens each except for the last one of a document."""
    sentences = np.asarray(store.sentences)
    documents = np.asarray(store.documents)
    size = sentences[documents[1:]] - sentences[documents[:-1]]
    starts, owners = [], []
    current, owner = documents[:-1][size > 1], np.flatnonzero(size > 1)
    while len(current):  # once per chunk of the longest document, for all documents together
        starts.append(current)
        owners.append(owner)
        current = np.searchsorted(sentences, sentences[current] + budget)
        inside = current < documents[owner + 1]
        # A single token cannot be split into two segments, so it stays in the chunk before it.
        inside[inside] &= sentences[documents[owner[inside] + 1]] - sentences[current[inside]] > 1
        current, owner = current[inside], owner[inside]
    start = np.concatenate([np.empty(0, np.int64), *starts])
    document = np.concatenate([np.empty(0, np.int64), *owners])
    order = np.argsort(start)
    start, document = start[order], document[order]
    end = np.append(start[1:], 0)[: len(start)]
    last = np.append(document[1:] != document[:-1], True)[: len(start)]
    end[last] = documents[document[last] + 1]
    first_chunk = np.searchsorted(document, np.arange(len(documents)))
    dropped = int((size <= 1).sum())
    return Chunks(start, end, document, first_chunk, dropped, sentences[start], sentences[end])


def make_full_chunks(store: Store, budget: int) -> Chunks:
    """The chunks of the whole text, with a separator after each document."""
    sentences, documents = np.asarray(store.sentences), np.asarray(store.documents)
    count, first, starts = len(sentences) - 1, 0, list[int]()
    while first < count:
        places = _places(sentences, documents, first, min(first + BLOCK, count))
        following, i = np.searchsorted(places, places + budget).tolist(), 0
        is_end = first + len(places) > count
        while i < len(places) - 1 and (is_end or following[i] < len(places)):
            starts.append(first + i)
            i = following[i]
        first = count if is_end else first + i
    start = np.array(starts, np.int64)
    end = np.append(start[1:], count)[: len(start)]
    document = _document(documents, start)
    begin, stop = (sentences[edge] + _document(documents, edge) for edge in (start, end))
    first_chunk = np.searchsorted(document, np.arange(len(documents)))
    separators = sentences[documents[1:]] + np.arange(len(documents) - 1)
    return Chunks(start, end, document, first_chunk, 0, begin, stop, separators)


def _document(documents: np.ndarray, sentence: np.ndarray) -> np.ndarray:
    """The document of each sentence; the number of documents for the end of the text."""
    return np.searchsorted(documents, sentence, 'right') - 1


def _places(sentences: np.ndarray, documents: np.ndarray, first: int, last: int) -> np.ndarray:
    """The place of the first token of the sentences first .. last; separators count as tokens."""
    return sentences[first : last + 1] + _document(documents, np.arange(first, last + 1))

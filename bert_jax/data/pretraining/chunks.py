"""Chunks of whole sentences of a store, one for each pretraining row (numpy only).

As in google-research/bert, sentences of one document are put together until they fill a row. So a
chunk has at least `budget` tokens (the last chunk of a document may have fewer). In each epoch it
is cut to the length of a row in another way. Every sentence belongs to exactly one chunk.
"""

import dataclasses

import numpy as np

from bert_jax.data.store.format import Store


@dataclasses.dataclass(frozen=True)
class Chunks:
    """The chunks of a split, in the order of the text; all arrays are int64.

    start, end [chunks]: the first sentence, and the one after the last. document [chunks]: the
    document of each chunk. first_chunk [documents + 1]: the first chunk of each document. dropped:
    the number of documents of a single token, which cannot be split into two segments.
    """

    start: np.ndarray
    end: np.ndarray
    document: np.ndarray
    first_chunk: np.ndarray
    dropped: int

    def __len__(self) -> int:
        return len(self.start)


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
    return Chunks(start, end, document, first_chunk, int((size <= 1).sum()))

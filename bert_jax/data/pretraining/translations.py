"""Rows of two sentences that are translations of each other.

See Conneau and Lample (2019), section 3.3. Each sentence is a separate sequence with its own
special tokens, its language and positions from 0, as in facebookresearch/XLM. Each token attends to
both sentences. Pairs that do not fit in a row are left out.
"""

import numpy as np
import tensorflow as tf

from bert_jax.data.pretraining.chunks import Chunks
from bert_jax.data.pretraining.segments import Segmenter, Segments
from bert_jax.data.pretraining.stream import Draws, Stream, chunk_of
from bert_jax.data.store.format import Store


def make_pairs(store: Store, room: int) -> Chunks:
    """A chunk for each pair of at most `room` tokens. store: documents of two sentences each."""
    sentences, documents = np.asarray(store.sentences), np.asarray(store.documents)
    fits = np.flatnonzero(np.diff(sentences[documents]) <= room)
    start, end = documents[fits], documents[fits + 1]
    first_chunk = np.searchsorted(fits, np.arange(len(documents)))
    dropped = len(documents) - 1 - len(fits)
    return Chunks(start, end, fits, first_chunk, dropped, sentences[start], sentences[end])


def translations(
    stream: Stream, position: tf.Tensor, draws: Draws
) -> tuple[Segments, dict[str, tf.Tensor]]:
    """The two sentences of the rows at `position` (int64[rows, 1]); there are no labels."""
    _, chunk = chunk_of(stream, position)
    first = tf.gather(stream.chunks.start, chunk)
    edges = tf.gather(stream.sentences, first + tf.range(3, dtype=tf.int64))
    return Segments(edges[:, :2], edges[:, 1:] - edges[:, :2]), {}


TRANSLATIONS = Segmenter(0, translations, make_pairs, 'pairs that do not fit in a row')

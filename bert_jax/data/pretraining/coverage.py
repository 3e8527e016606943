"""An estimate, for the log, of the share of the text that the rows of a stream show."""

import numpy as np
import tensorflow as tf

from bert_jax.data.pretraining import masks
from bert_jax.data.pretraining.chunks import Chunks
from bert_jax.data.pretraining.segments import Segmenter
from bert_jax.data.pretraining.stream import Draws, Stream, in_order
from bert_jax.data.store.format import Store

ROWS = 2048  # the estimate looks at this many chunks, the first ones
EPOCHS = 8  # and at no more than this many epochs
COVERED = 0.95


def describe(
    stream: Stream, segmenter: Segmenter, store: Store, chunks: Chunks, batch_size: int
) -> str:
    """A line with the size of an epoch, and with the share of the text that the rows show."""
    own, shown = _shown(stream, segmenter, store, chunks)
    rows = f'{len(chunks):,} rows of {stream.max_seq_length} tokens'
    if not stream.shuffled:
        text = f'{stream.name}: {rows} show {shown[0]:.0%} of the text'
    elif stream.data.static_copies:
        text = (
            f'{stream.name}: {len(shown)} static copies of {rows} show {shown[-1]:.0%} of the text'
        )
        if shown[-1] < COVERED:
            text += ' and never the rest (config.data.static_copies=0: new rows in every epoch)'
    else:
        text = f'{stream.name}: an epoch of {rows} shows {shown[0]:.0%} of the text'
        epochs = next((i for i, part in enumerate(shown, 1) if part >= COVERED), len(shown))
        if epochs > 1:
            steps = -(-epochs * len(chunks) // batch_size)
            text += f'; {epochs} epochs ({steps:,} steps) show {shown[epochs - 1]:.0%}'
    text += f'; on average a row has {own:.0f} tokens of its own text'
    if chunks.dropped:
        text += f'; {chunks.dropped:,} documents of one token are left out'
    return text


def _shown(
    stream: Stream, segmenter: Segmenter, store: Store, chunks: Chunks
) -> tuple[float, list[float]]:
    """The average number of tokens of its own chunk that a row shows, and the shares of the text
    that the first epoch, the first two epochs, ... show."""
    rows = min(ROWS, len(chunks))
    first = int(store.sentences[chunks.start[0]])
    text = np.zeros(int(store.sentences[chunks.end[rows - 1]]) - first, bool)
    starts, stops = (
        np.asarray(store.sentences[edge[:rows]]) for edge in (chunks.start, chunks.end)
    )
    own, shown = 0, []
    for epoch in range(stream.data.static_copies or EPOCHS if stream.shuffled else 1):
        at = tf.constant(epoch * len(chunks), tf.int64)
        draws = Draws(stream, at, rows, segmenter.columns + masks.columns(stream))
        position = at + tf.range(rows, dtype=tf.int64)[:, None]
        segments, _ = segmenter.draw(in_order(stream), position, draws)
        begin, length = segments.start.numpy(), segments.length.numpy()
        inside = (begin >= starts[:, None]) & (begin + length <= stops[:, None])
        own += int(length[inside].sum())
        for start, size in zip(begin[inside] - first, length[inside], strict=True):
            text[start : start + size] = True
        shown.append(float(text.mean()))
        if not stream.data.static_copies and shown[-1] >= COVERED:
            break
    return own / rows / len(shown), shown

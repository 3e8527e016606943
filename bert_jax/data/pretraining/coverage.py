"""An estimate, for the log, of the share of the text that the rows of a stream show."""

import dataclasses

import numpy as np
import tensorflow as tf

from bert_jax.config.console import plural, wrapped
from bert_jax.data.pretraining.segments import Segmenter
from bert_jax.data.pretraining.stream import Stream

ROWS = 2048  # the estimate looks at this many chunks, the first ones
EPOCHS = 8  # and at no more than this many epochs
COVERED = 0.95


def describe(stream: Stream, segmenter: Segmenter) -> str:
    """Text for the log: the size of an epoch and the share of the text that its rows contain."""
    phase = stream.name.rpartition('/')[2]
    name = f'phase {int(phase) + 1}' if phase.isdecimal() else 'evaluation'
    return wrapped(f'{name:<12} {"; ".join(_parts(stream, segmenter))}', indent=13)


def _parts(stream: Stream, segmenter: Segmenter) -> list[str]:
    length, batch_size = stream.phase.max_seq_length, stream.phase.batch_size
    chunks, copies = stream.chunks, stream.data.static_copies
    if segmenter.continues:
        batches = plural(len(chunks) // batch_size, 'batch', 'batches')
        return [
            f'an epoch has {batches} of {plural(batch_size, "row")} of {length} tokens',
            'each row continues that of the batch before',
        ]
    shown = _shown(stream, segmenter)
    show = shown[-1] if copies else shown[0]
    rows = f'{plural(len(chunks), "row")} of {length} tokens'
    has = f'{plural(copies, "static copy", "static copies")} of' if copies else 'an epoch has'
    parts = [f'{has + " " if stream.shuffled else ""}{rows}, which show {show:.0%} of the text']
    if stream.shuffled and copies and show < COVERED:
        parts.append('the rest is never shown; config.data.static_copies=0 makes new rows')
    elif stream.shuffled and not copies and show < COVERED:
        epochs = next((i for i, part in enumerate(shown, 1) if part >= COVERED), len(shown))
        steps = plural(-(-epochs * len(chunks) // batch_size), 'step')
        parts.append(f'{epochs} epochs ({steps}) show {shown[epochs - 1]:.0%} of it')
    if chunks.dropped:
        parts.append(f'{segmenter.left_out}, left out: {chunks.dropped:,}')
    return parts


def _shown(stream: Stream, segmenter: Segmenter) -> list[float]:
    """The shares of the text that the rows of the first epoch, of the first two epochs, ...
    contain."""
    rows = min(ROWS, stream.num_chunks)
    starts, stops = (np.asarray(x[:rows]) for x in (stream.chunks.begin, stream.chunks.stop))
    first, in_order = int(starts[0]), dataclasses.replace(stream, shuffled=False)
    text = np.zeros(int(stops[-1]) - first, bool)
    shown = []
    for epoch in range(stream.data.static_copies or EPOCHS if stream.shuffled else 1):
        at = tf.constant(epoch * stream.num_chunks, tf.int64)
        draws = segmenter.draws(stream, at, rows)
        position = at + tf.range(rows, dtype=tf.int64)[:, None]
        segments, _ = segmenter.draw(in_order, position, draws)
        begin, length = segments.start.numpy(), segments.length.numpy()
        inside = (begin >= starts[:, None]) & (begin + length <= stops[:, None])
        for start, size in zip(begin[inside] - first, length[inside], strict=True):
            text[start : start + size] = True
        shown.append(float(text.mean()))
        if not stream.data.static_copies and shown[-1] >= COVERED:
            break
    return shown

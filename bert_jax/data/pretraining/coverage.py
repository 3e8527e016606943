"""An estimate, for the log, of the share of the text that the rows of a stream show."""

import dataclasses

import numpy as np
import tensorflow as tf

from bert_jax.config.console import plural, wrapped
from bert_jax.data.pretraining.segments import Segmenter
from bert_jax.data.pretraining.stream import Stream

ROWS = 2048  # the estimate looks at this many chunks, the first ones
COVERED = 0.95


def describe(stream: Stream, segmenter: Segmenter) -> str:
    """Text for the log: the size of an epoch and the share of the text that its rows contain."""
    # The name has the number of the phase and, if there are several languages, the language.
    _, *names = stream.name.split('/')
    phase = f'phase {int(names.pop(0)) + 1}' if stream.shuffled else 'evaluation'
    name = ', '.join([phase, *names])
    return wrapped(f'{name:<12} {"; ".join(_parts(stream, segmenter))}', indent=13)


def _parts(stream: Stream, segmenter: Segmenter) -> list[str]:
    length, batch_size = stream.phase.max_seq_length, stream.phase.batch_size
    chunks = stream.chunks
    if segmenter.continues:
        batches = plural(len(chunks) // batch_size, 'batch', 'batches')
        return [
            f'an epoch has {batches} of {plural(batch_size, "row")} of {length} tokens',
            'each row continues that of the batch before',
        ]
    copies = stream.data.static_copies if stream.shuffled else 0
    shown = _shown(stream, segmenter, copies or 1)
    rows = f'{plural(len(chunks), "row")} of {length} tokens'
    if copies:
        rows = f'{plural(copies, "static copy", "static copies")} of {rows}'
    elif stream.shuffled:
        rows = f'an epoch has {rows}'
    parts = [f'{rows}, which show {shown:.0%} of the text']
    if copies and shown < COVERED:
        parts.append('the rest is never shown; config.data.static_copies=0 makes new rows')
    if chunks.dropped:
        parts.append(f'{segmenter.left_out}, left out: {chunks.dropped:,}')
    return parts


def _shown(stream: Stream, segmenter: Segmenter, epochs: int) -> float:
    """The share of the text of the first ROWS chunks that their rows in these epochs contain."""
    rows = min(ROWS, stream.num_chunks)
    starts, stops = (np.asarray(x[:rows]) for x in (stream.chunks.begin, stream.chunks.stop))
    first = int(starts[0])
    in_order = dataclasses.replace(stream, shuffled=False)  # the chunks in the order of the text
    text = np.zeros(int(stops[-1]) - first, bool)
    for epoch in range(epochs):
        at = tf.constant(epoch * stream.num_chunks, tf.int64)
        draws = segmenter.draws(stream, at, rows)
        position = at + tf.range(rows, dtype=tf.int64)[:, None]
        segments, _ = segmenter.draw(in_order, position, draws)
        begin, length = segments.start.numpy(), segments.length.numpy()
        inside = (begin >= starts[:, None]) & (begin + length <= stops[:, None])
        for start, size in zip(begin[inside] - first, length[inside], strict=True):
            text[start : start + size] = True
    return float(text.mean())

"""Rows for XLNet: pairs of texts, or consecutive rows for a model with memory.

Without memory, the texts of a row are those of BERT's pairs (`pairs`), without their label. With
bi_data, every second row runs backwards.

With memory, the text is divided into lanes of equal length, one for each row of a batch. Row i of
a batch continues row i of the batch before it, `reuse_len` tokens later. It has `reuse_len` tokens,
which the memory holds later, then a first text that continues them, and a second text that
continues the first one or comes from a random place (zihangdai/xlnet, data_utils.py). With bi_data,
every second lane is read from its end to its beginning. At the end of the lanes, the next epoch
begins at their start, a random number of tokens later, with an empty memory.
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from bert_jax.config import ModelConfig
from bert_jax.data.pretraining import permutations
from bert_jax.data.pretraining.chunks import Chunks, make_full_chunks
from bert_jax.data.pretraining.pairs import SENTENCE_PAIRS
from bert_jax.data.pretraining.segments import Segmenter, Segments
from bert_jax.data.pretraining.stream import Draws, Stream
from bert_jax.data.store.format import Store


def segmenter(model: ModelConfig, batch_size: int, training: bool) -> Segmenter:
    """Returns the segmenter of the objective 'plm'. Held-out rows are pairs, because the evaluation
    uses no memory. batch_size: the number of rows of a batch over all hosts."""
    if not (model.mem_len and training):
        draw = functools.partial(_pairs, model)
        return SENTENCE_PAIRS._replace(draw=draw, targets=permutations.targets(0))
    return Segmenter(
        3,
        functools.partial(_rows_of_lanes, model, batch_size),
        functools.partial(_chunks_of_lanes, model.reuse_len, batch_size),
        targets=permutations.targets(model.reuse_len),
        continues=True,
    )


def _pairs(
    model: ModelConfig, stream: Stream, position: tf.Tensor, draws: Draws
) -> tuple[Segments, dict[str, tf.Tensor]]:
    segments, labels = SENTENCE_PAIRS.draw(stream, position, draws)
    labels.clear()  # XLNet does not predict whether the second text is random
    if model.mem_len:
        labels['memory_length'] = tf.zeros_like(position[:, 0], tf.int32)
    if not model.bi_data:
        return segments, labels
    is_reversed = position % 2 == 1
    labels['is_reversed'] = tf.cast(is_reversed[:, 0], tf.int32)
    start, length = (
        tf.where(is_reversed, x[:, ::-1], x) for x in (segments.start, segments.length)
    )
    return Segments(start, length, is_reversed=is_reversed), labels


def _chunks_of_lanes(reuse_len: int, lanes: int, store: Store, room: int) -> Chunks:
    """Returns a chunk for each row of an epoch, in the order of the batches. Only `begin` and
    `stop` have an entry for each row; the other fields are those of the whole text.

    Raises ValueError if the text is too short for a row in each lane.
    """
    text = make_full_chunks(store, room)
    first, stop = (int(text.begin[0]), int(text.stop[-1])) if len(text) else (0, 0)
    lane = (stop - first) // lanes
    steps = (lane - room - reuse_len) // reuse_len + 1
    if steps < 1:
        raise ValueError(
            f'the text of {lane * lanes:,} tokens is divided into {lanes} lanes, one for each row '
            f'of a batch; each of them needs at least {room + reuse_len} tokens. Take more text or '
            'a smaller batch'
        )
    begin = (first + np.arange(lanes) * lane + np.arange(steps)[:, None] * reuse_len).reshape(-1)
    return dataclasses.replace(text, begin=begin, stop=begin + room)


def _rows_of_lanes(
    model: ModelConfig, lanes: int, stream: Stream, position: tf.Tensor, draws: Draws
) -> tuple[Segments, dict[str, tf.Tensor]]:
    """The two segments of the rows at `position` (int64[rows, 1]), and memory_length, int32[rows].

    The first segment has the `reuse_len` tokens and the first text.
    """
    epoch, index = position // stream.num_chunks, position % stream.num_chunks
    step, lane = index // lanes, index % lanes
    begin = tf.gather(stream.chunks.begin, index)
    total = tf.gather(stream.chunks.stop, index) - begin
    # All rows of an epoch are moved by the same random number of tokens.
    of_epoch = dataclasses.replace(stream, name=f'{stream.name}/begin')
    begin += Draws(of_epoch, epoch[0, 0], 1, 1).below(model.reuse_len)
    first = model.reuse_len + 1 + draws.below(total - model.reuse_len - 1)
    second = total - first
    next_begin, is_reversed = begin + first, lane % 2 == 1
    if model.bi_data:
        # The mirror image of the lane: the text of its first row ends where the lane ends.
        lane_begin = tf.gather(stream.chunks.begin, lane)
        last = tf.gather(stream.chunks.stop, stream.num_chunks - lanes + lane) + model.reuse_len
        mirrored = lane_begin + last
        begin = tf.where(is_reversed, mirrored - next_begin, begin)
        next_begin = tf.where(is_reversed, begin - second, next_begin)
    text_begin, text_stop = stream.chunks.begin[0], tf.reduce_max(stream.chunks.stop)
    other = text_begin + draws.below(text_stop - text_begin - second)
    random = draws.chance(stream.data.random_next_prob)
    starts = tf.concat([begin, tf.where(random, other, next_begin)], axis=1)
    segments = Segments(starts, tf.concat([first, second], axis=1))
    known = tf.minimum(step[:, 0] * model.reuse_len, model.mem_len)
    labels = {'memory_length': tf.cast(known, tf.int32)}
    if model.bi_data:
        segments = segments._replace(is_reversed=is_reversed)
        labels['is_reversed'] = tf.cast(is_reversed[:, 0], tf.int32)
    return segments, labels

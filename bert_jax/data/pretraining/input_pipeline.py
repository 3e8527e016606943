"""Pretraining batches. Batch k depends only on the corpus, the configuration, the seed and k."""

import dataclasses
import itertools
import logging
import math
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from bert_jax.batch import HostBatch
from bert_jax.config import Config, Phase
from bert_jax.data.pretraining import coverage, masks
from bert_jax.data.pretraining.objectives import segmenter_of
from bert_jax.data.pretraining.segments import Segmenter, lay_out
from bert_jax.data.pretraining.stream import Draws, Stream, make_stream
from bert_jax.data.row_format import ROW_FORMATS
from bert_jax.data.store.format import check_documents, open_store, read_meta
from bert_jax.data.tokenizers import tokenizer

LOG = logging.getLogger('bert_jax.data.pretraining.input_pipeline')

PREFETCH = 8  # batches


def train_batches(
    directory: pathlib.Path,
    config: Config,
    *,
    start: int,
    stop: int,
    host: int = 0,
    num_hosts: int = 1,
) -> Iterator[HostBatch]:
    """This host's rows of the global batches start .. stop - 1, across `config.train.phases`.

    Each phase has a random stream of its own, which begins at the first step of the phase. Every
    epoch has the chunks in a new order, with new pairs and masks. Raises ValueError, before the
    first batch, if the store or a batch size cannot be used.
    """
    parts, first = [], 0
    for i, phase in enumerate(config.train.phases):
        begin, end = max(start, first) - first, min(stop, first + phase.steps) - first
        if begin < end:
            rows = _rows(directory, config, phase, 'train', f'train/{i}')
            parts.append(_dataset(rows, phase.batch_size, host, num_hosts, begin, end))
        first += phase.steps
    return itertools.chain.from_iterable(part.as_numpy_iterator() for part in parts)


class EvalBatches:
    """The held-out documents, once, with pairs and masks that never change.

    The last batch is padded with rows of weight 0. Each iteration gives the same batches.
    """

    main_score = ''

    def __init__(
        self,
        directory: pathlib.Path,
        config: Config,
        phase: Phase,
        *,
        host: int = 0,
        num_hosts: int = 1,
    ):
        self.batch_size = config.eval.batch_size or phase.batch_size
        rows = _rows(directory, config, phase, 'eval', 'eval')
        batches = math.ceil(rows.stream.num_chunks / self.batch_size)
        self.num_batches = min(batches, config.eval.max_batches or batches)
        self._dataset = _dataset(rows, self.batch_size, host, num_hosts, 0, self.num_batches)

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[HostBatch]:
        return self._dataset.as_numpy_iterator()

    def score(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """There are no scores in addition to the means of the task's sums."""
        return {}


class Rows(NamedTuple):
    """The rows of a stream. has_types: whether batches have token types."""

    stream: Stream
    segmenter: Segmenter
    has_types: bool


def _rows(directory: pathlib.Path, config: Config, phase: Phase, split: str, name: str) -> Rows:
    for kind in ('GPU', 'TPU'):  # leave them to JAX; TensorFlow allows this before its first tensor
        tf.config.set_visible_devices([], kind)
    store, segmenter = open_store(directory, split), segmenter_of(config)
    row_format = ROW_FORMATS[config.model.model_type]
    vocabulary = tokenizer.load(directory, read_meta(directory).lowercase)
    room = row_format.room(segmenter.segments_per_row, phase.max_seq_length)
    chunks = segmenter.chunks(store, room)
    check_documents(split, len(np.unique(chunks.document)), segmenter.min_documents)
    data = config.data
    if split == 'eval':  # the same rows and masks in every run
        data = dataclasses.replace(data, seed=0)
    stream = make_stream(
        store, chunks, vocabulary, data, phase, name, split == 'train', room, row_format
    )
    LOG.info('%s', coverage.describe(stream, segmenter, chunks, phase.batch_size))
    if split == 'train' and (few := masks.too_few_places(stream)):
        LOG.warning('%s: %s', name, few)
    return Rows(stream, segmenter, config.model.has_types)


def make_batch(rows: Rows, first: tf.Tensor, count: int) -> dict[str, tf.Tensor]:
    """Rows first .. first + count - 1 of the stream as a pretraining batch; first is int64[]."""
    stream, segmenter = rows.stream, rows.segmenter
    draws = Draws(stream, first, count, segmenter.columns + masks.columns(stream))
    position = first + tf.range(count, dtype=tf.int64)[:, None]
    weights = tf.ones([count, 1])
    if not stream.shuffled:
        weights = tf.cast(position < stream.num_chunks, tf.float32)
    segments, labels = segmenter.draw(
        stream, position % stream.period if stream.period else position, draws
    )
    row = lay_out(stream, segments)
    batch = masks.masks(stream, row.input_ids, row.is_text, row.words, draws) | labels
    if rows.has_types:
        batch['token_type_ids'] = row.token_type_ids
    batch['attention_mask'] = row.attention_mask
    batch['masked_lm_weights'] *= weights
    batch['example_weights'] = weights[:, 0]
    return batch


def _dataset(
    rows: Rows, batch_size: int, host: int, num_hosts: int, begin: int, end: int
) -> tf.data.Dataset:
    """This host's rows of the batches begin .. end - 1 of a stream. TensorFlow prepares them ahead
    in its own threads."""
    if batch_size % num_hosts:
        raise ValueError(
            f'a batch of {batch_size} sequences does not divide over {num_hosts} hosts'
        )
    count = batch_size // num_hosts
    options = tf.data.Options()
    options.deterministic = True
    # The default optimizations copy the tables.
    options.experimental_optimization.apply_default_optimizations = False

    # AutoGraph has nothing to convert here, but reading the code would take it seconds.
    @tf.autograph.experimental.do_not_convert
    def batch(k: tf.Tensor) -> dict[str, tf.Tensor]:
        return make_batch(rows, k * batch_size + host * count, count)

    return (
        tf.data.Dataset.range(begin, end)
        .map(batch, num_parallel_calls=min(os.cpu_count() or 1, 8))
        .prefetch(PREFETCH)
        .with_options(options)
    )

"""Pretraining batches: batch k is a function of (corpus, config, seed, k) and of nothing else."""

import dataclasses
import itertools
import logging
import math
import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from bert_jax.batch import HostBatch
from bert_jax.config import Config, Phase
from bert_jax.data.pretraining import chunks as chunking
from bert_jax.data.pretraining import masks, pairs
from bert_jax.data.pretraining.stream import Draws, Stream, make_stream
from bert_jax.data.store.format import open_store, read_meta
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
    """This host's rows of global batches start .. stop - 1, across `config.train.phases`.

    Each phase is a stream of its own, from its first step on: its chunks in a new order every
    epoch, with new pairs and masks. Raises ValueError, before the first batch, where the store or a
    batch size can't be used.
    """
    parts, first = [], 0
    for i, phase in enumerate(config.train.phases):
        begin, end = max(start, first) - first, min(stop, first + phase.steps) - first
        if begin < end:
            stream = _stream(directory, config, phase, 'train', f'train/{i}')
            parts.append(_dataset(stream, phase.batch_size, host, num_hosts, begin, end))
        first += phase.steps
    return itertools.chain.from_iterable(part.as_numpy_iterator() for part in parts)


class EvalBatches:
    """The held-out documents once, with pairs and masks that never change; the last batch is padded
    with rows of weight 0. Iterable again and again."""

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
        stream = _stream(directory, config, phase, 'eval', 'eval')
        batches = math.ceil(stream.num_chunks / self.batch_size)
        self.num_batches = min(batches, config.eval.max_batches or batches)
        self._dataset = _dataset(stream, self.batch_size, host, num_hosts, 0, self.num_batches)

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[HostBatch]:
        return self._dataset.as_numpy_iterator()

    def score(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The means of the task's sums say it all."""
        return {}


def _stream(directory: pathlib.Path, config: Config, phase: Phase, split: str, name: str) -> Stream:
    for kind in ('GPU', 'TPU'):  # they are JAX's; to be said before TensorFlow makes any tensor
        tf.config.set_visible_devices([], kind)
    store = open_store(directory, split)
    vocabulary = tokenizer.load(directory, read_meta(directory).lowercase)
    chunks = chunking.make_chunks(store, phase.max_seq_length - 3)
    if not len(chunks):
        raise ValueError(
            f'{directory} has no text in its {split} split; prepare the text with a larger share '
            'held out (config.data.holdout, prepare --holdout), or give more documents'
        )
    data = config.data
    if split == 'eval':  # the same pairs and masks in every run
        data = dataclasses.replace(data, seed=0)
    stream = make_stream(store, chunks, vocabulary, data, phase, name, split == 'train')
    tokens = int(store.sentences[-1] - store.sentences[0])
    displaced = chunking.displaced_tokens(store, chunks, data.random_next_prob)
    LOG.info(
        '%s: %d chunks an epoch, for rows of %d tokens, show about %.0f %% of the text; random '
        'next sentences displace %.0f %%%s, the rest is cut where a row is full; %d documents of '
        'one token left out',
        name,
        len(chunks),
        phase.max_seq_length,
        100 * min(_shown(stream) * len(chunks) / tokens, 1.0),
        100 * displaced / tokens,
        ' (the next epoch shows it)' if data.random_next_prob == 0.5 else '',
        chunks.dropped,
    )
    return stream


def _shown(stream: Stream, rows: int = 4096) -> float:
    """Tokens of its own text that a row shows, on average over the first `rows`."""
    rows = min(rows, stream.num_chunks)
    draws = Draws(stream, tf.constant(0, tf.int64), rows, pairs.COLUMNS + masks.columns(stream))
    pair = pairs.pairs(stream, tf.range(rows, dtype=tf.int64)[:, None], draws)
    own = pair['a_length'] + tf.where(pair['random'], tf.constant(0, tf.int64), pair['b_length'])
    return float(tf.reduce_mean(tf.cast(own, tf.float64)))


def make_batch(stream: Stream, first: tf.Tensor, rows: int) -> dict[str, tf.Tensor]:
    """Rows first .. first + rows - 1 of the stream (int64 scalar) as a pretraining batch."""
    draws = Draws(stream, first, rows, pairs.COLUMNS + masks.columns(stream))
    position = first + tf.range(rows, dtype=tf.int64)[:, None]
    weights = tf.ones([rows, 1])
    if not stream.shuffled:
        weights = tf.cast(position < stream.num_chunks, tf.float32)
    pair = pairs.pairs(stream, position % stream.period if stream.period else position, draws)
    batch = pairs.layout(stream, pair)
    batch |= masks.masks(stream, batch['input_ids'], pair, draws)
    batch['masked_lm_weights'] *= weights
    batch['next_sentence_labels'] = tf.cast(pair['random'][:, 0], tf.int32)
    batch['example_weights'] = weights[:, 0]
    return batch


def _dataset(
    stream: Stream, batch_size: int, host: int, num_hosts: int, begin: int, end: int
) -> tf.data.Dataset:
    """Batches begin .. end - 1 of a stream, this host's rows; made ahead by TensorFlow threads."""
    if batch_size % num_hosts:
        raise ValueError(
            f'a batch of {batch_size} sequences does not divide over {num_hosts} hosts'
        )
    rows = batch_size // num_hosts
    options = tf.data.Options()
    options.deterministic = True
    # The default ones copy the tables.
    options.experimental_optimization.apply_default_optimizations = False

    # Nothing for AutoGraph to convert, which would read all of the code for seconds.
    @tf.autograph.experimental.do_not_convert
    def batch(k: tf.Tensor) -> dict[str, tf.Tensor]:
        return make_batch(stream, k * batch_size + host * rows, rows)

    return (
        tf.data.Dataset.range(begin, end)
        .map(batch, num_parallel_calls=min(os.cpu_count() or 1, 8))
        .prefetch(PREFETCH)
        .with_options(options)
    )

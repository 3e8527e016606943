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
from bert_jax.config.errors import config_error
from bert_jax.data import model_languages
from bert_jax.data.pretraining import coverage, masks, mixture
from bert_jax.data.pretraining.objectives import segmenter_of
from bert_jax.data.pretraining.segments import Segmenter, lay_out
from bert_jax.data.pretraining.stream import Stream, make_stream
from bert_jax.data.row_shapes import ROW_SHAPES, TRANSLATIONS, too_few_places
from bert_jax.data.store.format import GUARD, Store, check_documents, open_parts, read_meta
from bert_jax.data.text import languages
from bert_jax.data.tokenizers import tokenizer

LOG = logging.getLogger('bert_jax.data.pretraining.input_pipeline')

PREFETCH = 8  # batches
SAMPLE = 100_000  # tokens that show how long words are


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
            rows = _rows(directory, config, phase, f'train/{i}')
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
        rows = _rows(directory, config, phase, 'eval')
        batches = math.ceil(sum(rows.weights) / self.batch_size)
        self.num_batches = min(batches, config.eval.max_batches or batches)
        self._dataset = _dataset(rows, self.batch_size, host, num_hosts, 0, self.num_batches)

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[HostBatch]:
        return self._dataset.as_numpy_iterator()

    def score(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """There are no scores in addition to the means of the task's sums."""
        return {}


class Part(NamedTuple):
    """A part of a split: a language, a pair of languages, or all text of a corpus of one
    language."""

    stream: Stream
    segmenter: Segmenter


class Rows(NamedTuple):
    """The rows of a split. weights: the weights of the parts, see `mixture`."""

    parts: list[Part]
    weights: list[int]
    config: Config


def _rows(directory: pathlib.Path, config: Config, phase: Phase, name: str) -> Rows:
    """The rows of a phase. name: the name of the random stream: 'eval', or 'train/0' for the first
    phase of training. Raises ValueError if the corpus does not fit the configuration."""
    for kind in ('GPU', 'TPU'):  # leave them to JAX; TensorFlow allows this before its first tensor
        tf.config.set_visible_devices([], kind)
    split = name.partition('/')[0]
    stores = open_parts(directory, split)
    vocabulary = tokenizer.load(directory, read_meta(directory).lowercase)
    languages.check([*stores], config)
    config = languages.with_names([*stores], config)
    if config.model.mem_len and len(stores) > 1:
        expected = '0, because the rows of several languages alternate and do not continue a text'
        raise config_error('model.mem_len', config.model.mem_len, expected)
    parts = {
        part: _part(store, part, vocabulary, config, phase, name) for part, store in stores.items()
    }
    sizes = {part: rows.stream.num_chunks for part, rows in parts.items()}
    weights = list(sizes.values())
    if split == 'train':
        weights = mixture.weights(languages.row_shares(sizes, config.data))
    return Rows(list(parts.values()), weights, config)


def _part(
    store: Store,
    part: str,
    vocabulary: tokenizer.Tokenizer,
    config: Config,
    phase: Phase,
    name: str,
) -> Part:
    """The rows of a part of the corpus, a language or a pair of languages. part: its name. name:
    see `_rows`."""
    split, data = name.partition('/')[0], config.data
    training = split == 'train'
    if not training:  # the same rows and masks in every run
        data = dataclasses.replace(data, seed=0)
    is_pair = languages.is_pair(part)
    segmenter = segmenter_of(config, is_pair, training)
    shape = TRANSLATIONS if is_pair else ROW_SHAPES[config.objective]
    of_text = languages.of_part(part, data.language)
    row_format = model_languages.row_format(config.model, *of_text)
    room = shape.room(row_format, phase.max_seq_length)
    chunks = segmenter.chunks(store, room)
    documents = len(np.unique(chunks.document))
    check_documents(f'{split}, {part}' if part else split, documents, shape.min_documents)
    name = f'{name}/{part}' if part else name
    stream = make_stream(
        store, chunks, vocabulary, data, phase, row_format, shape, room, name, training
    )
    LOG.info('%s', coverage.describe(stream, segmenter))
    if training:
        for warning in _warnings(stream, store):
            LOG.warning('%s: %s', name, warning)
    return Part(stream, segmenter)


def _warnings(stream: Stream, store: Store) -> Iterator[str]:
    """Yields what is odd about the masks of a stream."""
    rate, places = stream.phase.masked_lm_prob, stream.phase.max_predictions_per_seq
    if few := too_few_places(rate, places, stream.room):
        yield few
    if masks.masks_words(stream.data):
        sample = np.asarray(store.tokens[GUARD : len(store.tokens) - GUARD][:SAMPLE])
        if odd := masks.odd_words(stream.vocabulary, sample):
            yield odd


def make_batch(rows: Rows, first: tf.Tensor, count: int) -> dict[str, tf.Tensor]:
    """Rows first .. first + count - 1 of the split as a pretraining batch; first is int64[]."""
    if len(rows.parts) == 1:
        return _part_batch(rows, rows.parts[0], first, count)
    part, index = mixture.place(first + tf.range(count, dtype=tf.int64), rows.weights)
    firsts = mixture.first_rows(first, rows.weights)
    most = mixture.most_rows(count, rows.weights)
    made = [
        _part_batch(rows, part, *of) for part, *of in zip(rows.parts, firsts, most, strict=True)
    ]
    # A batch has the same shape for every `first`, so a part sometimes makes one row that is not
    # used.
    offsets = tf.constant(np.cumsum([0, *most[:-1]])) - tf.stack(firsts)
    source = index + tf.gather(offsets, part)
    return {name: tf.gather(tf.concat([b[name] for b in made], 0), source) for name in made[0]}


def _part_batch(rows: Rows, part: Part, first: tf.Tensor, count: int) -> dict[str, tf.Tensor]:
    """Rows first .. first + count - 1 of a part."""
    stream, segmenter = part.stream, part.segmenter
    draws = segmenter.draws(stream, first, count)
    position = first + tf.range(count, dtype=tf.int64)[:, None]
    weights = tf.ones([count, 1])
    if not stream.shuffled:
        weights = tf.cast(position < stream.num_chunks, tf.float32)
    segments, labels = segmenter.draw(
        stream, position % stream.period if stream.period else position, draws
    )
    row = lay_out(stream, segments)
    batch = segmenter.targets.draw(stream, row, draws) | labels
    if rows.config.model.has_types:
        batch['token_type_ids'] = row.token_type_ids
    if rows.config.objective == 'mlm+tlm':
        batch['position_ids'] = row.position_ids
        batch['is_translation'] = tf.fill([count], int(stream.shape is TRANSLATIONS))
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

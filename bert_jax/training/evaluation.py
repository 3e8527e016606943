"""Evaluation: every example counts once, and the sums are divided at the end."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from bert_jax.batch import BatchSpec, HostBatch, spec_of
from bert_jax.parallel.sharding import shard_batch
from bert_jax.tasks.task import loss_and_means
from bert_jax.training.train_step import Step

Predictions = dict[str, np.ndarray]
IN_FLIGHT = 2  # batches that the device computes while the host prepares more


def evaluate(
    step: Step,
    params: Any,
    batches: Iterable[HostBatch],
    specs: Mapping[int, BatchSpec],
    frozen: Any = (),
) -> tuple[dict[str, float], Predictions]:
    """Returns means over all examples, and the task's predictions for each example.

    The means include `loss`, and the perplexities that the task names. The predictions are sorted
    by example_ids and padded with zeros to the longest row.

    specs: the arrays of a batch by its length. frozen: see `Step`. Raises ValueError if there are
    no batches.
    """
    totals: dict[str, np.ndarray] = {}
    predictions: list[Predictions] = []
    in_flight: list[Any] = []

    def fetch() -> None:
        sums, predicted = jax.device_get(in_flight.pop(0))
        for name, pair in sums.items():
            totals[name] = totals.get(name, np.zeros(2)) + np.array(pair, np.float64)
        if predicted:
            predictions.append(predicted)

    for batch in batches:
        rows = shard_batch(batch, spec_of(batch, specs), step.mesh)
        in_flight.append(step.evaluate(params, rows, frozen))
        if len(in_flight) > IN_FLIGHT:
            fetch()
    while in_flight:
        fetch()
    if not totals:
        raise ValueError('evaluation has no batches; give more text, or raise config.data.holdout')
    means = loss_and_means(step.task, totals)
    for name, loss in step.task.perplexities.items():
        means[name] = float(np.exp(means[loss]))
    return means, by_example(predictions)


def by_example(batches: list[Predictions]) -> Predictions:
    """One array per prediction with a row per example, without the rows that only fill a batch."""
    if not batches:
        return {}
    ids = np.concatenate([batch['example_ids'] for batch in batches])
    real = np.flatnonzero(np.concatenate([batch['example_weights'] for batch in batches]))
    order = real[np.argsort(ids[real], kind='stable')]
    names = set(batches[0]) - {'example_ids', 'example_weights'}
    return {name: _concatenate([batch[name] for batch in batches])[order] for name in names}


def _concatenate(parts: list[np.ndarray]) -> np.ndarray:
    """The rows of all parts, [batch, ...] or [batch, length, ...], padded to the longest length."""
    if parts[0].ndim == 1:
        return np.concatenate(parts)
    length = max(part.shape[1] for part in parts)
    others = [(0, 0)] * (parts[0].ndim - 2)  # the dimensions after the length are not padded
    padded = [np.pad(part, [(0, 0), (0, length - part.shape[1]), *others]) for part in parts]
    return np.concatenate(padded)

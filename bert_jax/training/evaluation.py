"""The exhaustive evaluation pass: every example once, sums divided at the very end."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from bert_jax.batch import BatchSpec, HostBatch, spec_of
from bert_jax.parallel.sharding import place
from bert_jax.tasks.task import Task, loss_and_means
from bert_jax.training.train_step import EvalStep

Predictions = dict[str, np.ndarray]


def evaluate(
    eval_step: EvalStep,
    params: Any,
    batches: Iterable[HostBatch],
    task: Task,
    specs: Mapping[int, BatchSpec],
    mesh: Mesh,
) -> tuple[dict[str, float], Predictions]:
    """Means over all examples of `batches` (the task's, `loss`, and `mlm_perplexity` where there is
    an `mlm_loss`), and the task's predictions for each example, in order of example_ids.

    specs: by the length of a batch. Predictions along a row are zero where the row was not as long
    as the longest. Raises ValueError where there is no batch.
    """
    totals: dict[str, np.ndarray] = {}
    found: list[Predictions] = []
    waiting: list[Any] = []

    def fetch() -> None:
        sums, predictions = jax.device_get(waiting.pop(0))
        for name, pair in sums.items():
            totals[name] = totals.get(name, np.zeros(2)) + np.array(pair, np.float64)
        if predictions:
            found.append(predictions)

    for batch in batches:
        waiting.append(eval_step(params, place(batch, spec_of(batch, specs), mesh)))
        if len(waiting) > 2:  # fetched late, so that the device always has work
            fetch()
    while waiting:
        fetch()
    if not totals:
        raise ValueError('evaluation has no batches; give more text, or raise config.data.holdout')
    means = loss_and_means(task, totals)
    if 'mlm_loss' in means:
        means['mlm_perplexity'] = float(np.exp(means['mlm_loss']))
    return means, by_example(found)


def by_example(batches: list[Predictions]) -> Predictions:
    """One array per prediction, a row per example; what only filled a batch is left out."""
    if not batches:
        return {}
    ids = np.concatenate([batch['example_ids'] for batch in batches])
    real = np.flatnonzero(np.concatenate([batch['example_weights'] for batch in batches]))
    order = real[np.argsort(ids[real], kind='stable')]
    names = set(batches[0]) - {'example_ids', 'example_weights'}
    return {name: _stacked([batch[name] for batch in batches])[order] for name in names}


def _stacked(parts: list[np.ndarray]) -> np.ndarray:
    if parts[0].ndim == 1:
        return np.concatenate(parts)
    width = max(part.shape[1] for part in parts)
    padded = np.zeros((sum(map(len, parts)), width, *parts[0].shape[2:]), parts[0].dtype)
    first = 0
    for part in parts:
        padded[first : first + len(part), : part.shape[1]] = part
        first += len(part)
    return padded

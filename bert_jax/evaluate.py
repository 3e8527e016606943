"""The exhaustive evaluation pass: every example once, sums divided at the very end."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from bert_jax.batch import BatchSpec, HostBatch, check, to_global
from bert_jax.sharding import batch_shardings
from bert_jax.tasks import Task, loss_and_means
from bert_jax.train_step import EvalStep


def evaluate(
    eval_step: EvalStep,
    params: Any,
    batches: Iterable[HostBatch],
    task: Task,
    spec: BatchSpec,
    mesh: Mesh,
) -> dict[str, float]:
    """Means over all examples of `batches`: the task's, `loss`, and `mlm_perplexity` where there
    is an `mlm_loss`. Raises ValueError where there is no batch."""
    shardings = batch_shardings(spec, mesh)
    totals: dict[str, np.ndarray] = {}
    waiting: list[Any] = []
    for batch in batches:
        check(batch, spec, jax.process_count())
        waiting.append(eval_step(params, to_global(batch, shardings, spec)))
        if len(waiting) > 2:  # fetched late, so that the device always has work
            _add(totals, waiting.pop(0))
    for sums in waiting:
        _add(totals, sums)
    if not totals:
        raise ValueError('evaluation has no batches; give more text, or raise config.data.holdout')
    means = loss_and_means(task, totals)
    if 'mlm_loss' in means:
        means['mlm_perplexity'] = float(np.exp(means['mlm_loss']))
    return means


def _add(totals: dict[str, np.ndarray], sums: Any) -> None:
    for name, pair in jax.device_get(sums).items():
        totals[name] = totals.get(name, np.zeros(2)) + np.array(pair, np.float64)

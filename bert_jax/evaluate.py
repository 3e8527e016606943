"""The exhaustive evaluation pass: every example once, sums divided at the very end."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from bert_jax.batch import BatchSpec, to_global
from bert_jax.sharding import batch_shardings
from bert_jax.tasks import Task
from bert_jax.train_step import EvalStep


def evaluate(eval_step: EvalStep, params: Any, batches: Iterable[Mapping[str, np.ndarray]], task: Task,
             spec: BatchSpec, mesh: Mesh) -> dict[str, float]:
    """Means over all examples of `batches`, `loss` (the sum of the task's) among them."""
    shardings = batch_shardings(spec, mesh)
    totals: dict[str, np.ndarray] = {}
    pending = None
    for batch in batches:
        sums = eval_step(params, to_global(batch, shardings, spec))
        if pending is not None:  # one batch behind, so that the device is never waited for idle
            _add(totals, pending)
        pending = sums
    if pending is not None:
        _add(totals, pending)
    return with_loss({name: value / count if count else math.nan
                      for name, (value, count) in totals.items()}, task)


def _add(totals: dict[str, np.ndarray], sums: Any) -> None:
    for name, pair in jax.device_get(sums).items():
        totals[name] = totals.get(name, np.zeros(2)) + np.array(pair, np.float64)


def with_loss(means: dict[str, float], task: Task) -> dict[str, float]:
    """The same as plain floats, with `loss` and, where there is an mlm_loss, its perplexity."""
    means = {name: float(value) for name, value in means.items()}
    extra = {'loss': sum(means[name] for name in task.loss_names)}
    if 'mlm_loss' in means:
        extra['mlm_perplexity'] = math.exp(min(means['mlm_loss'], 700.0))
    return extra | means

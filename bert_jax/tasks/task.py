"""What a task is: the seam between the model and the step, the loop and the evaluation."""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import jax

from bert_jax.batch import Batch, BatchSpec
from bert_jax.config import ModelConfig, Phase
from bert_jax.tasks.losses import Sums


class Task(Protocol):
    """A model with its losses. Sums are {name: (sum, count)}, on the device."""

    def __hash__(self) -> int: ...

    @property
    def config(self) -> ModelConfig:
        """The model's."""

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The sums whose means add up to the loss."""

    def lengths(self, phase: Phase) -> tuple[int, ...]:
        """What batches of `phase` may be long, shortest first; the last is its max_seq_length."""

    def batch_spec(self, phase: Phase) -> BatchSpec:
        """The global batch of one step of `phase` that is as long as it can be."""

    def flops(self, phase: Phase) -> float:
        """Useful floating-point operations of one training step of `phase`."""

    def init(self, key: jax.Array) -> Any:
        """Parameters, each boxed with its logical axis names."""

    def apply(
        self, params: Any, batch: Batch, dropout_key: jax.Array | None
    ) -> dict[str, jax.Array]:
        """The model's outputs; without a key, without dropout."""

    def counts(self, batch: Batch) -> dict[str, jax.Array]:
        """What each loss is divided by; a function of the batch alone, so that it is known before
        the micro-batches of an accumulated step are run."""

    def loss(self, outputs: dict[str, jax.Array], batch: Batch) -> Sums:
        """The losses of `loss_names` and whatever else is worth knowing."""

    def predictions(self, outputs: dict[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
        """What the held-out rows are scored by, beyond the sums; [batch, ...] each."""


def loss_and_means(task: Task, sums: Mapping[str, Any]) -> dict[str, float]:
    """Sums fetched from the device, divided; `loss` is the sum of the task's losses. A mean over
    nothing is nan."""
    means = {
        name: float(value) / float(count) if count else math.nan
        for name, (value, count) in sums.items()
    }
    return {'loss': sum(means[name] for name in task.loss_names)} | means

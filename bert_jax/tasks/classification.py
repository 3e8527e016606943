"""A label, or a number, for a text or a pair of texts (Devlin et al., 2019, section 4.1)."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from bert_jax.batch import Batch, BatchSpec, Feature
from bert_jax.tasks.head import HeadTask, Outputs
from bert_jax.tasks.losses import Sums, accuracy, cross_entropy


@dataclasses.dataclass(frozen=True)
class ClassificationTask(HeadTask):
    heads: ClassVar[tuple[str, ...]] = ('pooler', 'classifier')

    def labels(self, rows: int, length: int) -> BatchSpec:
        return {'label_ids': Feature((rows,), 'int32', ('batch',), self.num_labels)}

    def loss(self, outputs: Outputs, batch: Batch) -> Sums:
        scored = (outputs['logits'], batch['label_ids'], batch['example_weights'])
        return {
            'task_loss': cross_entropy(*scored),
            'accuracy': accuracy(*scored),
            **self.padding(batch),
        }

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        """logits: float32[batch, num_labels]"""
        return {'logits': outputs['logits']}


@dataclasses.dataclass(frozen=True)
class RegressionTask(HeadTask):
    """Mean squared error of one output."""

    num_labels: int = 1
    heads: ClassVar[tuple[str, ...]] = ('pooler', 'classifier')

    def labels(self, rows: int, length: int) -> BatchSpec:
        return {'label_values': Feature((rows,), 'float32', ('batch',))}

    def loss(self, outputs: Outputs, batch: Batch) -> Sums:
        weights = batch['example_weights']
        errors = jnp.square(outputs['logits'][:, 0] - batch['label_values'])
        return {
            'task_loss': (jnp.sum(errors * weights), jnp.sum(weights)),
            **self.padding(batch),
        }

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        """values: float32[batch]"""
        return {'values': outputs['logits'][:, 0]}

"""A label or a number for a text or a pair of texts (Devlin et al., 2019, section 4.1)."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from bert_jax.batch import Batch, BatchSpec, Feature
from bert_jax.models.heads import Outputs
from bert_jax.tasks.head import HeadTask
from bert_jax.tasks.losses import Sums, accuracy, cross_entropy


@dataclasses.dataclass(frozen=True)
class ClassificationTask(HeadTask):
    """One of `num_labels` labels for each row."""

    heads: ClassVar = ('pooler', 'classifier')

    def labels_spec(self, rows: int, length: int) -> BatchSpec:
        return {'label_ids': Feature((rows,), 'int32', ('batch',), self.num_labels)}

    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        scored = (outputs['logits'], batch['label_ids'], batch['example_weights'])
        return {'task_loss': cross_entropy(*scored), 'accuracy': accuracy(*scored)}

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        """logits: float32[batch, num_labels]"""
        return {'logits': outputs['logits']}


@dataclasses.dataclass(frozen=True)
class RegressionTask(HeadTask):
    """A number for each row, with the mean squared error as the loss."""

    num_labels: int = 1
    heads: ClassVar = ('pooler', 'classifier')

    def labels_spec(self, rows: int, length: int) -> BatchSpec:
        return {'label_values': Feature((rows,), 'float32', ('batch',))}

    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        weights = batch['example_weights']
        errors = jnp.square(outputs['logits'][:, 0] - batch['label_values'])
        return {'task_loss': (jnp.sum(errors * weights), jnp.sum(weights))}

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        """values: float32[batch]"""
        return {'values': outputs['logits'][:, 0]}

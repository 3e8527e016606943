"""A label for every word, read at its first word piece (Devlin et al., 2019, section 5.3)."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from bert_jax.batch import Batch, BatchSpec, Feature
from bert_jax.tasks.head import HeadTask, Outputs
from bert_jax.tasks.losses import Sums, accuracy, cross_entropy


@dataclasses.dataclass(frozen=True)
class TaggingTask(HeadTask):
    """label_weights are 1 at the first pieces of words, 0 elsewhere."""

    heads: ClassVar[tuple[str, ...]] = ('tagger',)

    def labels(self, rows: int, length: int) -> BatchSpec:
        shape, axes = (rows, length), ('batch', 'length')
        return {
            'label_ids': Feature(shape, 'int32', axes, self.num_labels),
            'label_weights': Feature(shape, 'float32', axes),
        }

    def counts(self, batch: Batch) -> dict[str, jax.Array]:
        return {'task_loss': jnp.sum(batch['label_weights'])}

    def loss(self, outputs: Outputs, batch: Batch) -> Sums:
        scored = (outputs['logits'], batch['label_ids'], batch['label_weights'])
        return {
            'task_loss': cross_entropy(*scored),
            'word_accuracy': accuracy(*scored),
            **self.padding(batch),
        }

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        """tags: int32[batch, length], the likeliest label of every token"""
        return {'tags': jnp.argmax(outputs['logits'], axis=-1).astype(jnp.int32)}

"""A label for every word, read at its first token (Devlin et al., 2019, section 5.3)."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from bert_jax.batch import Batch, BatchSpec, Feature
from bert_jax.models.heads import Outputs
from bert_jax.tasks.head import HeadTask
from bert_jax.tasks.losses import Sums, accuracy, cross_entropy


@dataclasses.dataclass(frozen=True)
class TaggingTask(HeadTask):
    """One of `num_labels` labels for each word.

    label_weights are 1 at the first tokens of words and 0 elsewhere.
    """

    heads: ClassVar = ('tagger',)

    def labels_spec(self, rows: int, length: int) -> BatchSpec:
        shape, axes = (rows, length), ('batch', 'length')
        return {
            'label_ids': Feature(shape, 'int32', axes, self.num_labels),
            'label_weights': Feature(shape, 'float32', axes),
        }

    def loss_denominators(self, batch: Batch) -> dict[str, jax.Array]:
        return {'task_loss': jnp.sum(batch['label_weights'])}

    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        scored = (outputs['logits'], batch['label_ids'], batch['label_weights'])
        return {'task_loss': cross_entropy(*scored), 'word_accuracy': accuracy(*scored)}

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        """tags: int32[batch, length], the label with the largest logit at every position"""
        return {'tags': jnp.argmax(outputs['logits'], axis=-1).astype(jnp.int32)}

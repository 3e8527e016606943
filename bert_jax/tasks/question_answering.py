"""The answer to a question as a span of a text (Devlin et al., 2019, sections 4.2 and 4.3)."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from bert_jax.batch import Batch, BatchSpec, Feature
from bert_jax.models.heads import Outputs
from bert_jax.tasks.head import HeadTask
from bert_jax.tasks.losses import Sums, cross_entropy, padding_fraction


@dataclasses.dataclass(frozen=True)
class QuestionAnsweringTask(HeadTask):
    """Start and end of the answer in each row; both are 0, the first token, if it has none."""

    heads: ClassVar = ('span',)

    def labels_spec(self, rows: int, length: int) -> BatchSpec:
        position = Feature((rows,), 'int32', ('batch',), length)
        return {'start_positions': position, 'end_positions': position}

    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        """The loss is the mean of two cross-entropies, over the tokens of the row without padding.

        Shapes: float32[batch, length] of logits, int32[batch] of positions.
        """
        weights, padding = batch['example_weights'], 1e9 * (1 - batch['attention_mask'])
        losses = [
            cross_entropy(outputs[f'{end}_logits'] - padding, batch[f'{end}_positions'], weights)[0]
            for end in ('start', 'end')
        ]
        return {
            'task_loss': (sum(losses, jnp.float32(0)) / 2, jnp.sum(weights)),
            'padding_fraction': padding_fraction(batch['attention_mask']),
        }

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        """start_logits and end_logits: float32[batch, length]"""
        return {name: outputs[name] for name in ('start_logits', 'end_logits')}

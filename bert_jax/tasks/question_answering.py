"""The answer to a question as a span of a text (Devlin et al., 2019, sections 4.2 and 4.3)."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from bert_jax.batch import Batch, BatchSpec, Feature
from bert_jax.models.heads import Outputs
from bert_jax.tasks.head import HeadTask
from bert_jax.tasks.losses import Sums, cross_entropy


@dataclasses.dataclass(frozen=True)
class QuestionAnsweringTask(HeadTask):
    """The start and the end of the answer in each row; both are 0 if the row has no answer."""

    heads: ClassVar = ('span',)

    def labels_spec(self, rows: int, length: int) -> BatchSpec:
        position = Feature((rows,), 'int32', ('batch',), length)
        return {'start_positions': position, 'end_positions': position}

    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        """The loss is the mean of the cross-entropies of start and end, without padding.

        The logits are float32[batch, length], the positions int32[batch].
        """
        weights, padding = batch['example_weights'], 1e9 * (1 - batch['attention_mask'])
        losses = [
            cross_entropy(outputs[f'{end}_logits'] - padding, batch[f'{end}_positions'], weights)[0]
            for end in ('start', 'end')
        ]
        return {'task_loss': (sum(losses, jnp.float32(0)) / 2, jnp.sum(weights))}

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        """start_logits and end_logits: float32[batch, length]"""
        return {name: outputs[name] for name in ('start_logits', 'end_logits')}

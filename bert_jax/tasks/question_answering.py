"""Where in a context a question's answer stands (Devlin et al., 2019, section 4.2 and 4.3)."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from bert_jax.batch import Batch, BatchSpec, Feature
from bert_jax.tasks.head import HeadTask, Outputs
from bert_jax.tasks.losses import Sums, cross_entropy


@dataclasses.dataclass(frozen=True)
class QuestionAnsweringTask(HeadTask):
    """Start and end of the answer; both 0, [CLS], where the row has none."""

    heads: ClassVar[tuple[str, ...]] = ('span',)

    def labels(self, rows: int, length: int) -> BatchSpec:
        position = Feature((rows,), 'int32', ('batch',), length)
        return {'start_positions': position, 'end_positions': position}

    def loss(self, outputs: Outputs, batch: Batch) -> Sums:
        """The mean of both cross-entropies, over the row's text alone."""
        weights, padding = batch['example_weights'], 1e9 * (1 - batch['attention_mask'])
        ends = [
            cross_entropy(outputs[f'{end}_logits'] - padding, batch[f'{end}_positions'], weights)[0]
            for end in ('start', 'end')
        ]
        return {
            'task_loss': (sum(ends, jnp.float32(0)) / 2, jnp.sum(weights)),
            **self.padding(batch),
        }

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        """start_logits and end_logits: float32[batch, length]"""
        return {name: outputs[name] for name in ('start_logits', 'end_logits')}

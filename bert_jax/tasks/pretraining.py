"""The pretraining objectives.

`OBJECTIVES` has a task for each value of config.objective. This module has the tasks of BERT and of
ALBERT, which predict masked words and a label for two texts. The rows of each objective are made in
`data.pretraining.objectives`.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from bert_jax.batch import Batch, BatchSpec, Feature
from bert_jax.config import Phase
from bert_jax.models.heads import PRETRAINING_HEADS, Outputs
from bert_jax.tasks.distillation import DistillTask
from bert_jax.tasks.losses import Sums, accuracy, cross_entropy
from bert_jax.tasks.masked_lm import CrossLingualTask, MaskedLMTask
from bert_jax.tasks.permutation import PermutationTask


@dataclasses.dataclass(frozen=True)
class SentencesTask(MaskedLMTask):
    """Masked words, and a label for two texts: 0 if they are as in the corpus, 1 if they were
    changed.

    measure: the name of the loss and the accuracy before `_loss`. logits: the name of the model's
    output. labels: the name of the batch's array of labels.
    """

    measure: ClassVar[str]
    logits: ClassVar[str]
    labels: ClassVar[str]

    def __post_init__(self) -> None:
        if self.config.type_vocab_size < 2:
            raise ValueError(
                f'config.model.type_vocab_size is {self.config.type_vocab_size}; next-sentence '
                'prediction and sentence order need 2 or more, a type for each of the two texts'
            )

    def batch_spec(self, phase: Phase) -> BatchSpec:
        spec = dict(super().batch_spec(phase))
        weights = spec.pop('example_weights')
        label = Feature((phase.batch_size,), 'int32', ('batch',), 2)
        return {**spec, self.labels: label, 'example_weights': weights}

    def loss_denominators(self, batch: Batch) -> dict[str, jax.Array]:
        own = {f'{self.measure}_loss': jnp.sum(batch['example_weights'])}
        return super().loss_denominators(batch) | own

    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        scored = (outputs[self.logits], batch[self.labels], batch['example_weights'])
        own = {
            f'{self.measure}_loss': cross_entropy(*scored),
            f'{self.measure}_accuracy': accuracy(*scored),
        }
        return super().sums(outputs, batch) | own


@dataclasses.dataclass(frozen=True)
class PretrainTask(SentencesTask):
    """BERT's objective: masked words and next sentences (Devlin et al., 2019, section 3.1)."""

    heads: ClassVar = PRETRAINING_HEADS
    loss_weights: ClassVar = {'mlm_loss': 1.0, 'nsp_loss': 1.0}
    measure: ClassVar = 'nsp'
    logits: ClassVar = 'seq_relationship_logits'
    labels: ClassVar = 'next_sentence_labels'


@dataclasses.dataclass(frozen=True)
class SentenceOrderTask(SentencesTask):
    """ALBERT's objective: masked words, and whether two texts are swapped (Lan et al., 2020,
    section 3.1)."""

    heads: ClassVar = ('pooler', 'masked_lm', 'sentence_order')
    loss_weights: ClassVar = {'mlm_loss': 1.0, 'sop_loss': 1.0}
    measure: ClassVar = 'sop'
    logits: ClassVar = 'sentence_order_logits'
    labels: ClassVar = 'sentence_order_labels'


# Pretraining objectives by name.
OBJECTIVES: dict[str, type[MaskedLMTask]] = {
    'mlm+nsp': PretrainTask,
    'mlm': MaskedLMTask,
    'mlm+sop': SentenceOrderTask,
    'distill': DistillTask,
    'mlm+tlm': CrossLingualTask,
    'plm': PermutationTask,
}

"""The pretraining objectives: masked words, next sentences, and the order of sentences.

`OBJECTIVES` has a task for each value of config.objective. The rows of each objective are made in
`data.pretraining.objectives`.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from bert_jax.batch import Batch, BatchSpec, Feature
from bert_jax.config import Phase
from bert_jax.models.flops import step_flops
from bert_jax.models.heads import PRETRAINING_HEADS, Outputs
from bert_jax.tasks.losses import Sums, accuracy, cross_entropy
from bert_jax.tasks.task import EncoderTask


@dataclasses.dataclass(frozen=True)
class MaskedLMTask(EncoderTask):
    """Predicts the masked words of a row (Devlin et al., 2019, section 3.1).

    Alone, it is the objective of RoBERTa (Liu et al., 2019) and of adaptation to new text.
    """

    heads: ClassVar[tuple[str, ...]] = ('masked_lm',)
    loss_weights: ClassVar = {'mlm_loss': 1.0}
    perplexities: ClassVar = {'mlm_perplexity': 'mlm_loss'}

    @property
    def optional_heads(self) -> tuple[str, ...]:
        return self.heads

    def lengths(self, phase: Phase) -> tuple[int, ...]:
        return (phase.max_seq_length,)

    def batch_spec(self, phase: Phase) -> BatchSpec:
        rows, length, masked = phase.batch_size, phase.max_seq_length, phase.max_predictions_per_seq
        shape, axes = (rows, masked), ('batch', 'predictions')
        return {
            **self.tokens_spec(phase),
            'masked_lm_positions': Feature(shape, 'int32', axes, length),
            'masked_lm_ids': Feature(shape, 'int32', axes, self.config.vocab_size),
            'masked_lm_weights': Feature(shape, 'float32', axes),
            'example_weights': Feature((rows,), 'float32', ('batch',)),
        }

    def flops(self, phase: Phase) -> float:
        return step_flops(self.config, phase, 'pooler' in self.heads)

    def loss_denominators(self, batch: Batch) -> dict[str, jax.Array]:
        return {'mlm_loss': jnp.sum(batch['masked_lm_weights'])}

    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        masked = (outputs['prediction_logits'], batch['masked_lm_ids'], batch['masked_lm_weights'])
        return {'mlm_loss': cross_entropy(*masked), 'mlm_accuracy': accuracy(*masked)}


@dataclasses.dataclass(frozen=True)
class SentencesTask(MaskedLMTask):
    """Masked words, and a label of two texts: 0 as they stand in the corpus, 1 changed.

    measure: the name of the loss and the accuracy before `_loss`. logits, labels: the output and
    the array of a batch that are compared.
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


@dataclasses.dataclass(frozen=True)
class TranslationTask(MaskedLMTask):
    """XLM's objective: masked words of texts, and of pairs of translations, in which the words of
    one sentence help to predict those of the other (Conneau and Lample, 2019, section 3.3)."""

    loss_weights: ClassVar = {'mlm_loss': 1.0, 'tlm_loss': 1.0}

    def batch_spec(self, phase: Phase) -> BatchSpec:
        spec = dict(super().batch_spec(phase))
        positions = dataclasses.replace(spec['input_ids'], maximum=phase.max_seq_length)
        is_pair = Feature((phase.batch_size,), 'int32', ('batch',), 2)
        return {**spec, 'position_ids': positions, 'is_translation': is_pair}

    def loss_denominators(self, batch: Batch) -> dict[str, jax.Array]:
        return {f'{name}_loss': jnp.sum(weights) for name, weights in _weights(batch).items()}

    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        sums = Sums()
        for name, weights in _weights(batch).items():
            masked = (outputs['prediction_logits'], batch['masked_lm_ids'], weights)
            sums |= {f'{name}_loss': cross_entropy(*masked), f'{name}_accuracy': accuracy(*masked)}
        return sums


def _weights(batch: Batch) -> dict[str, jax.Array]:
    """The weights of the masked words of texts and of those of translations."""
    weights, is_pair = batch['masked_lm_weights'], batch['is_translation'][:, None]
    return {'mlm': weights * (1 - is_pair), 'tlm': weights * is_pair}


# Pretraining objectives by name.
OBJECTIVES: dict[str, type[MaskedLMTask]] = {
    'mlm+nsp': PretrainTask,
    'mlm': MaskedLMTask,
    'mlm+sop': SentenceOrderTask,
    'mlm+tlm': TranslationTask,
}

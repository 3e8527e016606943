"""Masked language modelling and next-sentence prediction (Devlin et al., 2019, section 3.1)."""

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
class PretrainTask(EncoderTask):
    """BERT's pretraining objective."""

    heads: ClassVar = PRETRAINING_HEADS
    loss_weights: ClassVar = {'mlm_loss': 1.0, 'nsp_loss': 1.0}

    def __post_init__(self) -> None:
        if self.config.type_vocab_size < 2:
            raise ValueError(
                f'config.model.type_vocab_size is {self.config.type_vocab_size}; next-sentence '
                'prediction needs 2 or more, a type for each of the two texts'
            )

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
            'next_sentence_labels': Feature((rows,), 'int32', ('batch',), 2),
            'example_weights': Feature((rows,), 'float32', ('batch',)),
        }

    def flops(self, phase: Phase) -> float:
        return step_flops(self.config, phase)

    def loss_denominators(self, batch: Batch) -> dict[str, jax.Array]:
        return {
            'mlm_loss': jnp.sum(batch['masked_lm_weights']),
            'nsp_loss': jnp.sum(batch['example_weights']),
        }

    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        masked = (outputs['prediction_logits'], batch['masked_lm_ids'], batch['masked_lm_weights'])
        next_sentence = (
            outputs['seq_relationship_logits'],
            batch['next_sentence_labels'],
            batch['example_weights'],
        )
        return {
            'mlm_loss': cross_entropy(*masked),
            'mlm_accuracy': accuracy(*masked),
            'nsp_loss': cross_entropy(*next_sentence),
            'nsp_accuracy': accuracy(*next_sentence),
        }


# Pretraining objectives by name.
OBJECTIVES = {'mlm+nsp': PretrainTask}

"""The pretraining objectives that predict masked words and nothing else."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from bert_jax.batch import Batch, BatchSpec, Feature
from bert_jax.config import Phase
from bert_jax.models.flops import step_flops
from bert_jax.models.heads import Outputs
from bert_jax.tasks.losses import Sums, accuracy, cross_entropy
from bert_jax.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class MaskedLMTask(Task):
    """Predicts the masked words of a row (Devlin et al., 2019, section 3.1).

    This is the objective of RoBERTa (Liu et al., 2019) and of adaptation to new text.
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
        return step_flops(self.config, phase, 'pooler' in self.heads, self.frozen_layers)

    def prediction_weights(self, batch: Batch) -> dict[str, jax.Array]:
        """The weights of the predicted tokens, float32[batch, predictions], by measure name."""
        return {'mlm': batch['masked_lm_weights']}

    def loss_denominators(self, batch: Batch) -> dict[str, jax.Array]:
        by_measure = self.prediction_weights(batch)
        return {f'{measure}_loss': jnp.sum(weights) for measure, weights in by_measure.items()}

    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        sums = Sums()
        for measure, weights in self.prediction_weights(batch).items():
            scored = (outputs['prediction_logits'], batch['masked_lm_ids'], weights)
            sums[f'{measure}_loss'] = cross_entropy(*scored)
            sums[f'{measure}_accuracy'] = accuracy(*scored)
        return sums


@dataclasses.dataclass(frozen=True)
class CrossLingualTask(MaskedLMTask):
    """XLM's objective: masked words of texts, and of pairs of translations, in which the words of
    one sentence help to predict those of the other (Conneau and Lample, 2019, section 3.3)."""

    loss_weights: ClassVar = {'mlm_loss': 1.0, 'tlm_loss': 1.0}

    def batch_spec(self, phase: Phase) -> BatchSpec:
        spec = dict(super().batch_spec(phase))
        positions = dataclasses.replace(spec['input_ids'], maximum=phase.max_seq_length)
        is_pair = Feature((phase.batch_size,), 'int32', ('batch',), 2)
        return {**spec, 'position_ids': positions, 'is_translation': is_pair}

    def prediction_weights(self, batch: Batch) -> dict[str, jax.Array]:
        weights, is_pair = batch['masked_lm_weights'], batch['is_translation'][:, None]
        return {'mlm': weights * (1 - is_pair), 'tlm': weights * is_pair}

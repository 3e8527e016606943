"""Masked language modelling and next-sentence prediction (Devlin et al., 2019, section 3.1)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from bert_jax.batch import Batch, BatchSpec, Feature
from bert_jax.config import ModelConfig, Phase
from bert_jax.models.flops import step_flops
from bert_jax.models.heads import HeadedEncoder
from bert_jax.tasks.losses import Sums, accuracy, cross_entropy


@dataclasses.dataclass(frozen=True)
class PretrainTask:
    config: ModelConfig
    loss_names = ('mlm_loss', 'nsp_loss')

    def __post_init__(self) -> None:
        if self.config.type_vocab_size < 2:
            raise ValueError(
                f'config.model.type_vocab_size is {self.config.type_vocab_size}; next-sentence '
                'prediction needs 2 or more, a type for each of the two texts'
            )

    @property
    def model(self) -> HeadedEncoder:
        return HeadedEncoder(self.config)

    def lengths(self, phase: Phase) -> tuple[int, ...]:
        return (phase.max_seq_length,)

    def batch_spec(self, phase: Phase) -> BatchSpec:
        rows, length, slots = phase.batch_size, phase.max_seq_length, phase.max_predictions_per_seq
        tokens, masked = ('batch', 'length'), ('batch', 'predictions')
        vocab = self.config.vocab_size
        return {
            'input_ids': Feature((rows, length), 'int32', tokens, vocab),
            'token_type_ids': Feature((rows, length), 'int32', tokens, self.config.type_vocab_size),
            'attention_mask': Feature((rows, length), 'int32', tokens, 2),
            'masked_lm_positions': Feature((rows, slots), 'int32', masked, length),
            'masked_lm_ids': Feature((rows, slots), 'int32', masked, vocab),
            'masked_lm_weights': Feature((rows, slots), 'float32', masked),
            'next_sentence_labels': Feature((rows,), 'int32', ('batch',), 2),
            'example_weights': Feature((rows,), 'float32', ('batch',)),
        }

    def flops(self, phase: Phase) -> float:
        return step_flops(self.config, phase)

    def init(self, key: jax.Array) -> Any:
        ids = jnp.zeros((1, 8), jnp.int32)  # parameters don't depend on the batch's shape
        return self.model.init(key, ids, ids, ids, ids)['params']

    def apply(
        self, params: Any, batch: Batch, dropout_key: jax.Array | None
    ) -> dict[str, jax.Array]:
        outputs: Any = self.model.apply(
            {'params': params},
            batch['input_ids'],
            batch['token_type_ids'],
            batch['attention_mask'],
            batch['masked_lm_positions'],
            deterministic=dropout_key is None,
            rngs=None if dropout_key is None else {'dropout': dropout_key},
        )
        return outputs

    def counts(self, batch: Batch) -> dict[str, jax.Array]:
        return {
            'mlm_loss': jnp.sum(batch['masked_lm_weights']),
            'nsp_loss': jnp.sum(batch['example_weights']),
        }

    def loss(self, outputs: dict[str, jax.Array], batch: Batch) -> Sums:
        """Both losses and accuracies, and the share of the slots that is padding."""
        masked = (outputs['prediction_logits'], batch['masked_lm_ids'], batch['masked_lm_weights'])
        next_sentence = (
            outputs['seq_relationship_logits'],
            batch['next_sentence_labels'],
            batch['example_weights'],
        )
        slots = jnp.float32(batch['attention_mask'].size)
        return {
            'mlm_loss': cross_entropy(*masked),
            'mlm_accuracy': accuracy(*masked),
            'nsp_loss': cross_entropy(*next_sentence),
            'nsp_accuracy': accuracy(*next_sentence),
            'padding_fraction': (
                slots - jnp.sum(batch['attention_mask'], dtype=jnp.float32),
                slots,
            ),
        }

    def predictions(self, outputs: dict[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
        return {}

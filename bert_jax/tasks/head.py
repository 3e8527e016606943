"""What tasks with one head on the encoder have in common: fine-tuning."""

import abc
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from bert_jax.batch import LENGTHS, Batch, BatchSpec, Feature
from bert_jax.config import ModelConfig, Phase
from bert_jax.models.flops import encoder_flops
from bert_jax.models.heads import HeadedEncoder
from bert_jax.tasks.losses import Sums

Outputs = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class HeadTask(abc.ABC):
    """One row of a batch is an example or a window of one; example_weights are 0 for what only
    fills the batch, example_ids the row's number in its file."""

    config: ModelConfig
    num_labels: int = 0
    heads: ClassVar[tuple[str, ...]] = ()
    loss_names: ClassVar[tuple[str, ...]] = ('task_loss',)

    @property
    def model(self) -> HeadedEncoder:
        return HeadedEncoder(self.config, self.heads, self.num_labels)

    def lengths(self, phase: Phase) -> tuple[int, ...]:
        longest = phase.max_seq_length
        return (*(length for length in LENGTHS if length < longest), longest)

    def batch_spec(self, phase: Phase) -> BatchSpec:
        rows, length = phase.batch_size, phase.max_seq_length
        shape, axes = (rows, length), ('batch', 'length')
        return {
            'input_ids': Feature(shape, 'int32', axes, self.config.vocab_size),
            'token_type_ids': Feature(shape, 'int32', axes, self.config.type_vocab_size),
            'attention_mask': Feature(shape, 'int32', axes, 2),
            'example_weights': Feature((rows,), 'float32', ('batch',)),
            'example_ids': Feature((rows,), 'int32', ('batch',), 2**31 - 1),
            **self.labels(rows, length),
        }

    @abc.abstractmethod
    def labels(self, rows: int, length: int) -> BatchSpec:
        """What a batch has beside the text."""

    def flops(self, phase: Phase) -> float:
        return encoder_flops(self.config, phase)

    def init(self, key: jax.Array) -> Any:
        ids = jnp.zeros((1, 8), jnp.int32)  # parameters don't depend on the batch's shape
        return self.model.init(key, ids, ids, ids)['params']

    def apply(self, params: Any, batch: Batch, dropout_key: jax.Array | None) -> Outputs:
        outputs: Any = self.model.apply(
            {'params': params},
            batch['input_ids'],
            batch['token_type_ids'],
            batch['attention_mask'],
            deterministic=dropout_key is None,
            rngs=None if dropout_key is None else {'dropout': dropout_key},
        )
        return outputs

    def counts(self, batch: Batch) -> dict[str, jax.Array]:
        return {'task_loss': jnp.sum(batch['example_weights'])}

    @abc.abstractmethod
    def loss(self, outputs: Outputs, batch: Batch) -> Sums:
        """Sums and what they are divided by."""

    @abc.abstractmethod
    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        """Of each row of the batch."""

    def padding(self, batch: Batch) -> Sums:
        slots = jnp.float32(batch['attention_mask'].size)
        text = jnp.sum(batch['attention_mask'], dtype=jnp.float32)
        return {'padding_fraction': (slots - text, slots)}

"""Fine-tuning tasks: one task head on the encoder."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp

from bert_jax.batch import LENGTHS, Batch, BatchSpec, Feature
from bert_jax.config import Phase
from bert_jax.models.flops import encoder_flops
from bert_jax.tasks.task import EncoderTask


@dataclasses.dataclass(frozen=True)
class HeadTask(EncoderTask):
    """A task whose rows are examples or windows of examples.

    example_weights are 0 for rows that only fill a batch. example_ids are indices into the file.
    """

    loss_weights: ClassVar[Mapping[str, float]] = {'task_loss': 1.0}

    def lengths(self, phase: Phase) -> tuple[int, ...]:
        longest = phase.max_seq_length
        return (*(length for length in LENGTHS if length < longest), longest)

    def batch_spec(self, phase: Phase) -> BatchSpec:
        rows = phase.batch_size
        return {
            **self.tokens_spec(phase),
            'example_weights': Feature((rows,), 'float32', ('batch',)),
            'example_ids': Feature((rows,), 'int32', ('batch',), 2**31 - 1),
            **self.labels_spec(rows, phase.max_seq_length),
        }

    @abc.abstractmethod
    def labels_spec(self, rows: int, length: int) -> BatchSpec:
        """The arrays of a batch that hold the labels."""

    def flops(self, phase: Phase) -> float:
        return encoder_flops(self.config, phase)

    def loss_denominators(self, batch: Batch) -> dict[str, jax.Array]:
        return {'task_loss': jnp.sum(batch['example_weights'])}

"""Fine-tuning tasks: the encoder with one task head (Devlin et al., 2019, sections 4 and 5.3)."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from bert_jax.batch import TRAINING_LENGTHS, Batch, BatchSpec, Feature
from bert_jax.config import Phase
from bert_jax.models.flops import encoder_flops
from bert_jax.models.heads import Outputs
from bert_jax.tasks.losses import Sums, accuracy, binary_cross_entropy, cross_entropy
from bert_jax.tasks.task import RandomStreams, Task


@dataclasses.dataclass(frozen=True)
class HeadTask(Task):
    """A task whose rows are examples or windows of examples.

    example_weights are 0 for rows that only fill a batch. example_ids are indices into the file.
    """

    loss_weights: ClassVar[Mapping[str, float]] = {'task_loss': 1.0}

    @property
    def generated_tokens(self) -> int:
        """The number of tokens that are generated for a row; 1 in tasks that generate none."""
        return 1

    def lengths(self, phase: Phase) -> tuple[int, ...]:
        longest = phase.max_seq_length
        return (*(length for length in TRAINING_LENGTHS if length < longest), longest)

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
        return encoder_flops(self.config, phase, self.frozen_layers)

    def loss_denominators(self, batch: Batch) -> dict[str, jax.Array]:
        return {'task_loss': jnp.sum(batch['example_weights'])}


@dataclasses.dataclass(frozen=True)
class ClassificationTask(HeadTask):
    """Predicts one of `num_labels` labels for each row."""

    heads: ClassVar = ('pooler', 'classifier')

    def labels_spec(self, rows: int, length: int) -> BatchSpec:
        return {'label_ids': Feature((rows,), 'int32', ('batch',), self.num_labels)}

    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        scored = (outputs['logits'], batch['label_ids'], batch['example_weights'])
        return {'task_loss': cross_entropy(*scored), 'accuracy': accuracy(*scored)}

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        """logits: float32[batch, num_labels]"""
        return {'logits': outputs['logits']}


@dataclasses.dataclass(frozen=True)
class MultiLabelTask(ClassificationTask):
    """Predicts whether each row has each of `num_labels` labels: a sigmoid for each label.

    positive_weights: the weight of the rows that have a label, for each label, in the loss of
    training; () is 1 for each. The loss of an evaluation has no weights.
    """

    positive_weights: tuple[float, ...] = ()

    def labels_spec(self, rows: int, length: int) -> BatchSpec:
        shape, axes = (rows, self.num_labels), ('batch', 'features')
        return {'label_targets': Feature(shape, 'int32', axes, 2)}

    def loss(self, params: Any, batch: Batch, rngs: RandomStreams, frozen: Any = ()) -> Sums:
        outputs, weights = self.apply(params, batch, rngs), jnp.array(self.positive_weights or 1.0)
        return self._all_sums(outputs, batch) | self.sums(outputs, batch, weights)

    def sums(
        self, outputs: Outputs, batch: Batch, positive_weights: jax.Array | float = 1.0
    ) -> Sums:
        # An evaluation does not weight the labels.
        scored = (outputs['logits'], batch['label_targets'], batch['example_weights'])
        return {'task_loss': binary_cross_entropy(*scored, positive_weights)}


@dataclasses.dataclass(frozen=True)
class RegressionTask(HeadTask):
    """Predicts a number for each row. The loss is the mean squared error."""

    num_labels: int = 1
    heads: ClassVar = ('pooler', 'classifier')

    def labels_spec(self, rows: int, length: int) -> BatchSpec:
        return {'label_values': Feature((rows,), 'float32', ('batch',))}

    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        weights = batch['example_weights']
        errors = jnp.square(outputs['logits'][:, 0] - batch['label_values'])
        return {'task_loss': (jnp.sum(errors * weights), jnp.sum(weights))}

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        """values: float32[batch]"""
        return {'values': outputs['logits'][:, 0]}


@dataclasses.dataclass(frozen=True)
class TaggingTask(HeadTask):
    """Predicts one of `num_labels` labels for each word, at its first token.

    label_weights are 1 at the first tokens of words and 0 elsewhere.
    """

    heads: ClassVar = ('tagger',)

    def labels_spec(self, rows: int, length: int) -> BatchSpec:
        shape, axes = (rows, length), ('batch', 'length')
        return {
            'label_ids': Feature(shape, 'int32', axes, self.num_labels),
            'label_weights': Feature(shape, 'float32', axes),
        }

    def loss_denominators(self, batch: Batch) -> dict[str, jax.Array]:
        return {'task_loss': jnp.sum(batch['label_weights'])}

    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        scored = (outputs['logits'], batch['label_ids'], batch['label_weights'])
        return {'task_loss': cross_entropy(*scored), 'word_accuracy': accuracy(*scored)}

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        """tags: int32[batch, length], the label with the largest logit at every position"""
        return {'tags': jnp.argmax(outputs['logits'], axis=-1).astype(jnp.int32)}


@dataclasses.dataclass(frozen=True)
class QuestionAnsweringTask(HeadTask):
    """Predicts the start and the end of the answer in each row.

    If a row has no answer, both are the place of the token that represents it, such as [CLS].
    """

    heads: ClassVar = ('span',)

    def labels_spec(self, rows: int, length: int) -> BatchSpec:
        position = Feature((rows,), 'int32', ('batch',), length)
        return {'start_positions': position, 'end_positions': position}

    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        """The loss: the mean of the cross-entropies of start and end, over tokens without padding.

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

"""The interface of a task: a model, its losses and the arrays of its batches."""

import abc
import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax

from bert_jax.batch import Batch, BatchSpec, Feature
from bert_jax.config import ModelConfig, Phase
from bert_jax.models.heads import HeadedEncoder, Outputs
from bert_jax.models.inputs import EncoderInputs
from bert_jax.tasks.losses import Sums, padding_fraction

RandomStreams = Mapping[str, jax.Array]  # a key for each of a task's random streams


@dataclasses.dataclass(frozen=True)
class Task(abc.ABC):
    """The encoder with some heads, and its losses. A task is hashable and holds no arrays.

    frozen_layers: see `models.encoder.Encoder`. loss_weights: the weight of each loss, by its name
    among the sums. random_streams: the names of the random streams that training uses.
    rows_are_independent: whether the loss of a row depends on that row alone; otherwise
    micro-batches cannot replace a batch. perplexities: for each perplexity that is reported, the
    name of the loss whose exponential it is.
    """

    config: ModelConfig
    num_labels: int = 0
    frozen_layers: int | None = dataclasses.field(default=None, kw_only=True)
    heads: ClassVar[tuple[str, ...]]
    loss_weights: ClassVar[Mapping[str, float]]
    random_streams: ClassVar[tuple[str, ...]] = ('dropout',)
    rows_are_independent: ClassVar[bool] = True
    perplexities: ClassVar[Mapping[str, str]] = {}

    @property
    def model(self) -> HeadedEncoder:
        return HeadedEncoder(self.config, self.heads, self.num_labels, self.frozen_layers)

    @property
    def optional_heads(self) -> tuple[str, ...]:
        """The heads that are freshly initialized if the run's start checkpoint does not have
        them."""
        return ()

    @abc.abstractmethod
    def lengths(self, phase: Phase) -> tuple[int, ...]:
        """The sequence lengths that a batch of this phase can have, ascending.

        The last one is max_seq_length. The step is compiled once for each length.
        """

    @abc.abstractmethod
    def batch_spec(self, phase: Phase) -> BatchSpec:
        """The arrays of a global batch of `phase`, at its full length."""

    def tokens_spec(self, phase: Phase) -> dict[str, Feature]:
        """The arrays of a batch that the encoder reads."""
        shape, axes = (phase.batch_size, phase.max_seq_length), ('batch', 'length')
        spec = {
            'input_ids': Feature(shape, 'int32', axes, self.config.vocab_size),
            'token_type_ids': Feature(shape, 'int32', axes, max(self.config.type_vocab_size, 1)),
            'attention_mask': Feature(shape, 'int32', axes, 2),
        }
        if not self.config.has_types:
            del spec['token_type_ids']
        return spec

    @abc.abstractmethod
    def flops(self, phase: Phase) -> float:
        """Useful floating-point operations of one training step of `phase`."""

    def init(self, key: jax.Array) -> Any:
        """Returns fresh parameters, each in a box with its facts (`models.parameters`)."""
        return self.model.init(key, EncoderInputs.example())['params']

    def init_frozen(self, key: jax.Array) -> Any:
        """Returns fresh values of the parameters that the losses read and training does not change,
        such as those of a teacher, boxed as in `init`; () if there are none."""
        return ()

    def arguments(self, batch: Batch) -> tuple[Any, ...]:
        """Returns the positional arguments with which `apply` calls the model on a batch."""
        return EncoderInputs.from_batch(batch), batch.get('masked_lm_positions')

    def apply(
        self, params: Any, batch: Batch, rngs: RandomStreams | None = None, frozen: Any = ()
    ) -> Outputs:
        """The model's outputs. rngs: see `loss`; None means that there is no dropout. frozen: see
        `loss`."""
        outputs: Any = self.model.apply(
            {'params': params},
            *self.arguments(batch),
            deterministic=rngs is None,
            rngs=None if rngs is None else dict(rngs),
        )
        return outputs

    @abc.abstractmethod
    def loss_denominators(self, batch: Batch) -> dict[str, jax.Array]:
        """Returns the count that each loss is divided by.

        It is a function of the batch alone, so that it is known before the micro-batches of a step
        are computed.
        """

    def loss(self, params: Any, batch: Batch, rngs: RandomStreams, frozen: Any = ()) -> Sums:
        """Runs the model as in training. Returns (sum, count) of each loss and of other measures.

        rngs: a key for each of `random_streams`. frozen: the parameters of `init_frozen`.
        """
        return self._all_sums(self.apply(params, batch, rngs, frozen), batch)

    def memory_spec(self, phase: Phase) -> BatchSpec:
        """Returns the arrays that a training step passes to the next step; {} if there are none.
        Axis 0 is the batch."""
        return {}

    def loss_and_memory(
        self, params: Any, batch: Batch, rngs: RandomStreams, frozen: Any = ()
    ) -> tuple[Sums, Batch]:
        """Returns the result of `loss`, and the arrays of `memory_spec` for the next step. `batch`
        has the arrays of the step before."""
        return self.loss(params, batch, rngs, frozen), {}

    def predict(
        self, params: Any, batch: Batch, frozen: Any = ()
    ) -> tuple[Sums, dict[str, jax.Array]]:
        """Runs the model as in evaluation. Returns the sums and the predictions."""
        outputs = self.apply(params, batch, None, frozen)
        return self._all_sums(outputs, batch), self.predictions(outputs, batch)

    def _all_sums(self, outputs: Outputs, batch: Batch) -> Sums:
        """The sums of the task, and the share of padding in the batch."""
        padding = padding_fraction(batch['attention_mask'])
        return self.sums(outputs, batch) | {'padding_fraction': padding}

    @abc.abstractmethod
    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        """The losses of `loss_weights` and other measures, from the model's outputs."""

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        """The arrays [batch, ...] that the host needs for the official scores; by default none."""
        return {}


def loss_and_means(task: Task, sums: Mapping[str, Any]) -> dict[str, float]:
    """The means from sums that were fetched from the device; nan if the count is 0.

    `loss` is the weighted sum of the task's losses. As in the training step, a loss without
    examples adds nothing, unless no loss has any.
    """
    means = {
        name: float(value) / float(count) if count else math.nan
        for name, (value, count) in sums.items()
    }
    terms = [w * means[name] for name, w in task.loss_weights.items() if sums[name][1]]
    return {'loss': sum(terms) if terms else math.nan} | means

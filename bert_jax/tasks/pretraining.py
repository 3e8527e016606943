"""The pretraining objectives: masked words, next sentences, the order of sentences, and a teacher.

`tasks.masked_lm` has the objective of masked words alone, and `tasks.permutation` that of XLNet.

`OBJECTIVES` has a task for each value of config.objective. The rows of each objective are made in
`data.pretraining.objectives`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from bert_jax.batch import Batch, BatchSpec, Feature
from bert_jax.config import DistillConfig, ModelConfig, Phase
from bert_jax.models.flops import step_flops
from bert_jax.models.heads import PRETRAINING_HEADS, HeadedEncoder, Outputs
from bert_jax.models.inputs import EncoderInputs
from bert_jax.tasks.losses import (
    Sums,
    accuracy,
    cosine_distance,
    cross_entropy,
    padding_fraction,
    softened_kl,
)
from bert_jax.tasks.masked_lm import MaskedLMTask
from bert_jax.tasks.permutation import PermutationTask
from bert_jax.tasks.task import RandomStreams


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


@dataclasses.dataclass(frozen=True)
class DistillTask(MaskedLMTask):
    """Masked words, with the scores and the hidden states of a teacher (Sanh et al., 2019,
    section 3).

    teacher: the teacher's model, with the student's vocab_size. None means a model like the student
    with twice as many layers. words: the number of tokens in the vocabulary; the scores of further
    rows of the vocabulary tables, which are padding, are not compared. 0 means that no row is
    padding.
    """

    teacher: ModelConfig | None = None
    settings: DistillConfig = dataclasses.field(default_factory=DistillConfig)
    words: int = 0

    def __post_init__(self) -> None:
        theirs, ours = self.teacher_config, self.config
        if self.settings.cosine_weight and theirs.hidden_size != ours.hidden_size:
            raise ValueError(
                f'config.model.hidden_size is {ours.hidden_size}, but the teacher has '
                f'{theirs.hidden_size}: hidden states of two widths cannot be compared. Set '
                '--config.distill.cosine_weight=0, or choose the hidden_size of the teacher'
            )

    @property
    def teacher_config(self) -> ModelConfig:
        layers = 2 * self.config.num_hidden_layers
        return self.teacher or dataclasses.replace(self.config, num_hidden_layers=layers)

    @property
    def teacher_model(self) -> HeadedEncoder:
        return HeadedEncoder(self.teacher_config, ('masked_lm',))

    @property
    def loss_weights(self) -> Mapping[str, float]:  # type: ignore[override]
        """The weights of the configuration; a loss whose weight is 0 is not computed."""
        given = self.settings
        weights = {
            'kl_loss': given.kl_weight,
            'mlm_loss': given.mlm_weight,
            'cosine_loss': given.cosine_weight,
        }
        return {name: weight for name, weight in weights.items() if weight or name == 'mlm_loss'}

    def init_frozen(self, key: jax.Array) -> Any:
        return self.teacher_model.init(key, EncoderInputs.example())['params']

    def flops(self, phase: Phase) -> float:
        """Includes the teacher's forward pass, which costs a third of a training step."""
        if self.settings.positions == 'all':
            phase = phase._replace(max_predictions_per_seq=phase.max_seq_length)
        return super().flops(phase) + step_flops(self.teacher_config, phase, False) / 3

    def loss_denominators(self, batch: Batch) -> dict[str, jax.Array]:
        tokens, masked = jnp.sum(_attended(batch)), jnp.sum(batch['masked_lm_weights'])
        compared = tokens if self.settings.positions == 'all' else masked
        counts = {'kl_loss': compared, 'mlm_loss': masked, 'cosine_loss': tokens}
        return {name: counts[name] for name in self.loss_weights}

    def loss(self, params: Any, batch: Batch, rngs: RandomStreams, frozen: Any = ()) -> Sums:
        return self._distilled(params, batch, frozen, rngs)

    def predict(
        self, params: Any, batch: Batch, frozen: Any = ()
    ) -> tuple[Sums, dict[str, jax.Array]]:
        return self._distilled(params, batch, frozen, None), {}

    def _distilled(
        self, params: Any, batch: Batch, frozen: Any, rngs: RandomStreams | None
    ) -> Sums:
        """The sums of all losses. The teacher has no dropout and receives no gradients."""
        every = self.settings.positions == 'all'
        read = {name: x for name, x in batch.items() if name != 'masked_lm_positions'}
        ours = self.apply(params, read if every else batch, rngs)
        theirs: Any = self.teacher_model.apply(
            {'params': jax.lax.stop_gradient(frozen)},
            EncoderInputs.from_batch(batch),
            None if every else batch['masked_lm_positions'],
        )
        tokens = _attended(batch)
        weights = tokens if every else batch['masked_lm_weights']
        logits, known = ours['prediction_logits'], self.words or self.config.vocab_size
        expected = theirs['prediction_logits'][..., :known]
        temperature = self.settings.temperature
        hidden = ours['last_hidden_state'], theirs['last_hidden_state']
        compared = {
            'kl_loss': lambda: softened_kl(logits[..., :known], expected, weights, temperature),
            'cosine_loss': lambda: cosine_distance(*hidden, tokens),
        }
        sums = {name: compute() for name, compute in compared.items() if name in self.loss_weights}
        if every:
            positions = batch['masked_lm_positions'][:, :, None]
            logits = jnp.take_along_axis(logits, positions, axis=1)
        sums |= self.sums({'prediction_logits': logits}, batch)
        return sums | {'padding_fraction': padding_fraction(batch['attention_mask'])}


def _attended(batch: Batch) -> jax.Array:
    """float32[batch, length]: 1 for tokens, 0 for padding and for rows of padding at the end of a
    batch."""
    return batch['attention_mask'] * batch['example_weights'][:, None]


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

    def prediction_weights(self, batch: Batch) -> dict[str, jax.Array]:
        weights, is_pair = batch['masked_lm_weights'], batch['is_translation'][:, None]
        return {'mlm': weights * (1 - is_pair), 'tlm': weights * is_pair}


# Pretraining objectives by name.
OBJECTIVES: dict[str, type[MaskedLMTask]] = {
    'mlm+nsp': PretrainTask,
    'mlm': MaskedLMTask,
    'mlm+sop': SentenceOrderTask,
    'distill': DistillTask,
    'mlm+tlm': TranslationTask,
    'plm': PermutationTask,
}

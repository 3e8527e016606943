"""DistilBERT's objective: masked words, with the scores and the hidden states of a teacher."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from bert_jax.batch import Batch
from bert_jax.config import DistillConfig, ModelConfig, Phase
from bert_jax.models.flops import step_flops
from bert_jax.models.heads import HeadedEncoder, Outputs
from bert_jax.models.inputs import EncoderInputs
from bert_jax.tasks.losses import Sums, cosine_distance, softened_kl
from bert_jax.tasks.masked_lm import MaskedLMTask
from bert_jax.tasks.task import RandomStreams


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

    def apply(
        self, params: Any, batch: Batch, rngs: RandomStreams | None = None, frozen: Any = ()
    ) -> Outputs:
        """The outputs of the student and, if `frozen` has the teacher's parameters, those of the
        teacher. The teacher has no dropout and receives no gradients."""
        if self.settings.positions == 'all':
            batch = {name: x for name, x in batch.items() if name != 'masked_lm_positions'}
        outputs = super().apply(params, batch, rngs)
        if frozen:
            variables = {'params': jax.lax.stop_gradient(frozen)}
            theirs: Any = self.teacher_model.apply(variables, *self.arguments(batch))
            outputs |= {f'teacher_{name}': x for name, x in theirs.items()}
        return outputs

    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        sums, tokens = Sums(), _attended(batch)
        logits, known = outputs['prediction_logits'], self.words or self.config.vocab_size
        weights = tokens if self.settings.positions == 'all' else batch['masked_lm_weights']
        if self.settings.kl_weight:
            scores = logits[..., :known], outputs['teacher_prediction_logits'][..., :known]
            sums['kl_loss'] = softened_kl(*scores, weights, self.settings.temperature)
        if self.settings.cosine_weight:
            hidden = outputs['last_hidden_state'], outputs['teacher_last_hidden_state']
            sums['cosine_loss'] = cosine_distance(*hidden, tokens)
        if self.settings.positions == 'all':
            positions = batch['masked_lm_positions'][:, :, None]
            logits = jnp.take_along_axis(logits, positions, axis=1)
        return sums | super().sums({'prediction_logits': logits}, batch)


def _attended(batch: Batch) -> jax.Array:
    """float32[batch, length]: 1 for tokens, 0 for padding and for rows of padding at the end of a
    batch."""
    return batch['attention_mask'] * batch['example_weights'][:, None]

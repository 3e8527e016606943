"""Translation and other tasks whose output is a text, with an encoder-decoder."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from bert_jax.batch import Batch, BatchSpec, Feature
from bert_jax.config import Phase
from bert_jax.models.encoder_decoder import EncoderDecoder
from bert_jax.models.flops import decoder_flops, encoder_flops
from bert_jax.models.generation import Search, generate
from bert_jax.models.heads import DECODER, Outputs
from bert_jax.models.inputs import EncoderInputs
from bert_jax.tasks.finetuning import HeadTask
from bert_jax.tasks.losses import Sums, accuracy, cross_entropy, smoothed_cross_entropy


@dataclasses.dataclass(frozen=True)
class TranslationTask(HeadTask):
    """Writes a text for each row. The loss is the cross-entropy of the target's tokens.

    search: how texts are generated. label_smoothing: see config.train. target_ids end with the end
    token; target_weights are 1 at tokens and 0 at padding. The decoder reads the start token and
    the target without its last token. In a batch of rows of n tokens, targets have at most n
    tokens, and at most search.max_length.
    """

    search: Search = dataclasses.field(kw_only=True)
    label_smoothing: float = 0.0
    heads: ClassVar = ('masked_lm', DECODER)
    perplexities: ClassVar[Mapping[str, str]] = {'perplexity': 'token_loss'}

    @property
    def model(self) -> EncoderDecoder:  # type: ignore[override]
        return EncoderDecoder(self.config, self.frozen_layers)

    @property
    def optional_heads(self) -> tuple[str, ...]:
        return ('masked_lm',)

    @property
    def generated_tokens(self) -> int:
        """The number of tokens of all beams, whose keys and values are kept."""
        return self.search.num_beams * self.search.max_length

    def target_length(self, length: int) -> int:
        """The length of the targets in a batch of rows of `length` tokens."""
        return min(length, self.search.max_length)

    def labels_spec(self, rows: int, length: int) -> BatchSpec:
        shape, axes = (rows, self.target_length(length)), ('batch', 'length')
        return {
            'target_ids': Feature(shape, 'int32', axes, self.config.vocab_size),
            'target_weights': Feature(shape, 'float32', axes),
        }

    def flops(self, phase: Phase) -> float:
        target = self.target_length(phase.max_seq_length)
        encoder = encoder_flops(self.config, phase, self.frozen_layers)
        return encoder + decoder_flops(self.config, phase, target)

    def loss_denominators(self, batch: Batch) -> dict[str, jax.Array]:
        return {'task_loss': jnp.sum(batch['target_weights'])}

    def arguments(self, batch: Batch) -> tuple[Any, ...]:
        start = jnp.full_like(batch['target_ids'][:, :1], self.search.start)
        read = jnp.concatenate([start, batch['target_ids'][:, :-1]], axis=1)
        return EncoderInputs.from_batch(batch), read

    def sums(self, outputs: Outputs, batch: Batch) -> Sums:
        scored = (outputs['prediction_logits'], batch['target_ids'], batch['target_weights'])
        return {
            'task_loss': smoothed_cross_entropy(*scored, self.label_smoothing),
            'token_loss': cross_entropy(*scored),
            'token_accuracy': accuracy(*scored),
        }

    def predict(
        self, params: dict, batch: Batch, frozen: object = ()
    ) -> tuple[Sums, dict[str, jax.Array]]:
        sums, _ = super().predict(params, batch, frozen)
        return sums, self.generate(params, batch)

    def generate(self, params: dict, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Returns written_ids, int32[batch, search.max_length]; see `generation.generate`."""
        inputs = EncoderInputs.from_batch(batch)
        return {'written_ids': generate(self.model, params, inputs, self.search)}

"""What stands on the encoder: pooler, heads of pretraining, heads of tasks."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from bert_jax.config import ModelConfig
from bert_jax.models.encoder import Encoder
from bert_jax.models.layers import ACTIVATIONS, Dense, Dropout, LayerNorm, kernel_init, parameter
from bert_jax.parallel.sharding import constrain

HEADS = ('pooler', 'masked_lm', 'next_sentence')  # of pretraining
# Of tasks: labels of a text by the pooled first token, labels of every token, start and end of an
# answer.
TASK_HEADS = ('classifier', 'tagger', 'span')
TABLE = ('vocab', 'embed')


def head_of(path: str) -> str:
    """The part of the model a parameter's path belongs to: 'encoder', or one of HEADS or
    TASK_HEADS."""
    first = path.split('/')[0]
    return 'masked_lm' if first.startswith('masked_lm') else first


class Pooler(nn.Module):
    """tanh of a projection of the first token ([CLS])."""

    config: ModelConfig

    @nn.compact
    def __call__(self, hidden: jax.Array) -> jax.Array:
        """[batch, length, hidden] -> [batch, hidden]"""
        width = self.config.hidden_size
        return jnp.tanh(
            Dense(self.config, (width,), ('embed',), ('features',), name='dense')(hidden[:, 0])
        )


class MaskedLMTransform(nn.Module):
    """The projection, activation and norm between the encoder and the tied decoder."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        config = self.config
        x = Dense(config, (config.hidden_size,), ('embed',), ('features',), name='dense')(x)
        return LayerNorm(config, name='layer_norm')(ACTIVATIONS[config.hidden_act](x))


class HeadedEncoder(nn.Module):
    """The encoder with those of `heads` that a checkpoint has or a task needs.

    num_labels: of the classifier or the tagger.
    """

    config: ModelConfig
    heads: tuple[str, ...] = HEADS
    num_labels: int = 0

    def setup(self) -> None:
        config = self.config
        self.encoder = Encoder(config)
        if 'pooler' in self.heads:
            self.pooler = Pooler(config)
        if 'masked_lm' in self.heads:
            vocab, width = config.vocab_size, config.hidden_size
            self.masked_lm_transform = MaskedLMTransform(config)
            self.masked_lm_bias = parameter(
                self, 'masked_lm_bias', nn.initializers.zeros, (vocab,), ('vocab',)
            )
            if not config.tie_word_embeddings:
                self.masked_lm_decoder = parameter(
                    self, 'masked_lm_decoder', kernel_init(config), (vocab, width), TABLE
                )
        if 'next_sentence' in self.heads:
            self.next_sentence = self._to_scores(2, kernel_init(config))
        self.dropout = Dropout(config.hidden_dropout_prob)
        if 'classifier' in self.heads:
            self.classifier = self._task_head(self.num_labels)
        if 'tagger' in self.heads:
            self.tagger = self._task_head(self.num_labels)
        if 'span' in self.heads:
            self.span = self._task_head(2)

    def _task_head(self, outputs: int) -> Dense:
        # As transformers has it, not cut off: what starts smaller passes smaller gradients to the
        # encoder, which shows in the loss of the first hundred steps.
        return self._to_scores(outputs, nn.initializers.normal(self.config.initializer_range))

    def _to_scores(self, outputs: int, init: nn.initializers.Initializer) -> Dense:
        wide = dataclasses.replace(self.config, dtype='float32')  # bfloat16 would make many equal
        return Dense(wide, (outputs,), ('embed',), ('features',), initializer=init)

    def __call__(
        self,
        input_ids: jax.Array,
        token_type_ids: jax.Array,
        attention_mask: jax.Array,
        masked_lm_positions: jax.Array | None = None,
        deterministic: bool = True,
    ) -> dict[str, jax.Array]:
        """int32[batch, length] three times and masked_lm_positions int32[batch, predictions]
        (None: every position) -> last_hidden_state [batch, length, hidden] and of the heads there
        are pooler_output [batch, hidden],
        prediction_logits float32[batch, predictions or length, vocab],
        seq_relationship_logits float32[batch, 2] (0: B follows A; 1: B is random),
        logits float32[batch, num_labels] or of the tagger [batch, length, num_labels],
        start_logits and end_logits float32[batch, length]"""
        hidden = self.encoder(input_ids, token_type_ids, attention_mask, deterministic)
        outputs = {'last_hidden_state': hidden}
        if 'masked_lm' in self.heads:
            masked, axis = hidden, 'length'
            if masked_lm_positions is not None:
                # Only the masked positions reach the vocabulary, which is most of the head's work.
                masked = jnp.take_along_axis(hidden, masked_lm_positions[:, :, None], axis=1)
                axis = 'predictions'
            transformed = self.masked_lm_transform(constrain(masked, 'batch', axis, 'hidden'))
            logits = self._decode(transformed) + self.masked_lm_bias
            outputs['prediction_logits'] = constrain(logits, 'batch', axis, 'vocab')
        if 'pooler' in self.heads:
            outputs['pooler_output'] = self.pooler(hidden)
        if 'next_sentence' in self.heads:
            outputs['seq_relationship_logits'] = self.next_sentence(outputs['pooler_output'])
        return outputs | self._task_outputs(outputs, deterministic)

    def _task_outputs(
        self, outputs: dict[str, jax.Array], deterministic: bool
    ) -> dict[str, jax.Array]:
        found = {}
        if 'classifier' in self.heads:
            pooled = self.dropout(outputs['pooler_output'], deterministic)
            found['logits'] = self.classifier(pooled)
        if 'tagger' in self.heads:
            hidden = self.dropout(outputs['last_hidden_state'], deterministic)
            found['logits'] = self.tagger(hidden)
        if 'span' in self.heads:
            spans = self.span(outputs['last_hidden_state'])
            found['start_logits'], found['end_logits'] = spans[..., 0], spans[..., 1]
        return found

    def _decode(self, x: jax.Array) -> jax.Array:
        embeddings = self.encoder.embeddings
        tied = self.config.tie_word_embeddings
        return embeddings.attend(x, None if tied else self.masked_lm_decoder)

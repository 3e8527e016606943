"""What stands on the encoder in pretraining: pooler, masked-LM head, next-sentence head."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bert_jax.config import ModelConfig
from bert_jax.models.encoder import Encoder
from bert_jax.models.layers import ACTIVATIONS, Dense, LayerNorm, parameter
from bert_jax.sharding import constrain


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
        return LayerNorm(config, axis='features', name='layer_norm')(
            ACTIVATIONS[config.hidden_act](x)
        )


class PretrainingModel(nn.Module):
    """Encoder, masked-LM head (decoder tied to the word embeddings) and next-sentence head."""

    config: ModelConfig

    def setup(self) -> None:
        config = self.config
        self.encoder = Encoder(config)
        self.pooler = Pooler(config)
        self.masked_lm_transform = MaskedLMTransform(config)
        self.masked_lm_bias = parameter(
            self, 'masked_lm_bias', nn.initializers.zeros, (config.vocab_size,), ('vocab',)
        )
        self.next_sentence = Dense(config, (2,), ('embed',), ('features',))

    def __call__(
        self,
        input_ids: jax.Array,
        token_type_ids: jax.Array,
        attention_mask: jax.Array,
        masked_lm_positions: jax.Array,
        deterministic: bool = True,
    ) -> dict[str, jax.Array]:
        """int32[batch, length] three times and masked_lm_positions int32[batch, predictions] ->
        prediction_logits float32[batch, predictions, vocab],
        seq_relationship_logits float32[batch, 2] (0: B follows A; 1: B is random)"""
        hidden = self.encoder(input_ids, token_type_ids, attention_mask, deterministic)
        # Only the masked positions reach the vocabulary, which is most of the head's work.
        masked = jnp.take_along_axis(hidden, masked_lm_positions[:, :, None], axis=1)
        transformed = self.masked_lm_transform(constrain(masked, 'batch', 'predictions', 'hidden'))
        logits = self.encoder.embeddings.attend(transformed) + self.masked_lm_bias
        return {
            'prediction_logits': constrain(logits, 'batch', 'predictions', 'vocab'),
            'seq_relationship_logits': self.next_sentence(self.pooler(hidden)).astype(jnp.float32),
        }

"""XLNet (Yang et al., 2019): attention to relative positions, in one stream or in two.

In pretraining, the tokens of a row are predicted in a random order, the factorization order of
`EncoderInputs`. The content stream has a state for each token, which depends on the token
and on earlier ones in the order. The query stream has a state for each target, which depends on the
position of the target and on earlier tokens, but not on the target itself. Both streams use the
same parameters and attend to the content stream. In fine-tuning there is only the content stream,
and each token attends to all tokens.

The two streams are one array: the rows of the content stream, and after them those of the targets.
"""

import dataclasses
import functools
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from bert_jax.config import ModelConfig
from bert_jax.models.embeddings import Embeddings
from bert_jax.models.encoder import Encoder
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.layers import (
    ACTIVATIONS,
    VECTOR,
    Dense,
    Dropout,
    LayerNorm,
    dropout,
    kernel_init,
)
from bert_jax.models.parameters import compute_dtype, parameter
from bert_jax.models.relative_attention import Relations, RelativeAttention, relations_of
from bert_jax.parallel.sharding import constrain

MEMORY = 'memory'  # the collection of variables that holds the memory for the next row


class XLNetEmbeddings(Embeddings):
    """Embeddings of words, with dropout, and one vector that all targets start from."""

    def setup(self) -> None:
        config, init = self.config, kernel_init(self.config)
        shape = (config.vocab_size, config.hidden_size)
        self.word_embeddings = parameter(
            self, 'word_embeddings', init, shape, ('vocab', 'embed'), 'table'
        )
        self.mask_embedding = parameter(self, 'mask_embedding', init, shape[1:], VECTOR, 'table')
        self.dropout = Dropout(config.hidden_dropout_prob)

    def __call__(self, inputs: EncoderInputs, deterministic: bool) -> jax.Array:
        """Returns [batch, length + predictions, hidden]."""
        x = self._words(inputs.input_ids)
        if inputs.targets is not None:
            shape = (*inputs.targets.shape, x.shape[-1])
            x = jnp.concatenate([x, jnp.broadcast_to(self.mask_embedding, shape)], axis=1)
        x = x.astype(compute_dtype(self.config.dtype))
        return constrain(self.dropout(x, deterministic), 'batch', 'length', 'hidden')


class XLNetLayer(nn.Module):
    """Relative attention and a feed-forward network, each followed by a normalization."""

    config: ModelConfig
    part = 'layers'

    @nn.compact
    def __call__(
        self, x: jax.Array, relations: Relations, deterministic: bool, memory: jax.Array | None
    ) -> tuple[jax.Array, jax.Array | None]:
        """x[batch, queries, hidden] -> the same shape, and the layer's memory for the next row

        memory: [batch, mem_len, hidden], or None. In that case the second result is None.
        """
        config, remembered = self.config, None
        predictions = 0 if relations.targets is None else relations.targets.shape[1]
        keys = content = x[:, : x.shape[1] - predictions]
        if memory is not None:
            keys = jnp.concatenate([memory, content], axis=1)
            reused = content[:, : config.reuse_len] if config.reuse_len else content
            remembered = jnp.concatenate([memory, reused], axis=1)[:, -memory.shape[1] :]
            remembered = constrain(jax.lax.stop_gradient(remembered), 'batch', 'length', 'hidden')
        drop = functools.partial(Dropout(config.hidden_dropout_prob), deterministic=deterministic)
        y = RelativeAttention(config, name='attention')(x, keys, relations, deterministic)
        x = LayerNorm(config, name='attention_norm')(x + drop(y))
        y = self._feed_forward(x, deterministic)
        x = LayerNorm(config, name='output_norm')(x + drop(y))
        return constrain(x, 'batch', 'length', 'hidden'), remembered

    def _feed_forward(self, x: jax.Array, deterministic: bool) -> jax.Array:
        config, rate = self.config, self.config.hidden_dropout_prob
        y = Dense(config, (config.intermediate_size,), ('embed',), ('mlp',), name='intermediate')(x)
        key = Dropout(rate, name='inner_dropout').key(deterministic)
        y = dropout(ACTIVATIONS[config.hidden_act](y), key, rate, ('batch', 'length', 'mlp'))
        return Dense(config, (config.hidden_size,), ('mlp',), ('embed',), name='output')(y)


class XLNet(Encoder):
    """Embeddings, followed by `num_hidden_layers` layers with relative attention."""

    embeddings_type = XLNetEmbeddings
    layer_type = XLNetLayer

    def setup(self) -> None:
        super().setup()
        self.dropout = Dropout(self.config.hidden_dropout_prob)

    def __call__(self, inputs: EncoderInputs, deterministic: bool = True) -> jax.Array:
        """Returns the last hidden states [batch, length, hidden] or, with `inputs.targets`, those
        of the query stream [batch, predictions, hidden].

        With `inputs.memory`, the collection MEMORY receives the memory for the next rows, an array
        of the same shape.
        """
        relations = relations_of(self.config, inputs)
        rate, key = self.config.hidden_dropout_prob, self.dropout.key(deterministic)
        distances = dropout(relations.distances, key, rate, ('features', 'length', 'hidden'))
        relations = dataclasses.replace(relations, distances=distances)
        x = self.embeddings(inputs, deterministic)
        memory = None if inputs.memory is None else inputs.memory.swapaxes(0, 1)
        x, remembered = self._run(x, relations, deterministic, memory)
        if remembered is not None:
            self.sow(MEMORY, 'hidden', remembered.swapaxes(0, 1))
        if inputs.targets is not None:
            x = x[:, inputs.input_ids.shape[1] :]
        return self.dropout(x, deterministic)


def with_hidden(mask_id: int, batch: Mapping[str, jax.Array]) -> EncoderInputs:
    """Returns the inputs of a batch, with every position as a target.

    No token attends to a token `mask_id`, so the scores at the place of `mask_id` are predictions.
    """
    inputs, (rows, length) = EncoderInputs.from_batch(batch), batch['input_ids'].shape
    order = (inputs.input_ids == mask_id).astype(jnp.int32)
    targets = jnp.broadcast_to(jnp.arange(length), (rows, length))
    return dataclasses.replace(inputs, factorization_order=order, targets=targets)

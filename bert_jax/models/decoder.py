"""The decoder: layers that attend to the tokens before them and to the encoder's hidden states.

A layer has masked self-attention, attention to the source and a feed-forward network, each followed
by a normalization (Vaswani et al., 2017, section 3.1). Except for the attention to the source, a
layer has the parameters of an encoder's layer, so that a decoder can start from an encoder's
weights (Rothe et al., 2020).
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bert_jax.config import ModelConfig
from bert_jax.models.attention import attend, attention_output, queries_keys_values
from bert_jax.models.embeddings import Embeddings
from bert_jax.models.encoder import Layer, layer_stack
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.layers import Dense, Dropout, LayerNorm
from bert_jax.models.parameters import compute_dtype
from bert_jax.parallel.sharding import constrain


class Source(NamedTuple):
    """The results of the encoder that the decoder reads.

    hidden: the hidden states, [batch, source, hidden]. inputs: the encoder's inputs, which say
    which tokens are padding.
    """

    hidden: jax.Array
    inputs: EncoderInputs


class KeysAndValues(NamedTuple):
    """Keys and values that generation keeps, so that each token is computed once.

    own: the keys and the values of the target's tokens so far, each [layers, batch, beams, target,
    heads, head_dim]. source: those of the source, each [layers, batch, source, heads, head_dim], or
    () before the first token. Inside a layer, the arrays have no axis of layers.
    """

    own: Any = ()
    source: Any = ()


NO_CACHE = KeysAndValues()


class MaskedSelfAttention(nn.Module):
    """Self-attention in which a token attends to itself and to the tokens before it."""

    config: ModelConfig

    @nn.compact
    def __call__(
        self, x: jax.Array, cache: Any, position: jax.Array | None, deterministic: bool
    ) -> tuple[jax.Array, Any]:
        """x[batch, length, hidden] -> [batch, length, hidden], and the cache with new tokens

        position: None for whole targets. In generation it is int32[], the place of the tokens
        x[batch, beams, hidden] in the targets, and the cache has the tokens before them.
        """
        config = self.config
        q, k, v = queries_keys_values(config, x)
        rate, unpadded = config.attention_probs_dropout_prob, EncoderInputs.example()
        key = Dropout(rate, name='probs_dropout').key(deterministic)
        if position is None:
            seen = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), bool))
        else:
            cache = jax.tree.map(
                lambda all, new: jax.lax.dynamic_update_index_in_dim(all, new, position, axis=2),
                cache,
                (k, v),
            )
            # The beams of a row do not attend to each other, so each is a row of its own.
            rows = x.shape[0] * x.shape[1]
            k, v = (part.reshape(rows, *part.shape[2:]) for part in cache)
            q = q.reshape(rows, 1, *q.shape[2:])
            seen = jnp.arange(k.shape[1])[None] <= position
        context = attend(q, k, v, unpadded, key, rate, seen)
        context = context.reshape(*x.shape[:2], *context.shape[2:])
        return attention_output(config, context), cache


class CrossAttention(nn.Module):
    """Attention to the source, followed by the residual sum and a normalization.

    An encoder has no such parameters, so they start from random values.
    """

    config: ModelConfig
    part = 'cross_attention'

    @nn.compact
    def __call__(
        self, x: jax.Array, source: Source, cache: Any, deterministic: bool
    ) -> tuple[jax.Array, Any]:
        """x[batch, length, hidden] -> [batch, length, hidden], and keys and values of the source

        cache: the keys and values of the source, or () if they are not computed yet.
        """
        config = self.config
        shape = (config.num_attention_heads, config.hidden_size // config.num_attention_heads)

        def projected(name: str, x: jax.Array) -> jax.Array:
            axes = ('embed',), ('heads', 'head_dim')
            return Dense(config, shape, *axes, use_bias=config.attention_bias, name=name)(x)

        q = projected('query', x)
        k, v = cache or (projected('key', source.hidden), projected('value', source.hidden))
        rate = config.attention_probs_dropout_prob
        key = Dropout(rate, name='probs_dropout').key(deterministic)
        context = attend(q, k, v, source.inputs, key, rate)
        y = Dropout(config.hidden_dropout_prob)(attention_output(config, context), deterministic)
        return LayerNorm(config, name='norm')(x + y), (k, v)


class DecoderLayer(Layer):
    """A layer of the decoder. Its feed-forward network is that of the encoder's layer."""

    part = 'decoder'

    @nn.compact
    def __call__(  # type: ignore[override]
        self,
        x: jax.Array,
        source_and_position: tuple[Source, jax.Array | None],
        deterministic: bool,
        cache: KeysAndValues,
    ) -> tuple[jax.Array, Any]:
        """x[batch, length, hidden] -> the same shape, and the new cache, None without a position

        source_and_position: one argument for both, because the stack of layers passes only one.
        position: see `MaskedSelfAttention`.
        """
        config, (source, position) = self.config, source_and_position
        dropout = Dropout(config.hidden_dropout_prob)
        attention = MaskedSelfAttention(config, name='attention')
        y, own = attention(x, cache.own, position, deterministic)
        if config.attention_output_dropout:
            y = dropout(y, deterministic)
        x = LayerNorm(config, name='attention_norm')(x + y)
        cross = CrossAttention(config, name='cross_attention')
        x, read = cross(x, source, cache.source, deterministic)
        y = dropout(self._feed_forward(x), deterministic)
        x = LayerNorm(config, name='output_norm')(x + y)
        x = constrain(x, 'batch', 'length', 'hidden')
        return x, None if position is None else KeysAndValues(own, read)


class Decoder(nn.Module):
    """Embeddings, followed by layers that are stacked on axis 0 and applied by a scan."""

    config: ModelConfig
    part = 'decoder'

    def setup(self) -> None:
        config = self.config
        self.embeddings = Embeddings(config)
        self.layers = layer_stack(config, DecoderLayer, config.num_decoder_layers)(config)

    def __call__(
        self,
        ids: jax.Array,
        source: Source,
        position: jax.Array | None = None,
        cache: KeysAndValues = NO_CACHE,
        deterministic: bool = True,
    ) -> tuple[jax.Array, Any]:
        """Returns the hidden states of the tokens `ids`, [*ids.shape, hidden], and the new cache.

        ids: int32[batch, length], whole targets; then `position` and the new cache are None. In
        generation `ids` are int32[batch, beams], the tokens at the place `position`, int32[], and
        `cache` has the tokens before them.
        """
        places = None if position is None else jnp.full(ids.shape, position, jnp.int32)
        x = self.embeddings(EncoderInputs(ids, position_ids=places), deterministic)
        return self.layers(x, (source, position), deterministic, cache)


def empty_cache(config: ModelConfig, rows: int, beams: int, length: int) -> KeysAndValues:
    """Returns the cache of `rows` rows before their first token, for targets of `length` tokens."""
    heads = config.num_attention_heads
    shape = (config.num_decoder_layers, rows, beams, length, heads, config.hidden_size // heads)
    zeros = jnp.zeros(shape, compute_dtype(config.dtype))
    return KeysAndValues((zeros, zeros))

"""Word, position and segment embeddings (Devlin et al., 2019, figure 2)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bert_jax.config import ModelConfig
from bert_jax.models.layers import Dropout, LayerNorm, compute_dtype, kernel_init, parameter
from bert_jax.sharding import constrain


class Embeddings(nn.Module):
    config: ModelConfig

    def setup(self) -> None:
        config = self.config

        def table(name: str, rows: int, axis: str) -> jax.Array:
            shape = (rows, config.hidden_size)
            return parameter(self, name, kernel_init(config), shape, (axis, 'embed'))

        self.word_embeddings = table('word_embeddings', config.vocab_size, 'vocab')
        self.position_embeddings = table(
            'position_embeddings', config.max_position_embeddings, 'position'
        )
        self.token_type_embeddings = table(
            'token_type_embeddings', config.type_vocab_size, 'token_type'
        )
        self.layer_norm = LayerNorm(config)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def __call__(
        self, input_ids: jax.Array, token_type_ids: jax.Array, deterministic: bool
    ) -> jax.Array:
        """int32[batch, length] twice -> [batch, length, hidden]"""
        length = input_ids.shape[1]
        words = jnp.take(_whole(self.word_embeddings), input_ids, axis=0)
        # Segments are few: a product with one-hot rows has a dense, not a scattered, gradient.
        segments = jax.nn.one_hot(token_type_ids, self.config.type_vocab_size)
        x = (
            constrain(words, 'batch', 'length', 'hidden')
            + self.position_embeddings[:length]
            + segments @ self.token_type_embeddings
        )
        x = self.dropout(self.layer_norm(x), deterministic)
        return constrain(x, 'batch', 'length', 'hidden')

    def attend(self, x: jax.Array, table: jax.Array | None = None) -> jax.Array:
        """[..., hidden] -> float32[..., vocab]: scores against the word embeddings (the tied
        decoder), or against another table of their shape."""
        dtype = compute_dtype(self.config)
        table = self.word_embeddings if table is None else table
        return jax.lax.dot_general(
            x.astype(dtype),
            _whole(table).astype(dtype),
            (((x.ndim - 1,), (1,)), ((), ())),
            preferred_element_type=jnp.float32,
        )


def _whole(table: jax.Array) -> jax.Array:
    """float32[vocab, hidden], gathered: a look-up in a table split by columns would make the
    compiler replicate the activations instead."""
    return constrain(table, 'vocab', 'hidden')

"""Word, position and segment embeddings (Devlin et al., 2019, figure 2)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bert_jax.config import ModelConfig
from bert_jax.models.layers import Dropout, LayerNorm, compute_dtype, kernel_init, parameter
from bert_jax.parallel.sharding import constrain, scattered


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
        # Where the table is split, a device looks up its columns for all rows of its replica, and
        # they exchange them, and the gradients: two rows sent for each token. The table would be
        # sent once, and its gradient, of which the compiler scatters nothing, twice.
        words = jnp.take(self.word_embeddings, constrain(input_ids, 'replica', 'length'), axis=0)
        words = constrain(words, 'replica', 'length', 'embed')
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
        return _scores(x.astype(dtype), table.astype(dtype))


@jax.custom_vjp
def _scores(x: jax.Array, table: jax.Array) -> jax.Array:
    """[..., hidden] @ [vocab, hidden] -> float32[..., vocab]. All three products take their factors
    in the type of x, and the table's gradient is scattered in it; JAX's own would be float32."""
    return _scores_and_kept(x, table)[0]


def _scores_and_kept(
    x: jax.Array, table: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    whole = constrain(table, 'vocab', 'hidden')
    over = ((x.ndim - 1,), (1,)), ((), ())
    return jax.lax.dot_general(x, whole, over, preferred_element_type=jnp.float32), (x, whole)


def _scores_gradients(
    kept: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, whole = kept
    gradient = gradient.astype(x.dtype)
    rows = tuple(range(x.ndim - 1))
    of_table = jax.lax.dot_general(gradient, x, ((rows, rows), ((), ())))
    return gradient @ whole, scattered(of_table, ('vocab', 'embed'))


_scores.defvjp(_scores_and_kept, _scores_gradients)

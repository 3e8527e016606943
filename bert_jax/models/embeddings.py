"""Word, position and token type embeddings (Devlin et al., 2019, figure 2)."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bert_jax.config import ModelConfig
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.layers import Dense, Dropout, LayerNorm, kernel_init
from bert_jax.models.parameters import compute_dtype, parameter
from bert_jax.parallel.sharding import constrain, reduce_scatter


class Embeddings(nn.Module):
    """The sum of the embeddings, with layer normalization and dropout.

    A model may have no table of positions or of token types. If the tables are narrower than the
    hidden states, a dense layer follows (Lan et al., 2020, section 3.1).
    """

    config: ModelConfig
    part = 'embeddings'

    def setup(self) -> None:
        config = self.config
        self.word_embeddings = self._table('word_embeddings', config.vocab_size, 'vocab')
        if config.position_embedding_type == 'absolute':
            self.position_embeddings = self._table(
                'position_embeddings', config.max_position_embeddings, 'position'
            )
        if config.type_vocab_size:
            self.token_type_embeddings = self._table(
                'token_type_embeddings', config.type_vocab_size, 'token_type'
            )
        self.layer_norm = LayerNorm(config)
        self.dropout = Dropout(config.hidden_dropout_prob)
        if config.embedding_size:
            self.embedding_hidden_mapping_in = Dense(
                config, (config.hidden_size,), ('embed',), ('features',)
            )

    def _table(self, name: str, rows: int, axis: str) -> jax.Array:
        """The parameter `name`, [rows, embedding_width]. axis: the logical axis of its rows."""
        shape = (rows, self.config.embedding_width)
        return parameter(self, name, kernel_init(self.config), shape, (axis, 'embed'), 'table')

    def __call__(self, inputs: EncoderInputs, deterministic: bool) -> jax.Array:
        """Returns [batch, length, hidden]."""
        x = self._words(inputs.input_ids)
        if self.config.position_embedding_type in ('absolute', 'sinusoidal'):
            x = x + self._positions(inputs)
        if self.config.type_vocab_size:
            x = x + self._token_types(inputs)
        x = self.dropout(self.layer_norm(x), deterministic)
        if self.config.embedding_size:
            x = self.embedding_hidden_mapping_in(x)
        return constrain(x, 'batch', 'length', 'hidden')

    def _words(self, input_ids: jax.Array) -> jax.Array:
        # Under fsdp each device holds some columns of the table. It looks up those columns for
        # every token of its replica, and an all-to-all brings the pieces together, once in each
        # direction. Gathering the table instead would also all-reduce its whole gradient, because
        # XLA does not turn that into a reduce-scatter.
        ids = constrain(input_ids, 'batch_over_data', 'length')
        words = jnp.take(self.word_embeddings, ids, axis=0)
        words = constrain(words, 'batch_over_data', 'length', 'embed')
        return constrain(words, 'batch', 'length', 'hidden')

    def _positions(self, inputs: EncoderInputs) -> jax.Array:
        config, first = self.config, self.config.position_offset
        table: jax.Array
        if config.position_embedding_type == 'sinusoidal':
            table = jnp.asarray(sinusoids(config.max_position_embeddings, config.embedding_width))
        else:
            table = self.position_embeddings
        if inputs.position_ids is None:
            return table[first : first + inputs.input_ids.shape[1]]
        positions = inputs.position_ids + first if first else inputs.position_ids
        return jnp.take(table, positions, axis=0)

    def _token_types(self, inputs: EncoderInputs) -> jax.Array:
        if inputs.token_type_ids is None:
            return self.token_type_embeddings[0]
        # There are few types, so a product with one-hot rows is cheap. Its gradient is a matrix
        # product, while that of a look-up would be a scatter.
        types = jax.nn.one_hot(inputs.token_type_ids, self.config.type_vocab_size)
        return types @ self.token_type_embeddings

    def attend(self, x: jax.Array, table: jax.Array | None = None) -> jax.Array:
        """Returns the scores of x[..., hidden] against each word, float32[..., vocab].

        table: the table of an untied decoder, in place of the word embeddings, with their shape.
        """
        dtype = compute_dtype(self.config.dtype)
        table = self.word_embeddings if table is None else table
        return _scores(x.astype(dtype), table.astype(dtype))


@functools.cache
def sinusoids(rows: int, width: int) -> np.ndarray:
    """The fixed table of positions, float32[rows, width] (Vaswani et al., 2017, section 3.5).

    Sines are in the even columns and cosines in the odd ones.
    """
    column = np.arange(width)
    angles = np.arange(rows)[:, None] / np.power(10000, 2 * (column // 2) / width)
    return np.where(column % 2, np.cos(angles), np.sin(angles)).astype(np.float32)


@jax.custom_vjp
def _scores(x: jax.Array, table: jax.Array) -> jax.Array:
    """[..., hidden] @ [vocab, hidden] -> float32[..., vocab]

    The forward product and the two backward products have inputs of the type of x. The gradient of
    the table is reduce-scattered in this type, too; JAX's own gradient would be float32.
    """
    return _scores_forward(x, table)[0]


def _scores_forward(x: jax.Array, table: jax.Array) -> tuple[jax.Array, tuple]:
    gathered = constrain(table, 'vocab', 'hidden')
    contracted = ((x.ndim - 1,), (1,)), ((), ())
    scores = jax.lax.dot_general(x, gathered, contracted, preferred_element_type=jnp.float32)
    return scores, (x, gathered)


def _scores_backward(residuals: tuple, grad: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, table = residuals
    grad = grad.astype(x.dtype)
    rows = tuple(range(x.ndim - 1))
    table_grad = jax.lax.dot_general(grad, x, ((rows, rows), ((), ())))
    return grad @ table, reduce_scatter(table_grad, ('vocab', 'embed'))


_scores.defvjp(_scores_forward, _scores_backward)

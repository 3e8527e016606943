"""The inputs of an encoder."""

from collections.abc import Mapping

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class EncoderInputs:
    """A batch of rows of tokens, int32[batch, length] each.

    input_ids: the tokens. token_type_ids: the text of a pair that a token belongs to, 0 or 1; None
    means 0 everywhere. position_ids: None means 0, 1, 2, ... from the start of each row.
    segment_ids: 1, 2, ... for the sequences in a row and 0 for padding; None means that there is no
    padding. packed: whether a row may hold more than one sequence. Then tokens attend only to
    tokens of their own sequence. It is static, so that rows of one sequence use a simpler, faster
    mask.

    The other fields are for XLNet (`models.xlnet`). factorization_order: the number of each token
    in the order in which the tokens of the row are predicted; a token attends to tokens whose
    number is not greater than its own. None means all tokens. targets: int32[batch, predictions],
    the positions that are predicted. is_reversed: int32[batch], 1 for rows whose tokens run
    backwards. memory: [batch, layers, mem_len, hidden], the hidden states of the text before the
    row that are inputs of each layer. memory_length: int32[batch], how many of them, counted from
    the end, belong to that text.
    """

    input_ids: jax.Array
    token_type_ids: jax.Array | None = None
    position_ids: jax.Array | None = None
    segment_ids: jax.Array | None = None
    packed: bool = flax.struct.field(pytree_node=False, default=False)
    factorization_order: jax.Array | None = None
    targets: jax.Array | None = None
    is_reversed: jax.Array | None = None
    memory: jax.Array | None = None
    memory_length: jax.Array | None = None

    @classmethod
    def example(cls) -> 'EncoderInputs':
        """Small inputs to create parameters with; the parameters do not depend on them."""
        return cls(jnp.zeros((1, 8), jnp.int32))

    @classmethod
    def from_batch(cls, batch: Mapping[str, jax.Array]) -> 'EncoderInputs':
        """The inputs among the arrays of a batch, under the names that BERT's batches have.

        A batch with `segment_ids` is packed. Other batches have one sequence in each row, and their
        `attention_mask`, 1 for tokens and 0 for padding, is used as segment_ids.
        """
        packed = 'segment_ids' in batch
        return cls(
            batch['input_ids'],
            batch.get('token_type_ids'),
            batch.get('position_ids'),
            batch['segment_ids'] if packed else batch.get('attention_mask'),
            packed,
            batch.get('factorization_order'),
            batch['masked_lm_positions'] if 'factorization_order' in batch else None,
            batch.get('is_reversed'),
            batch.get('memory'),
            batch.get('memory_length'),
        )

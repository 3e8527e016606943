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
    """

    input_ids: jax.Array
    token_type_ids: jax.Array | None = None
    position_ids: jax.Array | None = None
    segment_ids: jax.Array | None = None
    packed: bool = flax.struct.field(pytree_node=False, default=False)

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
        )

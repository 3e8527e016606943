"""The encoder: transformer layers whose parameters are stacked on axis 0, applied by a scan."""

import functools
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bert_jax.config import ModelConfig
from bert_jax.models.attention import SelfAttention
from bert_jax.models.embeddings import Embeddings
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.layers import ACTIVATIONS, Dense, Dropout, LayerNorm
from bert_jax.parallel.mesh import platform
from bert_jax.parallel.sharding import constrain

REMAT_POLICIES: dict[str, Any] = {
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    'full': jax.checkpoint_policies.nothing_saveable,
}


class Layer(nn.Module):
    """One transformer layer: self-attention and a feed-forward network.

    Each of the two is followed by a normalization or, with `pre_norm`, preceded by one. With
    `final_norm`, the layer below computes the normalization that precedes attention. Then the carry
    of the scan is a pair: the sum of all outputs, and its normalization.
    """

    config: ModelConfig
    part = 'layers'

    @nn.compact
    def __call__(
        self, carry: Any, inputs: EncoderInputs, deterministic: bool, is_local: jax.Array | None
    ) -> tuple[Any, None]:
        """carry [batch, length, hidden] -> the same shape, and None (the scan stacks no outputs)

        is_local: see `SelfAttention`.
        """
        config = self.config
        dropout = Dropout(config.hidden_dropout_prob)
        attention_norm = LayerNorm(config, name='attention_norm')
        output_norm = LayerNorm(config, name='output_norm')

        def attend(x: jax.Array) -> jax.Array:
            y = SelfAttention(config, name='attention')(x, inputs, deterministic, is_local)
            return dropout(y, deterministic) if config.attention_output_dropout else y

        def feed_forward(x: jax.Array) -> jax.Array:
            return dropout(self._feed_forward(x), deterministic)

        x: jax.Array
        out: Any
        if not config.pre_norm:
            x = attention_norm(carry + attend(carry))
            out = output_norm(x + feed_forward(x))
        elif not config.final_norm:
            x = carry + attend(attention_norm(carry))
            out = x + feed_forward(output_norm(x))
        else:
            x, normalized = carry
            x = x + attend(normalized)
            x = x + feed_forward(attention_norm(x))
            out = x, output_norm(x)
        if config.layerdrop and not deterministic:
            kept = jax.random.bernoulli(self.make_rng('dropout'), 1 - config.layerdrop)
            out = jax.tree.map(lambda new, old: jnp.where(kept, new, old), out, carry)
        return jax.tree.map(lambda x: constrain(x, 'batch', 'length', 'hidden'), out), None

    def _feed_forward(self, x: jax.Array) -> jax.Array:
        config = self.config
        activation: str | None = config.hidden_act
        dense: Any = functools.partial(Dense, config, use_bias=config.mlp_bias)
        if config.gated_mlp:
            shape = (2, config.intermediate_size)
            y = dense(shape, ('embed',), ('gate', 'mlp'), name='intermediate')(x)
            y = ACTIVATIONS[config.hidden_act](y[:, :, 0]) * y[:, :, 1]
            activation = None
        else:
            y = dense((config.intermediate_size,), ('embed',), ('mlp',), name='intermediate')(x)
        return dense(
            (config.hidden_size,), ('mlp',), ('embed',), activation=activation, name='output'
        )(y)


def layer_stack(config: ModelConfig, layer: Any, layers: int) -> Any:
    """Returns the class of a module with `layers` layers, whose parameters are stacked on axis 0.
    layer: the class of a layer."""
    # On CPU a loop copies the saved activations of each layer into one array and out of it again,
    # which takes a tenth of a step. On other devices fast compilation is more important.
    rolled = platform() != 'cpu' or config.remat != 'none'
    unroll = min(config.scan_unroll or (1 if rolled else layers), layers)
    if config.remat != 'none':
        layer = nn.remat(
            layer,
            # Inside a loop XLA cannot merge the recomputation with the forward pass.
            prevent_cse=unroll >= layers,
            static_argnums=(3,),
            policy=REMAT_POLICIES[config.remat],
        )
    in_axes = (nn.broadcast, nn.broadcast, 0)
    stack: Any = nn.scan(
        layer,
        variable_axes={'params': 0},
        split_rngs={'params': True, 'dropout': True},
        in_axes=in_axes,
        length=1 if config.share_layers else layers,
        unroll=1 if config.share_layers else unroll,
        metadata_params={nn.PARTITION_NAME: 'layers'},
    )
    if config.share_layers:
        # The stack has one layer. It is applied several times, each time with different random
        # bits for dropout.
        stack = nn.scan(
            stack,
            variable_broadcast='params',
            split_rngs={'params': False, 'dropout': True},
            in_axes=in_axes,
            length=layers,
            unroll=unroll,
        )
    return stack


class Encoder(nn.Module):
    """Embeddings, followed by `num_hidden_layers` layers.

    frozen_layers: the number of lowest layers whose gradients, like those of the embeddings, are 0
    and are not computed; None computes all gradients.
    """

    config: ModelConfig
    frozen_layers: int | None = None
    embeddings_type: ClassVar[type[Embeddings]] = Embeddings
    layer_type: ClassVar[type[nn.Module]] = Layer

    def setup(self) -> None:
        config = self.config
        self.embeddings = self.embeddings_type(config)
        self.layers = layer_stack(config, self.layer_type, config.num_hidden_layers)(config)

    def __call__(self, inputs: EncoderInputs, deterministic: bool = True) -> jax.Array:
        """Returns the last hidden state, [batch, length, hidden]."""
        config = self.config
        is_local: jax.Array | None = None
        if config.local_attention:
            number = np.arange(config.num_hidden_layers)
            is_local = jnp.asarray(number % config.global_attn_every_n_layers > 0)
            is_local = is_local[:, None] if config.share_layers else is_local
        x = self.embeddings(inputs, deterministic)
        paired = config.final_norm
        carry, _ = self._run((x, x) if paired else x, inputs, deterministic, is_local)
        return carry[1] if paired else carry

    def _run(self, carry: Any, inputs: Any, deterministic: bool, of_layers: Any) -> tuple[Any, Any]:
        """Returns the carry after all layers, and the second results of the layers, stacked.

        of_layers: an argument that differs between layers, stacked on axis 0, or None.
        """
        count = self.config.num_hidden_layers
        frozen = None if self.is_initializing() else self.frozen_layers
        if frozen is not None:
            carry = jax.lax.stop_gradient(carry)
        if frozen is None or not 0 < frozen < count:
            return self.layers(carry, inputs, deterministic, of_layers)

        def part(first: int, last: int, carry: Any) -> Any:
            """Returns the carry after the layers first to last - 1, and their second results."""
            given = self.layers.variables['params'], of_layers
            params, own = jax.tree.map(lambda x: x[first:last], given)
            rngs = {} if deterministic else {'dropout': self.make_rng('dropout')}
            layers = layer_stack(self.config, self.layer_type, last - first)(
                self.config, parent=None
            )
            return layers.apply({'params': params}, carry, inputs, deterministic, own, rngs=rngs)

        carry, lower = part(0, frozen, carry)
        carry, upper = part(frozen, count, jax.lax.stop_gradient(carry))
        return carry, jax.tree.map(lambda *parts: jnp.concatenate(parts), lower, upper)

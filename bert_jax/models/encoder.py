"""The encoder: post-norm transformer layers, stacked on axis 0 of their parameters and scanned."""

from typing import Any

import flax.linen as nn
import jax

from bert_jax.config import ModelConfig
from bert_jax.models.attention import SelfAttention
from bert_jax.models.embeddings import Embeddings
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.layers import Dense, Dropout, LayerNorm
from bert_jax.parallel.mesh import platform
from bert_jax.parallel.sharding import constrain

REMAT_POLICIES: dict[str, Any] = {
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    'full': jax.checkpoint_policies.nothing_saveable,
}


class Layer(nn.Module):
    """One transformer layer: self-attention and a feed-forward network."""

    config: ModelConfig
    part = 'layers'

    @nn.compact
    def __call__(
        self, x: jax.Array, inputs: EncoderInputs, deterministic: bool
    ) -> tuple[jax.Array, None]:
        """x[batch, length, hidden] -> the same shape, and None (the scan stacks no outputs)"""
        config = self.config
        dropout = Dropout(config.hidden_dropout_prob)
        y = SelfAttention(config, name='attention')(x, inputs, deterministic)
        x = LayerNorm(config, name='attention_norm')(x + dropout(y, deterministic))
        y = Dense(config, (config.intermediate_size,), ('embed',), ('mlp',), name='intermediate')(x)
        y = Dense(
            config,
            (config.hidden_size,),
            ('mlp',),
            ('embed',),
            activation=config.hidden_act,
            name='output',
        )(y)
        x = LayerNorm(config, name='output_norm')(x + dropout(y, deterministic))
        return constrain(x, 'batch', 'length', 'hidden'), None


class Encoder(nn.Module):
    """Embeddings, followed by `num_hidden_layers` layers."""

    config: ModelConfig

    def setup(self) -> None:
        config = self.config
        layer: Any = Layer
        unroll = config.scan_unroll or self._default_unroll()
        if config.remat != 'none':
            layer = nn.remat(
                Layer,
                # Inside a loop XLA cannot merge the recomputation with the forward pass.
                prevent_cse=unroll >= config.num_hidden_layers,
                static_argnums=(3,),
                policy=REMAT_POLICIES[config.remat],
            )
        self.embeddings = Embeddings(config)
        self.layers = nn.scan(
            layer,
            variable_axes={'params': 0},
            split_rngs={'params': True, 'dropout': True},
            in_axes=(nn.broadcast, nn.broadcast),
            length=config.num_hidden_layers,
            unroll=unroll,
            metadata_params={nn.PARTITION_NAME: 'layers'},
        )(config)

    def _default_unroll(self) -> int:
        # On CPU a loop copies the saved activations of each layer into one array and out of it
        # again, which takes a tenth of a step. On other devices fast compilation is more important.
        rolled = platform() != 'cpu' or self.config.remat != 'none'
        return 1 if rolled else self.config.num_hidden_layers

    def __call__(self, inputs: EncoderInputs, deterministic: bool = True) -> jax.Array:
        """Returns the last hidden state, [batch, length, hidden]."""
        x = self.embeddings(inputs, deterministic)
        x, _ = self.layers(x, inputs, deterministic)
        return x

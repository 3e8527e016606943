"""The encoder: post-norm transformer layers, stacked on axis 0 of their parameters and scanned."""

from typing import Any

import flax.linen as nn
import jax

from bert_jax.config import ModelConfig
from bert_jax.models.attention import SelfAttention
from bert_jax.models.embeddings import Embeddings
from bert_jax.models.layers import Dense, Dropout, LayerNorm
from bert_jax.parallel.sharding import constrain, platform

REMAT_POLICIES: dict[str, Any] = {
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    'full': jax.checkpoint_policies.nothing_saveable,
}


class Layer(nn.Module):
    config: ModelConfig

    @nn.compact
    def __call__(
        self, x: jax.Array, attention_mask: jax.Array, deterministic: bool
    ) -> tuple[jax.Array, None]:
        """x[batch, length, hidden] -> the same shape, and None (nothing for the scan to stack)"""
        config = self.config
        dropout = Dropout(config.hidden_dropout_prob)
        y = SelfAttention(config, name='attention')(x, attention_mask, deterministic)
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
    """Embeddings and layers."""

    config: ModelConfig

    def setup(self) -> None:
        config = self.config
        layer: Any = Layer
        unroll = config.scan_unroll or self._unroll()
        if config.remat != 'none':
            layer = nn.remat(
                Layer,
                prevent_cse=unroll >= config.num_hidden_layers,  # in a loop nothing is common
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

    def _unroll(self) -> int:
        # On CPU a rolled loop copies what each layer leaves for the backward pass into one array
        # and out again, a tenth of a step; elsewhere the shorter compilation counts for more.
        rolled = platform() != 'cpu' or self.config.remat != 'none'
        return 1 if rolled else self.config.num_hidden_layers

    def __call__(
        self,
        input_ids: jax.Array,
        token_type_ids: jax.Array,
        attention_mask: jax.Array,
        deterministic: bool = True,
    ) -> jax.Array:
        """int32[batch, length] three times -> last hidden state [batch, length, hidden]"""
        x = self.embeddings(input_ids, token_type_ids, deterministic)
        x, _ = self.layers(x, attention_mask, deterministic)
        return x

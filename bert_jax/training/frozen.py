"""Parameters that training does not change: config.optim.freeze."""

from typing import Any

import jax
import jax.numpy as jnp

from bert_jax.config import Config
from bert_jax.models.parameters import ParameterInfo


def frozen_layers(config: Config) -> int | None:
    """The number of lowest layers that are frozen, together with the embeddings; None if nothing
    is frozen."""
    freeze = config.optim.freeze
    if not freeze:
        return None
    return 0 if freeze == 'embeddings' else int(freeze)


def is_frozen(config: Config, fact: ParameterInfo) -> bool:
    """Returns whether a whole parameter is frozen, so that the optimizer has no state for it."""
    layers = frozen_layers(config)
    if layers is None:
        return False
    everything = layers >= config.model.num_hidden_layers
    return fact.part == 'embeddings' or (fact.part == 'layers' and everything)


def frozen(config: Config, info: Any, params: Any) -> Any:
    """`params` with stopped gradients for frozen parameters."""
    layers = frozen_layers(config)
    if layers is None:
        return params

    def stopped(fact: ParameterInfo, value: jax.Array) -> jax.Array:
        if is_frozen(config, fact):
            return jax.lax.stop_gradient(value)
        if fact.part == 'layers' and layers:
            lowest = jax.lax.stop_gradient(value[:layers])
            return jnp.concatenate([lowest, value[layers:]])
        return value

    return jax.tree.map(stopped, info, params)


def without_frozen(config: Config, info: Any, updates: Any) -> Any:
    """`updates` with 0 for frozen parameters, even if the optimizer adds something, such as weight
    decay."""
    layers = frozen_layers(config)

    def kept(fact: ParameterInfo, update: jax.Array) -> jax.Array:
        if is_frozen(config, fact):
            return jnp.zeros_like(update)
        if fact.part == 'layers' and layers:
            return update.at[:layers].set(0.0)
        return update

    return jax.tree.map(kept, info, updates)

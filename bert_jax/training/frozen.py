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


def without_frozen(config: Config, info: Any, changes: Any) -> Any:
    """`changes`, which are gradients or updates, with 0 for frozen parameters."""
    layers = frozen_layers(config)

    def kept(fact: ParameterInfo, change: jax.Array) -> jax.Array:
        if is_frozen(config, fact):
            return jnp.zeros_like(change)
        if fact.part == 'layers' and layers:
            return change.at[:layers].set(0.0)
        return change

    return jax.tree.map(kept, info, changes)

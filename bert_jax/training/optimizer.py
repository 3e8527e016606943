"""The optimizer: clipping, AdamW or LAMB and its learning-rate schedule, from the configuration."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from bert_jax.config import Config, OptimConfig
from bert_jax.parallel.sharding import is_boxed, path_name


def make_schedule(config: Config) -> optax.Schedule:
    """Step -> learning rate: linear warm-up from 0, then by `optim.schedule` over all phases."""
    optim = config.optim
    rest = max(config.schedule_steps - optim.warmup_steps, 1)
    peak, end = optim.learning_rate, optim.end_learning_rate
    warm = max(optim.warmup_steps, 1)
    after = {
        'linear': lambda: optax.linear_schedule(peak, end, rest),
        'cosine': lambda: optax.cosine_decay_schedule(peak, rest, end / peak if peak else 0.0),
        'constant': lambda: optax.constant_schedule(peak),
        'polynomial': lambda: optax.polynomial_schedule(peak, end, optim.power, rest),
        'inverse_sqrt': lambda: lambda step: peak * jnp.sqrt(warm / (jnp.maximum(step, 0) + warm)),
    }[optim.schedule]()
    if not optim.warmup_steps:
        return after
    return optax.join_schedules(
        [optax.linear_schedule(0.0, peak, optim.warmup_steps), after], [optim.warmup_steps]
    )


def decay_mask(params: Any) -> Any:
    """True for what weight decay applies to: all but biases and layer norms. By name, because the
    number of dimensions tells nothing where layers are stacked."""

    def decays(path: tuple, _: Any) -> bool:
        name = path_name(path)
        return not name.endswith('bias') and 'norm' not in name

    return jax.tree_util.tree_map_with_path(decays, params, is_leaf=is_boxed)


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """Clipping by global norm, Adam, decoupled weight decay, and for LAMB the trust ratio.

    The step multiplies the result by the learning rate (`make_schedule`), which is a function of
    the step number alone and so needs no state.
    """
    optim = config.optim
    layers, decay = config.model.num_hidden_layers, optim.layer_decay
    by_layer = [_scale_by_layer(decay, layers)] if decay < 1 else []
    clip = [optax.clip_by_global_norm(optim.grad_clip_norm)] if optim.grad_clip_norm else []
    return optax.chain(
        *clip,
        _scale_by_adam(optim),
        optax.add_decayed_weights(optim.weight_decay, decay_mask),
        *([_scale_by_trust_ratio()] if optim.name == 'lamb' else []),
        *by_layer,
    )


def _scale_by_trust_ratio() -> optax.GradientTransformation:
    """Each layer's update scaled to the norm of its weights (You et al., 2020, algorithm 2), except
    where nothing decays; the projections to queries, keys and values each by its own."""
    one = optax.scale_by_trust_ratio()

    def ratio(update: jax.Array, param: jax.Array) -> jax.Array:
        return one.update(update, optax.EmptyState(), param)[0]

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        def by_layer(path: tuple, decays: bool, update: jax.Array, param: jax.Array) -> jax.Array:
            name = path_name(path)
            scaled = ratio
            if 'query_key_value' in name:
                scaled = jax.vmap(scaled, in_axes=-2, out_axes=-2)
            if name.startswith('encoder/layers/'):  # axis 0 is the layer
                scaled = jax.vmap(scaled)
            return scaled(update, param) if decays else update

        mask = decay_mask(params)
        return jax.tree_util.tree_map_with_path(by_layer, mask, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _scale_by_layer(decay: float, layers: int) -> optax.GradientTransformation:
    """Layer-wise learning rates (Howard and Ruder, 2018, section 3.2): `decay` ** the number of
    layers above; what stands on the encoder has the whole rate, the embeddings the least."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        def scaled(path: tuple, x: jax.Array) -> jax.Array:
            name = path_name(path)
            if name.startswith('encoder/embeddings/'):
                return x * decay ** (layers + 1)
            if name.startswith('encoder/layers/'):  # axis 0 is the layer
                depth = jnp.arange(layers, 0, -1).reshape(-1, *[1] * (x.ndim - 1))
                return x * decay**depth
            return x

        return jax.tree_util.tree_map_with_path(scaled, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _scale_by_adam(optim: OptimConfig) -> optax.GradientTransformation:
    adam = optax.scale_by_adam(optim.beta1, optim.beta2, optim.eps)
    if optim.bias_correction:
        return adam

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        _, state = adam.update(grads, state, params)
        return jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + optim.eps), state.mu, state.nu), state

    return optax.GradientTransformation(adam.init, update)

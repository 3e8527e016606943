"""The optimizer: clipping, AdamW or LAMB, the learning-rate schedule, and frozen parameters.

The update of a parameter depends on its facts (`models.parameters`), which are passed as a tree.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bert_jax.config import Config, OptimConfig
from bert_jax.models.heads import DECODER, TASK_HEADS
from bert_jax.models.parameters import ParameterInfo

# The parts of a model that no pretrained encoder has. The decoder's layers are not here, because
# they start from an encoder's layers.
FRESH_PARTS = ({*TASK_HEADS} - {DECODER}) | {'cross_attention'}


def make_schedule(config: Config) -> optax.Schedule:
    """Returns step -> learning rate: linear warm-up from 0, then `optim.schedule`."""
    optim = config.optim
    decay_steps = max(config.schedule_steps - optim.warmup_steps, 1)
    peak, end = optim.learning_rate, optim.end_learning_rate
    warmup = max(optim.warmup_steps, 1)
    schedules: dict[str, Callable[[], optax.Schedule]] = {
        'linear': lambda: optax.linear_schedule(peak, end, decay_steps),
        'cosine': lambda: optax.cosine_decay_schedule(peak, decay_steps, end / peak if peak else 0),
        'constant': lambda: optax.constant_schedule(peak),
        'polynomial': lambda: optax.polynomial_schedule(peak, end, optim.power, decay_steps),
        'inverse_sqrt': lambda: (
            lambda step: peak * jnp.sqrt(warmup / (jnp.maximum(step, 0) + warmup))
        ),
    }
    schedule = schedules[optim.schedule]()
    if not optim.warmup_steps:
        return schedule
    return optax.join_schedules(
        [optax.linear_schedule(0.0, peak, optim.warmup_steps), schedule], [optim.warmup_steps]
    )


def make_optimizer(config: Config, info: Any) -> optax.GradientTransformation:
    """Clipping by global norm, Adam, decoupled weight decay, and the trust ratio of LAMB.

    info: the tree of `ParameterInfo`. The training step multiplies the updates by the learning
    rate of `make_schedule`, which depends on the step number only and needs no state.
    """
    optim, everything = config.optim, info
    trained = jax.tree.map(lambda fact: not is_frozen(config, fact), info)
    # The optimizer has no state for frozen parameters.
    info = jax.tree.map(lambda fact, keep: fact if keep else optax.MaskedNode(), info, trained)
    layers, decay = config.model.num_hidden_layers, optim.layer_decay
    clip = [optax.clip_by_global_norm(optim.grad_clip_norm)] if optim.grad_clip_norm else []
    decayed = jax.tree.map(lambda fact: fact.decays, info)
    chain = optax.chain(
        *clip,
        _scale_by_adam(optim),
        optax.add_decayed_weights(optim.weight_decay, decayed),
        *([_scale_by_trust_ratio(info)] if optim.name == 'lamb' else []),
        *([_scale_by_layer(decay, layers, info)] if decay < 1 else []),
        *([_scale_fresh(optim, info)] if optim.fresh_learning_rate else []),
    )
    if not optim.freeze:
        return chain
    # The optimizer may add something to a gradient of 0, such as weight decay.
    zeros = optax.stateless(lambda updates, _: without_frozen(config, everything, updates))
    return optax.chain(optax.masked(chain, trained), zeros)


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


def _scale_by_trust_ratio(info: Any) -> optax.GradientTransformation:
    """Scales each layer's update to the norm of its weights (You et al., 2020, algorithm 2).

    The updates of parameters without weight decay do not change. Each of the projections to
    queries, keys and values has its own trust ratio.
    """
    trust_ratio = optax.scale_by_trust_ratio()

    def scale(update: jax.Array, param: jax.Array) -> jax.Array:
        return trust_ratio.update(update, optax.EmptyState(), param)[0]

    def scale_by_matrix(fact: ParameterInfo, update: jax.Array, param: jax.Array) -> jax.Array:
        if not fact.decays:
            return update
        matrix_scale = scale
        for name in ('qkv', 'layers'):
            if name in fact.axes:
                axis = fact.axes.index(name) - (len(fact.axes) if name == 'qkv' else 0)
                matrix_scale = jax.vmap(matrix_scale, in_axes=axis, out_axes=axis)
        return matrix_scale(update, param)

    return optax.stateless(functools.partial(jax.tree.map, scale_by_matrix, info))


def _scale_by_layer(decay: float, layers: int, info: Any) -> optax.GradientTransformation:
    """Layer-wise learning rates (Howard and Ruder, 2018, section 3.2).

    The rate of a layer is `decay` times the rate of the layer above it. Heads have the full rate,
    and the embeddings have the lowest.
    """

    def scale(fact: ParameterInfo, update: jax.Array, _: Any) -> jax.Array:
        if fact.part == 'embeddings':
            return update * decay ** (layers + 1)
        if fact.part == 'layers':
            assert fact.axes[0] == 'layers', fact
            depth = jnp.arange(layers, 0, -1).reshape(-1, *[1] * (update.ndim - 1))
            return update * decay**depth
        return update

    return optax.stateless(functools.partial(jax.tree.map, scale, info))


def _scale_fresh(optim: OptimConfig, info: Any) -> optax.GradientTransformation:
    """Gives parameters that no pretrained encoder has the peak `optim.fresh_learning_rate`."""
    factor = optim.fresh_learning_rate / optim.learning_rate if optim.learning_rate else 0.0

    def scale(fact: ParameterInfo, update: jax.Array, _: Any) -> jax.Array:
        return update * factor if fact.part in FRESH_PARTS else update

    return optax.stateless(functools.partial(jax.tree.map, scale, info))


def _scale_by_adam(optim: OptimConfig) -> optax.GradientTransformation:
    adam = optax.scale_by_adam(optim.beta1, optim.beta2, optim.eps)
    if optim.bias_correction:
        return adam

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        _, state = adam.update(grads, state, params)
        return jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + optim.eps), state.mu, state.nu), state

    return optax.GradientTransformation(adam.init, update)

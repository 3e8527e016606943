"""Dense, layer norm, dropout and activations, with logical axis names beside the parameters."""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bert_jax.config import ModelConfig
from bert_jax.parallel.sharding import constrain, platform, scatters


def gelu(x: jax.Array) -> jax.Array:
    """x times the normal distribution function of x (Hendrycks and Gimpel, 2016), in float32. For
    bfloat16 by erf, which takes a quarter of the time of the more exact erfc."""
    if x.dtype == jnp.float32:
        return jax.nn.gelu(x, approximate=False)
    wide = x.astype(jnp.float32)
    return (0.5 * wide * (1 + jax.lax.erf(wide * math.sqrt(0.5)))).astype(x.dtype)


# Norms and biases of the model's width stay whole: to gather one takes longer than to send it.
VECTOR = ('features',)
# Cheap to compute and wide: the backward pass recomputes their insides from their input.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    'gelu': jax.checkpoint(gelu, prevent_cse=False),
    'gelu_new': jax.checkpoint(lambda x: jax.nn.gelu(x, approximate=True), prevent_cse=False),
    'relu': jax.nn.relu,
}


def compute_dtype(config: ModelConfig) -> jnp.dtype:
    """The type activations are computed in; parameters stay float32."""
    if config.dtype == 'auto':
        # XLA's CPU backend emulates bfloat16, slowly.
        return jnp.dtype('float32' if platform() == 'cpu' else 'bfloat16')
    return jnp.dtype(config.dtype)


def kernel_init(config: ModelConfig) -> nn.initializers.Initializer:
    """google-research/bert's: cut off at two standard deviations, which leaves 0.88 of one."""
    return nn.initializers.truncated_normal(config.initializer_range)


def parameter(
    module: nn.Module,
    name: str,
    init: nn.initializers.Initializer,
    shape: tuple[int, ...],
    axes: tuple[str, ...],
) -> jax.Array:
    """A float32 parameter of `module` with a logical name for each dimension."""
    value: Any = module.param(name, nn.with_logical_partitioning(init, axes), shape, jnp.float32)
    return value


class Dense(nn.Module):
    """x[..., *inputs] @ kernel[*inputs, *outputs] + bias[*outputs], over one or more axes each.

    features: sizes of the output axes; in_axes, out_axes: their logical names. activation: of the
    input; the backward pass has it from its own input, so that no more than that is kept.
    """

    config: ModelConfig
    features: tuple[int, ...]
    in_axes: tuple[str, ...]
    out_axes: tuple[str, ...]
    activation: str | None = None
    initializer: nn.initializers.Initializer | None = None  # of the kernel

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        contracted = len(self.in_axes)
        shape = (*x.shape[-contracted:], *self.features)
        axes = (*self.in_axes, *self.out_axes)
        init = self.initializer or kernel_init(self.config)
        kernel = scatters(parameter(self, 'kernel', init, shape, axes), axes)
        bias_axes = VECTOR if self.out_axes == ('embed',) else self.out_axes
        bias = parameter(self, 'bias', nn.initializers.zeros, self.features, bias_axes)
        dtype = compute_dtype(self.config)
        # One plain matrix product: with more dimensions its gradient comes out transposed.
        rows, width = x.shape[:-contracted], math.prod(shape[:contracted])
        activate = ACTIVATIONS[self.activation] if self.activation else lambda x: x

        def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return activate(x) @ kernel

        if self.activation:
            product = jax.checkpoint(product, prevent_cse=False)
        y = product(x.astype(dtype).reshape(*rows, width), kernel.astype(dtype).reshape(width, -1))
        return (y + bias.astype(dtype).reshape(-1)).reshape(*rows, *self.features)


class LayerNorm(nn.Module):
    """Layer norm over the last axis (Ba et al., 2016), computed in float32."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1:]
        scale = parameter(self, 'scale', nn.initializers.ones, width, VECTOR)
        bias = parameter(self, 'bias', nn.initializers.zeros, width, VECTOR)
        return _layer_norm(x, scale, bias, self.config.layer_norm_eps).astype(
            compute_dtype(self.config)
        )


@functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=3)
def _layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, eps: float) -> jax.Array:
    x = x.astype(jnp.float32)
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + eps) * scale + bias


class Dropout(nn.Module):
    """Zeroes each element with probability `rate` and scales the rest by 1 / (1 - rate)."""

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        """x[batch, length, hidden] or [batch, hidden] -> the same shape"""
        axes = ('batch', 'hidden') if x.ndim == 2 else ('batch', 'length', 'hidden')
        return drop(x, _key(self, self.rate, deterministic), self.rate, axes)


class DropoutKey(nn.Module):
    """The key alone, for a function that drops by itself."""

    rate: float

    @nn.compact
    def __call__(self, deterministic: bool) -> jax.Array | None:
        return _key(self, self.rate, deterministic)


def _key(module: nn.Module, rate: float, deterministic: bool) -> jax.Array | None:
    return None if deterministic or rate == 0 else module.make_rng('dropout')


def drop(x: jax.Array, key: jax.Array | None, rate: float, axes: tuple[str, ...]) -> jax.Array:
    """x with a share of `rate` of its elements zero; all of it where there is no key.

    axes: logical names of x's dimensions. The bits are pinned to them: what each chip draws for
    itself hangs on how they are split, and a backward pass that draws anew must get the same.
    The decision takes 16 random bits, half of what a float32 uniform draw takes; the scale is of
    the rate so rounded (to 1 / 65536), which keeps the expectation exact.
    """
    if key is None:
        return x
    dropped = math.floor(rate * 2**16 + 0.5)
    keep = _keep(key, x.shape, axes, dropped)
    scaled = x.astype(jnp.float32) * (2**16 / (2**16 - dropped))  # in bfloat16 it would round
    return jnp.where(keep, scaled.astype(x.dtype), 0)


def _keep(key: jax.Array, shape: tuple[int, ...], axes: tuple[str, ...], dropped: int) -> jax.Array:
    """bool[shape], False for `dropped` of 2**16; two decisions from each 32-bit draw (a generator
    makes no smaller ones)."""
    *rest, last = shape
    bits = constrain(jax.random.bits(key, (*rest, -(-last // 2)), jnp.uint32), *axes)
    if platform() == 'tpu':  # XLA would write out a word for each half, in order to unpack it
        keep = jnp.concatenate([(bits & 0xFFFF) >= dropped, (bits >> 16) >= dropped], axis=-1)
    else:
        halves = jax.lax.bitcast_convert_type(bits, jnp.uint16)
        keep = (halves >= jnp.uint16(dropped)).reshape(*rest, -1)
    return keep[..., :last]

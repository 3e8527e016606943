"""Dense layers, layer normalization, dropout and activations."""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from bert_jax.config import ModelConfig
from bert_jax.models.parameters import compute_dtype, parameter
from bert_jax.parallel.mesh import platform
from bert_jax.parallel.sharding import constrain, reduce_scatter_grad


def gelu(x: jax.Array) -> jax.Array:
    """x times the cumulative normal distribution at x (Hendrycks and Gimpel, 2016), in float32.

    For bfloat16 it uses erf, which takes a quarter of the time of the more exact erfc.
    """
    if x.dtype == jnp.float32:
        return jax.nn.gelu(x, approximate=False)
    wide = x.astype(jnp.float32)
    return (0.5 * wide * (1 + jax.lax.erf(wide * math.sqrt(0.5)))).astype(x.dtype)


def gelu_new(x: jax.Array) -> jax.Array:
    """The tanh approximation of `gelu`, in float32."""
    return jax.nn.gelu(x.astype(jnp.float32), approximate=True).astype(x.dtype)


# Biases and normalizations of size hidden_size are replicated: the latency of gathering a few
# kilobytes is more than sharding them saves.
VECTOR = ('features',)
# Activations are cheap to compute, but the arrays are large, so the backward pass recomputes them
# from their input.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    'gelu': jax.checkpoint(gelu, prevent_cse=False),
    'gelu_new': jax.checkpoint(gelu_new, prevent_cse=False),
    'relu': jax.nn.relu,
    'tanh': jnp.tanh,
}


Function = TypeVar('Function', bound=Callable[..., Any])


def recomputed_except_on_cpu(static_argnums: int) -> Callable[[Function], Function]:
    """Returns a decorator that makes the backward pass recompute a function, except on a CPU.

    It is for attention. On TPU and GPU, memory bandwidth limits attention, so its probabilities are
    recomputed. On CPU, arithmetic limits it, so they are saved. static_argnums: the index of the
    argument that is not an array.
    """

    def decorated(function: Function) -> Function:
        recomputed = jax.checkpoint(function, prevent_cse=False, static_argnums=static_argnums)

        @functools.wraps(function)
        def chosen(*args: Any) -> Any:
            return function(*args) if platform() == 'cpu' else recomputed(*args)

        return cast(Function, chosen)

    return decorated


def kernel_init(config: ModelConfig) -> nn.initializers.Initializer:
    """The initializer of google-research/bert: a normal distribution, truncated at two standard
    deviations. After truncation, its standard deviation is 0.88 times `initializer_range`."""
    return nn.initializers.truncated_normal(config.initializer_range)


class Dense(nn.Module):
    """x[..., *inputs] @ kernel[*inputs, *outputs] + bias[*outputs], over one or more axes each.

    features: sizes of the output axes. in_axes, out_axes: logical axis names. activation: applied
    to the input before the product. Only the input of the activation is saved; the backward pass
    recomputes the activation. use_bias: whether a bias is added.
    """

    config: ModelConfig
    features: tuple[int, ...]
    in_axes: tuple[str, ...]
    out_axes: tuple[str, ...]
    activation: str | None = None
    initializer: nn.initializers.Initializer | None = None  # of the kernel
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        config, contracted = self.config, len(self.in_axes)
        shape = (*x.shape[-contracted:], *self.features)
        axes = (*self.in_axes, *self.out_axes)
        init = self.initializer or kernel_init(config)
        kernel = parameter(self, 'kernel', init, shape, axes, 'kernel', config.dtype)
        kernel = reduce_scatter_grad(kernel, axes)
        dtype = compute_dtype(config.dtype)
        # The product is one of two matrices: with more dimensions, XLA transposes its gradient.
        rows, width = x.shape[:-contracted], math.prod(shape[:contracted])
        activate = ACTIVATIONS[self.activation] if self.activation else lambda x: x

        def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return activate(x) @ kernel

        if self.activation:
            product = jax.checkpoint(product, prevent_cse=False)
        y = product(x.astype(dtype).reshape(*rows, width), kernel.astype(dtype).reshape(width, -1))
        if self.use_bias:
            bias_axes = VECTOR if self.out_axes == ('embed',) else self.out_axes
            bias = parameter(self, 'bias', nn.initializers.zeros, self.features, bias_axes, 'bias')
            y = y + bias.astype(dtype).reshape(-1)
        return y.reshape(*rows, *self.features)


class LayerNorm(nn.Module):
    """Layer normalization over the last axis (Ba et al., 2016), computed in float32."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1:]
        scale = parameter(self, 'scale', nn.initializers.ones, width, VECTOR, 'norm')
        bias: jax.Array | None = None
        if self.config.norm_bias:
            bias = parameter(self, 'bias', nn.initializers.zeros, width, VECTOR, 'norm')
        normalized = _layer_norm(x, scale, bias, self.config.layer_norm_eps)
        return normalized.astype(compute_dtype(self.config.dtype))


@functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=3)
def _layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array | None, eps: float) -> jax.Array:
    x = x.astype(jnp.float32)
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    normalized = centred * jax.lax.rsqrt(variance + eps) * scale
    return normalized if bias is None else normalized + bias


class Transform(nn.Module):
    """A dense layer, an activation and, by default, a normalization."""

    config: ModelConfig
    width: int
    activation: str
    norm: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        config, sizes = self.config, ((self.width,), ('embed',), ('features',))
        x = Dense(config, *sizes, use_bias=config.classifier_bias, name='dense')(x)
        x = ACTIVATIONS[self.activation](x)
        return LayerNorm(config, name='layer_norm')(x) if self.norm else x


class Dropout(nn.Module):
    """Dropout that zeroes each element with probability `rate` and scales the rest."""

    rate: float

    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        """x[batch, length, hidden] or [batch, hidden] -> the same shape"""
        axes = ('batch', 'hidden') if x.ndim == 2 else ('batch', 'length', 'hidden')
        return dropout(x, self.key(deterministic), self.rate, axes)

    def key(self, deterministic: bool) -> jax.Array | None:
        """The random key for `dropout`; None if nothing is to be dropped."""
        return None if deterministic or self.rate == 0 else self.make_rng('dropout')


def dropout(x: jax.Array, key: jax.Array | None, rate: float, axes: tuple[str, ...]) -> jax.Array:
    """x with each element set to zero with probability `rate`; x itself if the key is None.

    axes: logical names of x's dimensions. The random bits are constrained to them, because each
    chip generates the bits of its own shard, and the backward pass must generate the same bits.
    Each element uses 16 random bits, half of what a uniform float32 needs. So the rate is rounded
    to a multiple of 1 / 65536. The other elements are scaled by 1 / (1 - rounded rate), so that the
    expectation does not change.
    """
    if key is None:
        return x
    dropped = math.floor(rate * 2**16 + 0.5)
    keep = _dropout_mask(key, x.shape, axes, dropped)
    scaled = x.astype(jnp.float32) * (2**16 / (2**16 - dropped))  # bfloat16 would round the scale
    return jnp.where(keep, scaled.astype(x.dtype), 0)


def _dropout_mask(
    key: jax.Array, shape: tuple[int, ...], axes: tuple[str, ...], dropped: int
) -> jax.Array:
    """bool[shape], False with probability dropped / 2**16.

    Each random number has 32 bits, so it decides about two elements.
    """
    *rest, last = shape
    bits = constrain(jax.random.bits(key, (*rest, -(-last // 2)), jnp.uint32), *axes)
    if platform() == 'tpu':  # XLA would write the halves below to memory as 32-bit words
        keep = jnp.concatenate([(bits & 0xFFFF) >= dropped, (bits >> 16) >= dropped], axis=-1)
    else:
        halves = jax.lax.bitcast_convert_type(bits, jnp.uint16)
        keep = (halves >= jnp.uint16(dropped)).reshape(*rest, -1)
    return keep[..., :last]

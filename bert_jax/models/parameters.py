"""Parameters with their facts: logical axes, kind, part of the model and compute type.

A module creates its parameters with `parameter`, which records these facts beside the value.
`describe` returns the facts as a tree. The optimizer, the step, initialization and conversion read
this tree, so they do not depend on the names of parameters.
"""

import dataclasses
from typing import Any, Literal

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from bert_jax.parallel.mesh import platform
from bert_jax.parallel.sharding import is_boxed

# kernel: a matrix of a dense layer; table: one row per token, position or type; norm: the scale and
# the bias of a normalization; bias: every other bias.
Kind = Literal['kernel', 'table', 'norm', 'bias']


@dataclasses.dataclass(frozen=True)
class ParameterInfo:
    """The facts of one parameter.

    axes: a logical axis name per dimension. part: 'embeddings', 'layers' or the name of a head.
    dtype: the compute type of its module, with a name of `ModelConfig.dtype`.
    """

    axes: tuple[str, ...]
    kind: Kind
    part: str
    dtype: str

    @property
    def decays(self) -> bool:
        """Returns whether weight decay applies: to everything except biases and normalizations."""
        return self.kind in ('kernel', 'table')


class BoxedParameter(nn.LogicallyPartitioned):
    """A parameter in the box that Flax carries through initialization, with its facts."""

    kind: Kind = flax.struct.field(default='kernel', pytree_node=False)
    part: str = flax.struct.field(default='', pytree_node=False)
    dtype: str = flax.struct.field(default='float32', pytree_node=False)


def parameter(
    module: nn.Module,
    name: str,
    init: nn.initializers.Initializer,
    shape: tuple[int, ...],
    axes: tuple[str, ...],
    kind: Kind,
    dtype: str = 'float32',
) -> jax.Array:
    """A float32 parameter of `module`, with a logical name for each of its dimensions."""
    part = _part_of(module)

    def boxed(*args: Any) -> BoxedParameter:
        return BoxedParameter(init(*args), axes, kind=kind, part=part, dtype=dtype)

    value: Any = module.param(name, boxed, shape, jnp.float32)
    return value


def _part_of(module: Any) -> str:
    """The `part` of the nearest enclosing module that has one."""
    while isinstance(module, nn.Module):
        if part := getattr(module, 'part', ''):
            return part
        module = module.parent
    return ''


def describe(boxed: Any) -> Any:
    """The tree of `ParameterInfo` that belongs to a tree of boxed parameters."""
    return jax.tree.map(
        lambda box: ParameterInfo(tuple(map(str, box.names)), box.kind, box.part, box.dtype),
        boxed,
        is_leaf=is_boxed,
    )


def compute_dtype(name: str) -> jnp.dtype:
    """The type that `ModelConfig.dtype` names; 'auto' is float32 on CPU and bfloat16 elsewhere.

    XLA's CPU backend emulates bfloat16, which is slow. Parameters are float32 in any case.
    """
    if name == 'auto':
        name = 'float32' if platform() == 'cpu' else 'bfloat16'
    return jnp.dtype(name)


def cast_kernels(params: Any, info: Any) -> Any:
    """The parameters, with each kernel cast to the type of the product in which it is used.

    The gradients of the kernels then have this type, too. Without the cast, the backward pass would
    write float32 gradients of all layers, which take twice the memory.
    """

    def cast(fact: ParameterInfo, value: jax.Array) -> jax.Array:
        return value.astype(compute_dtype(fact.dtype)) if fact.kind == 'kernel' else value

    return jax.tree.map(cast, info, params)

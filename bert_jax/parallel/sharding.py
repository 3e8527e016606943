"""Logical axis names, the table that maps them to mesh axes, and checks of both.

Parameters and activations have a name for each dimension, such as `('embed', 'mlp')`. `RULES` lists
the mesh axes that shard a dimension of that name.
"""

import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bert_jax.batch import Batch, BatchSpec, HostBatch, check
from bert_jax.parallel.mesh import BATCH_AXES, batch_parts, host_slice

RULES: Mapping[str, tuple[str, ...]] = {
    # Parameters. One side of every matrix is `embed`, so sharding it shards nearly all of them.
    'layers': (),
    'vocab': ('tensor',),
    'position': (),
    'token_type': (),
    'embed': ('fsdp',),
    'qkv': (),
    'heads': ('tensor',),
    'head_dim': (),
    'mlp': ('tensor',),
    'gate': (),
    'features': (),
    # Activations. Their width is `hidden`, not `embed`, because `fsdp` already shards the batch.
    'batch': BATCH_AXES,
    'batch_over_data': ('data',),  # a batch whose other dimension is sharded over `fsdp`
    'length': (),
    'hidden': (),
    'predictions': (),
}
# Advice, by axis name, for a dimension of a parameter that does not divide over its mesh axis.
REMEDIES: Mapping[str, str] = {
    'vocab': 'set config.data.pad_vocab_to_multiple_of to a multiple of config.mesh.tensor',
    'heads': 'config.mesh.tensor has to divide config.model.num_attention_heads',
    'mlp': 'config.mesh.tensor has to divide config.model.intermediate_size',
    'embed': 'config.mesh.fsdp has to divide config.model.hidden_size and embedding_size',
}

# The path of a leaf in a tree of parameters, such as 'encoder/layers/attention/output/kernel'.
path_name = functools.partial(jax.tree_util.keystr, simple=True, separator='/')


def partition_spec(axes: Iterable[str]) -> PartitionSpec:
    """Returns the mesh axes of an array whose dimensions have the logical names `axes`.

    Raises ValueError for a name without a rule, and if one mesh axis would shard two dimensions.
    """
    names = tuple(axes)
    for name in names:
        if name not in RULES:
            raise ValueError(f'logical axis {name!r} of {names} has no rule in sharding.RULES')
    used = [axis for name in names for axis in RULES[name]]
    if len(used) != len(set(used)):
        raise ValueError(f'{names} would split two dimensions over one mesh axis: {used}')
    return PartitionSpec(*(RULES[name] or None for name in names))


def constrain(x: jax.Array, *axes: str) -> jax.Array:
    """Returns x with its layout constrained to the rules, or x itself if no mesh is in use."""
    if len(axes) != x.ndim:
        raise ValueError(f'{len(axes)} axis names {axes} for an array of shape {x.shape}')
    spec = partition_spec(axes)
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, spec)


def reduce_scatter(grad: jax.Array, axes: tuple[str, ...]) -> jax.Array:
    """Returns a matrix's gradient with its layout constrained to that of the parameter.

    axes: the parameter's logical names; 'embed' is the first or the last. The gradient is
    constrained as a matrix of two dimensions whose rows are `embed`. For any other layout the TPU
    compiler emits an all-reduce and a slice instead of a reduce-scatter.
    """
    assert 'embed' in (axes[0], axes[-1]), axes
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.shape['fsdp'] == 1:
        return grad
    others = [axis for name in axes if name != 'embed' for axis in RULES[name]]
    rows = PartitionSpec(RULES['embed'], *others)
    if axes[0] == 'embed':
        matrix = jax.lax.with_sharding_constraint(grad.reshape(grad.shape[0], -1), rows)
    else:
        matrix = grad.reshape(-1, grad.shape[-1]).T
        matrix = jax.lax.with_sharding_constraint(matrix, rows).T
    return constrain(matrix.reshape(grad.shape), *axes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def reduce_scatter_grad(x: jax.Array, axes: tuple[str, ...]) -> jax.Array:
    """Returns x; its gradient goes through `reduce_scatter`."""
    return x


reduce_scatter_grad.defvjp(
    lambda x, axes: (x, None), lambda axes, _, grad: (reduce_scatter(grad, axes),)
)


def batch_shardings(spec: BatchSpec, mesh: Mesh, accum_steps: int = 1) -> dict[str, NamedSharding]:
    """Returns the sharding of each array of a batch.

    Raises ValueError if the axis names do not fit an array, or if the batch does not divide over
    the mesh in `accum_steps` micro-batches.
    """
    shardings, parts = {}, batch_parts(mesh) * accum_steps
    for name, feature in spec.items():
        if len(feature.axes) != len(feature.shape):
            raise ValueError(f'batch array {name} of shape {feature.shape} has axes {feature.axes}')
        shardings[name] = NamedSharding(mesh, partition_spec(feature.axes))
        if feature.shape[0] % parts:
            raise ValueError(
                f'a batch of {feature.shape[0]} sequences does not divide over the '
                f'{batch_parts(mesh)} parts of the mesh {dict(mesh.shape)}'
                + (f' in {accum_steps} micro-batches' if accum_steps > 1 else '')
                + f'; choose a multiple of {parts}'
            )
    return shardings


def abstract_batch(spec: BatchSpec, mesh: Mesh, accum_steps: int = 1) -> dict[str, Any]:
    """Returns a batch's shapes, dtypes and shardings, which are enough to compile a step.

    Raises ValueError as `batch_shardings` does.
    """
    return {
        name: jax.ShapeDtypeStruct(spec[name].shape, spec[name].dtype, sharding=sharding)
        for name, sharding in batch_shardings(spec, mesh, accum_steps).items()
    }


def shard_batch(batch: HostBatch, spec: BatchSpec, mesh: Mesh) -> Batch:
    """Returns global arrays over the mesh, of which `batch` is this host's slice.

    Each device receives its own rows only. Raises ValueError if the slice does not fit `spec`.
    """
    check(batch, spec, host_slice(mesh)[1])
    with jax.transfer_guard_host_to_device('allow'):  # with several hosts JAX counts it as implicit
        return {
            name: jax.make_array_from_process_local_data(sharding, batch[name], spec[name].shape)
            for name, sharding in batch_shardings(spec, mesh).items()
        }


def abstract_state(state: Any, mesh: Mesh) -> Any:
    """Returns a state's shapes, dtypes and shardings.

    state: the shapes of boxed parameters and of the optimizer's arrays. Leaves without a box
    (counters) are replicated. Call `check_rules` on the parameters first.
    """

    def described(leaf: Any) -> jax.ShapeDtypeStruct:
        names, value = (leaf.names, leaf.value) if is_boxed(leaf) else ((), leaf)
        sharding = NamedSharding(mesh, partition_spec(map(str, names)))
        return jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=sharding)

    return jax.tree.map(described, state, is_leaf=is_boxed)


def is_boxed(leaf: Any) -> bool:
    """Returns whether a leaf is a parameter in a box that holds its logical axis names."""
    return isinstance(leaf, nn.LogicallyPartitioned)


def check_rules(params: Any, mesh: Mesh) -> None:
    """Checks the logical names of every boxed parameter against `RULES` and the mesh.

    Raises ValueError if a parameter has no names, or not one for each dimension, if a name has no
    rule, and if the size of a dimension does not divide over its mesh axes. Flax would ignore these
    mistakes and replicate the parameter.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(params, is_leaf=is_boxed):
        name = path_name(path)
        if not is_boxed(leaf):
            raise ValueError(f'parameter {name} has no logical axis names')
        shape, axes = leaf.value.shape, tuple(map(str, leaf.names))
        if len(axes) != len(shape):
            raise ValueError(f'parameter {name} of shape {shape} has axis names {axes}')
        partition_spec(axes)
        for size, axis in zip(shape, axes, strict=True):
            parts = math.prod(mesh.shape[a] for a in RULES[axis])
            if size % parts:
                raise ValueError(
                    f'parameter {name}: {axis!r} of size {size} does not divide over '
                    f'{parts} devices (mesh {dict(mesh.shape)}); {REMEDIES[axis]}'
                )

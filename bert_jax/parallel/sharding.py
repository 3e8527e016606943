"""Logical axis names, the one table that maps them to mesh axes, and the checks around it.

Parameters and activations name their dimensions (`('embed', 'mlp')`); `RULES` says over which
mesh axes a dimension so named is split. The mesh has three axes: `data` replicates the state,
`fsdp` splits it, and the batch is split over both; `tensor` splits heads, MLP and vocabulary with
the work on them (Shoeybi et al., 2019, section 3). So `fsdp=1, tensor=1` is plain data parallelism.
"""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bert_jax.batch import Batch, BatchSpec, HostBatch, check, to_global
from bert_jax.config import MeshConfig

MESH_AXES = ('data', 'fsdp', 'tensor')
BATCH_AXES = ('data', 'fsdp')

# Meshes by name; -1 is whatever devices are left.
PRESETS: Mapping[str, MeshConfig] = {
    'dp': MeshConfig(data=-1, fsdp=1, tensor=1),
    'fsdp': MeshConfig(data=1, fsdp=-1, tensor=1),
    'fsdp_tp': MeshConfig(data=1, fsdp=-1, tensor=2),
}

RULES: Mapping[str, tuple[str, ...]] = {
    # Parameters. Every matrix has `embed` on one side, so splitting it splits nearly all of them.
    'layers': (),
    'vocab': ('tensor',),
    'position': (),
    'token_type': (),
    'embed': ('fsdp',),
    'qkv': (),
    'heads': ('tensor',),
    'head_dim': (),
    'mlp': ('tensor',),
    'features': (),
    # Activations. Their width has a name of its own: `batch` already takes the axis of `embed`.
    'batch': BATCH_AXES,
    'replica': ('data',),  # of the batch, where `fsdp` splits something else
    'length': (),
    'hidden': (),
    'predictions': (),
}
# What to change if a parameter's dimension does not divide over its mesh axis.
_REMEDIES: Mapping[str, str] = {
    'vocab': 'set config.data.pad_vocab_to_multiple_of to a multiple of config.mesh.tensor',
    'heads': 'config.mesh.tensor has to divide config.model.num_attention_heads',
    'mlp': 'config.mesh.tensor has to divide config.model.intermediate_size',
    'embed': 'config.mesh.fsdp has to divide config.model.hidden_size',
}
ACTIVATIONS = ('batch', 'replica', 'length', 'hidden', 'predictions')


# A leaf's path in a tree of parameters: 'encoder/layers/attention/output/kernel'.
path_name = functools.partial(jax.tree_util.keystr, simple=True, separator='/')


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh over `devices` (default: all); an axis of -1 takes what the other leaves.

    Raises ValueError where the sizes don't multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [config.data, config.fsdp, config.tensor]
    if sizes.count(-1) == 1:
        rest = -math.prod(sizes)
        sizes[sizes.index(-1)] = len(devices) // rest if rest > 0 else 0
    if min(sizes) < 1 or math.prod(sizes) != len(devices):
        raise ValueError(
            f'config.mesh.data={config.data}, config.mesh.fsdp={config.fsdp} and '
            f'config.mesh.tensor={config.tensor} do not fit {len(devices)} devices; '
            'their product must be that, or one be -1'
        )
    return Mesh(
        _arranged(sizes, devices),
        MESH_AXES,
        axis_types=(jax.sharding.AxisType.Auto,) * len(MESH_AXES),
    )


def _arranged(sizes: list[int], devices: Sequence[jax.Device]) -> np.ndarray:
    """Along the links of a TPU's torus, an axis of which may be split; from slice to slice, where
    the network is slow, goes only `data`."""
    slices = len({device.slice_index for device in devices if hasattr(device, 'slice_index')})
    if devices[0].platform != 'tpu' or slices < 2:
        return mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    data, *rest = sizes
    if data % slices:
        raise ValueError(f'config.mesh.data is {data}; expected a multiple of the {slices} slices')
    return mesh_utils.create_hybrid_device_mesh(
        (data // slices, *rest), (slices, 1, 1), devices, allow_split_physical_axes=True
    )


def platform() -> str:
    """cpu, gpu or tpu: where what is computed here runs. A plan's mesh is not of this host."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform


def partition_spec(axes: Iterable[str]) -> PartitionSpec:
    """Logical names to mesh axes. Raises ValueError for a name without a rule, or when two
    dimensions would be split over the same mesh axis."""
    names = tuple(axes)
    for name in names:
        if name not in RULES:
            raise ValueError(f'logical axis {name!r} of {names} has no rule in sharding.RULES')
    used = [axis for name in names for axis in RULES[name]]
    if len(used) != len(set(used)):
        raise ValueError(f'{names} would split two dimensions over one mesh axis: {used}')
    return PartitionSpec(*(RULES[name] or None for name in names))


def constrain(x: jax.Array, *axes: str) -> jax.Array:
    """Pins an activation's layout under a mesh; without one, on a single device, does nothing."""
    if len(axes) != x.ndim:
        raise ValueError(f'{len(axes)} axis names {axes} for an array of shape {x.shape}')
    spec = partition_spec(axes)
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, spec)


def scattered(gradient: jax.Array, axes: tuple[str, ...]) -> jax.Array:
    """A matrix's gradient, pinned to the layout of its parameter. axes: logical, 'embed' first or
    last.

    As a matrix with 'embed' for its rows: whatever else is split, the TPU's compiler adds up whole
    on every device before it takes the part away.
    """
    assert 'embed' in (axes[0], axes[-1]), axes
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.shape['fsdp'] == 1:
        return gradient
    others = [axis for name in axes if name != 'embed' for axis in RULES[name]]
    rows = PartitionSpec(RULES['embed'], *others)
    if axes[0] == 'embed':
        flat = gradient.reshape(gradient.shape[0], -1)
        whole = jax.lax.with_sharding_constraint(flat, rows).reshape(gradient.shape)
    else:
        flat = gradient.reshape(-1, gradient.shape[-1]).T
        whole = jax.lax.with_sharding_constraint(flat, rows).T.reshape(gradient.shape)
    return constrain(whole, *axes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def scatters(x: jax.Array, axes: tuple[str, ...]) -> jax.Array:
    """x itself; its gradient is `scattered`."""
    return x


scatters.defvjp(lambda x, axes: (x, None), lambda axes, _, gradient: (scattered(gradient, axes),))


def batch_shardings(spec: BatchSpec, mesh: Mesh, accum_steps: int = 1) -> dict[str, NamedSharding]:
    """A sharding per batch array. Raises ValueError where its axis names don't fit it, or the batch
    or its micro-batches don't divide."""
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


def abstract_batch(spec: BatchSpec, mesh: Mesh, accum_steps: int = 1) -> Batch:
    """Shapes, dtypes and shardings: enough to compile a step. Raises as `batch_shardings` does."""
    shardings = batch_shardings(spec, mesh, accum_steps)
    shapes: Any = {
        name: jax.ShapeDtypeStruct(feature.shape, feature.dtype, sharding=shardings[name])
        for name, feature in spec.items()
    }
    return shapes


def batch_parts(mesh: Mesh) -> int:
    """Among how many the sequences of a batch are divided."""
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def place(batch: HostBatch, spec: BatchSpec, mesh: Mesh) -> Batch:
    """This host's slice of a batch, checked, as arrays over the mesh. Raises ValueError where it is
    not what the task asks for."""
    check(batch, spec, host_slice(mesh)[1])
    return to_global(batch, batch_shardings(spec, mesh), spec)


@functools.lru_cache(maxsize=8)
def host_slice(mesh: Mesh, process: int | None = None) -> tuple[int, int]:
    """Which of how many slices of a batch a process (default: this one) reads.

    Processes whose devices hold the same sequences, because `tensor` goes across them, read the
    same slice. Raises ValueError where their sequences overlap in part.
    """
    process = jax.process_index() if process is None else process
    split: Any = NamedSharding(mesh, PartitionSpec(BATCH_AXES))
    parts = split.devices_indices_map((batch_parts(mesh),))
    held: dict[int, set[int]] = {}
    for device, (rows,) in parts.items():
        held.setdefault(device.process_index, set()).add(rows.start or 0)
    slices = sorted(set(map(frozenset, held.values())), key=min)
    if sum(map(len, slices)) != batch_parts(mesh) or len(set(map(len, slices))) > 1:
        raise ValueError(
            f'config.mesh.tensor={mesh.shape["tensor"]} does not fit {len(held)} hosts of '
            f'{mesh.size // len(held)} devices; choose a divisor or a multiple of the latter'
        )
    return slices.index(frozenset(held[process])), len(slices)


def state_shardings(abstract: Any, mesh: Mesh) -> Any:
    """Shardings of a tree whose parameters carry logical names (`nn.LogicallyPartitioned`).

    Leaves without names (counters) are replicated. Call `check_rules` on the parameters first.
    """

    def sharding(leaf: Any) -> NamedSharding:
        names = leaf.names if isinstance(leaf, nn.LogicallyPartitioned) else ()
        return NamedSharding(mesh, partition_spec(map(str, names)))

    return jax.tree.map(sharding, abstract, is_leaf=is_boxed)


def is_boxed(leaf: Any) -> bool:
    return isinstance(leaf, nn.LogicallyPartitioned)


def check_rules(params: Any, mesh: Mesh) -> None:
    """Checks every parameter's logical names against `RULES` and the mesh.

    Raises ValueError for a parameter without names, a rank that does not fit, a name without a
    rule, a dimension that does not divide, and a rule that no parameter uses. Flax passes over all
    of these in silence, and the parameter ends up replicated.
    """
    seen = set(ACTIVATIONS)
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
                    f'{parts} devices (mesh {dict(mesh.shape)}); {_REMEDIES[axis]}'
                )
        seen.update(axes)
    if unused := sorted(set(RULES) - seen):
        raise ValueError(f'sharding.RULES has names that nothing uses: {", ".join(unused)}')

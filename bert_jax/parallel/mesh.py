"""The device mesh: its axes, its presets, and the part of a batch that each process reads.

`data` and `fsdp` split the batch; `fsdp` also shards the training state. `tensor` splits attention
heads, the MLP and the vocabulary (Shoeybi et al., 2019, section 3). With `fsdp=1, tensor=1` this is
plain data parallelism.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils, multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bert_jax.config import MeshConfig

MESH_AXES = ('data', 'fsdp', 'tensor')
BATCH_AXES = ('data', 'fsdp')  # the axes that split a batch

# An axis of size -1 takes the remaining devices.
PRESETS: Mapping[str, MeshConfig] = {
    'dp': MeshConfig(data=-1, fsdp=1, tensor=1),
    'fsdp': MeshConfig(data=1, fsdp=-1, tensor=1),
    'fsdp_tp': MeshConfig(data=1, fsdp=-1, tensor=2),
}


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns the mesh over `devices` (default: all devices).

    Raises ValueError if the sizes of the axes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [config.data, config.fsdp, config.tensor]
    if sizes.count(-1) == 1:
        others = -math.prod(sizes)
        sizes[sizes.index(-1)] = len(devices) // others if others > 0 else 0
    if min(sizes) < 1 or math.prod(sizes) != len(devices):
        raise ValueError(
            f'config.mesh.data={config.data}, config.mesh.fsdp={config.fsdp} and '
            f'config.mesh.tensor={config.tensor} do not fit {len(devices)} devices; their product '
            'must be the number of devices, or one of them must be -1'
        )
    arranged = _arrange(sizes, devices)
    return Mesh(arranged, MESH_AXES, axis_types=(jax.sharding.AxisType.Auto,) * len(MESH_AXES))


def _arrange(sizes: list[int], devices: Sequence[jax.Device]) -> np.ndarray:
    """Returns the devices as an array whose axes follow the links between the chips.

    A mesh axis may take part of an axis of a TPU's torus. Only `data` crosses from slice to slice,
    where the network is slow.
    """
    slices = len({device.slice_index for device in devices if hasattr(device, 'slice_index')})
    if devices[0].platform != 'tpu' or slices < 2:
        return mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    data, *others = sizes
    if data % slices:
        raise ValueError(f'config.mesh.data is {data}; expected a multiple of the {slices} slices')
    return mesh_utils.create_hybrid_device_mesh(
        (data // slices, *others), (slices, 1, 1), devices, allow_split_physical_axes=True
    )


def platform() -> str:
    """Returns 'cpu', 'gpu' or 'tpu': the platform of the mesh in use, or else JAX's default.

    The mesh may have devices that this host does not have (see `plan`).
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform


def batch_parts(mesh: Mesh) -> int:
    """Returns the number of parts into which the mesh splits the sequences of a batch."""
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


@functools.lru_cache(maxsize=8)
def host_slice(mesh: Mesh, process: int | None = None) -> tuple[int, int]:
    """Returns (index, count): the process reads slice `index` of the `count` slices of a batch.

    process: its index; None means this process. If `tensor` spans several processes, their devices
    hold the same sequences, and they read the same slice. Raises ValueError if two processes
    share some of their sequences but not all.
    """
    process = jax.process_index() if process is None else process
    split: Any = NamedSharding(mesh, PartitionSpec(BATCH_AXES))
    parts = split.devices_indices_map((batch_parts(mesh),))
    rows_of_process: dict[int, set[int]] = {}
    for device, (rows,) in parts.items():
        rows_of_process.setdefault(device.process_index, set()).add(rows.start or 0)
    slices = sorted(set(map(frozenset, rows_of_process.values())), key=min)
    if sum(map(len, slices)) != batch_parts(mesh) or len(set(map(len, slices))) > 1:
        devices = mesh.size // len(rows_of_process)
        raise ValueError(
            f'config.mesh.tensor={mesh.shape["tensor"]} does not fit {len(rows_of_process)} hosts '
            f'of {devices} devices each; choose a divisor or a multiple of {devices}'
        )
    return slices.index(frozenset(rows_of_process[process])), len(slices)


def of_process_0(values: Any) -> Any:
    """Returns the arrays of process 0, in all processes."""
    if jax.process_count() == 1:
        return values
    with jax.transfer_guard('allow'):  # with several processes JAX transfers the arrays
        return multihost_utils.broadcast_one_to_all(values)

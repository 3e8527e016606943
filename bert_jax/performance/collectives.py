"""The collectives of a compiled step: what each device sends, and along which axes of the mesh."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from bert_jax.performance.hlo import Hlo, Instruction, array_bytes, arrays, integers

COLLECTIVES = ('all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'collective-permute')
REDUCE_SCATTER = 'all-reduce-scatter'  # TPU's name for an all-reduce fused with a slice


class Collective(NamedTuple):
    """One collective of a step.

    axes: the axes of the mesh along which devices exchange data. bytes: how many bytes a device
    sends each time, with ring algorithms. times: how often it runs in a step. overlapped: whether
    the device computes while the collective runs; if not, the device waits.
    """

    kind: str
    axes: tuple[str, ...]
    bytes: float
    times: int
    overlapped: bool


def collectives(step: Hlo, mesh: Mapping[str, int]) -> list[Collective]:
    """The collectives between devices. mesh: the sizes of its axes, in order."""
    started = {
        instruction.called('calls')
        for instructions in step.computations.values()
        for instruction in instructions.values()
        if instruction.opcode == 'async-start'
    }
    found = []
    # The compiler may divide a collective into pieces and fuse these with other work, also in loops
    # between its start and its end. All pieces of a collective have the same channel.
    channels = set[str]()
    for computation, times in step.executed():
        for parent, instruction in _with_fused(step, computation):
            kind = instruction.opcode.removesuffix('-start')
            if kind not in COLLECTIVES:
                continue
            if channel := re.search(r'channel_id=(\d+)', instruction.rest):
                if channel[1] in channels:
                    continue
                channels.add(channel[1])
            axes = mesh_axes(instruction.rest, mesh)
            count = math.prod(mesh[axis] for axis in axes)
            if count == 1:
                continue
            size = _sent(kind, _result_bytes(instruction), count)
            overlapped = parent != computation  # a fusion is the start or a piece of it
            if parent.startswith(REDUCE_SCATTER):
                kind, size, overlapped = 'reduce-scatter', size / 2, False
            overlapped |= instruction.opcode.endswith('-start') or computation in started
            found.append(Collective(kind, axes, size, times, overlapped))
    return found


def _with_fused(step: Hlo, computation: str) -> Iterator[tuple[str, Instruction]]:
    """The instructions of a computation and of its fusions, each with its own computation."""
    for instruction in step.computations[computation].values():
        yield computation, instruction
        if instruction.opcode == 'fusion':
            yield from _with_fused(step, instruction.called('calls'))


def _result_bytes(collective: Instruction) -> float:
    """Bytes of the results on a device."""
    results = arrays(collective.type)
    if collective.opcode.endswith('-start') and collective.opcode != 'all-reduce-start':
        count = len(collective.operands)
        results = results[count : 2 * count]  # the type is (operands, results, ...)
    return sum(array_bytes(kind, main_memory_only=False, tiled=False) for kind in results)


def _sent(kind: str, result: float, count: int) -> float:
    """Bytes that a device sends around a ring of `count` devices for `result` bytes of results."""
    share = (count - 1) / count
    return {
        'all-reduce': 2 * share * result,
        'all-gather': share * result,
        'reduce-scatter': share * result * count,
        'all-to-all': share * result,
        'collective-permute': result,
    }[kind]


def mesh_axes(attributes: str, mesh: Mapping[str, int]) -> tuple[str, ...]:
    """The axes of the mesh along which the devices of one group of a collective differ."""
    groups = _groups(attributes, math.prod(mesh.values()))
    coordinates = np.stack(np.unravel_index(groups, tuple(mesh.values())), axis=-1)
    # [groups, members, axes]
    differ = np.any(coordinates != coordinates[:, :1], axis=(0, 1))
    return tuple(axis for axis, differs in zip(mesh, differ, strict=True) if differs)


def _groups(attributes: str, devices: int) -> np.ndarray:
    """The groups of a collective, int[groups, members]: the devices' positions in the mesh.

    HLO writes them in four ways. Without any of them, all devices are one group.
    """
    if pairs := re.search(r'source_target_pairs=\{(.*?\})\}', attributes):
        return np.array([integers(pair) for pair in pairs[1].split('},')])
    if listed := re.search(r'replica_groups=\{(\{.*?\})\}', attributes):
        return np.array([integers(group) for group in listed[1].split('},')])
    if iota := re.search(r'replica_groups=\[(.*?)\]<=\[(.*?)\](?:T\((.*?)\))?', attributes):
        return _iota(iota[2], iota[3]).reshape(integers(iota[1]))
    if named := re.search(r'replica_groups=mesh\[(.*?)\]([^{]*)\{(.*?)\}', attributes):
        sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", named[1])}
        order = re.search(r'device_ids=\(\[(.*?)\](?:T\((.*?)\))?\)', named[2])
        ids = _iota(order[1], order[2]) if order else np.arange(devices)
        along = [list(sizes).index(name) for name in re.findall(r"'(\w+)'", named[3])]
        ids = np.moveaxis(ids.reshape(*sizes.values()), along, range(-len(along), 0))
        return ids.reshape(-1, math.prod(list(sizes.values())[i] for i in along))
    return np.arange(devices)[None]


def _iota(shape: str, axes: str | None) -> np.ndarray:
    """The numbers from 0 in the given shape, transposed if there are axes."""
    sizes = integers(shape)
    ids = np.arange(math.prod(sizes)).reshape(sizes)
    return ids.transpose(integers(axes) if axes else range(len(sizes)))

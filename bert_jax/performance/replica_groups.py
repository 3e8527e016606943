"""Which devices of a mesh take part in a collective, as HLO text says it."""

import math
import re
from collections.abc import Mapping

import numpy as np


def mesh_axes(attributes: str, mesh: Mapping[str, int]) -> tuple[str, ...]:
    """The axes of the mesh along which the devices of one group of a collective differ."""
    groups = _groups(attributes, math.prod(mesh.values()))
    places = np.stack(np.unravel_index(groups, tuple(mesh.values())), axis=-1)
    differ = np.any(places != places[:, :1], axis=(0, 1))  # of [groups, members, axes]
    return tuple(axis for axis, differs in zip(mesh, differ, strict=True) if differs)


def _groups(attributes: str, devices: int) -> np.ndarray:
    """Devices by their place in the mesh: int[groups, members]. HLO has four ways to say it."""
    if pairs := re.search(r'source_target_pairs=\{(.*?\})\}', attributes):
        return np.array([numbers(pair) for pair in pairs[1].split('},')])
    if listed := re.search(r'replica_groups=\{(\{.*?\})\}', attributes):
        return np.array([numbers(group) for group in listed[1].split('},')])
    if iota := re.search(r'replica_groups=\[(.*?)\]<=\[(.*?)\](?:T\((.*?)\))?', attributes):
        return _iota(iota[2], iota[3]).reshape(numbers(iota[1]))
    if named := re.search(r'replica_groups=mesh\[(.*?)\]([^{]*)\{(.*?)\}', attributes):
        sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", named[1])}
        order = re.search(r'device_ids=\(\[(.*?)\](?:T\((.*?)\))?\)', named[2])
        places = _iota(order[1], order[2]) if order else np.arange(devices)
        along = [list(sizes).index(name) for name in re.findall(r"'(\w+)'", named[3])]
        places = np.moveaxis(places.reshape(*sizes.values()), along, range(-len(along), 0))
        return places.reshape(-1, math.prod(list(sizes.values())[i] for i in along))
    return np.arange(devices)[None]


def _iota(shape: str, axes: str | None) -> np.ndarray:
    """Counted in `shape`, read with its axes in another order."""
    sizes = numbers(shape)
    places = np.arange(math.prod(sizes)).reshape(sizes)
    return places.transpose(numbers(axes) if axes else range(len(sizes)))


def numbers(text: str) -> list[int]:
    """All that stand in a piece of HLO, in order: the sizes of '8,128'."""
    return [int(number) for number in re.findall(r'\d+', text)]

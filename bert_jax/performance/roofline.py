"""The plan of a training step on a TPU slice: its memory, and a lower bound of its time.

The memory is what the compiler reports. The time is a roofline model: the times of computing, of
memory traffic and of sending are computed from the peak numbers of the chip. They are assumed to
overlap fully, so the longest of the three counts. During a synchronous collective a chip does
nothing else, so the time of these collectives is added.
"""

import collections
import dataclasses
import re
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from bert_jax.config import Config, Phase
from bert_jax.config.errors import first_line
from bert_jax.models.flops import attention_flops, encoder_flops
from bert_jax.parallel import chips, sharding
from bert_jax.parallel.chips import GIB
from bert_jax.parallel.mesh import make_mesh
from bert_jax.performance.collectives import Collective, collectives
from bert_jax.performance.hlo import Hlo
from bert_jax.performance.memory_traffic import memory_traffic
from bert_jax.performance.topologies import TpuSlice
from bert_jax.tasks.task import Task
from bert_jax.training.train_step import build_step

SYNCHRONOUS = 'synchronous interconnect'


def plan(
    config: Config, task: Task, phase: Phase, tpu_slice: TpuSlice, devices: list[jax.Device]
) -> dict[str, Any]:
    """Compiles the training step of `phase` for `devices`; returns its plan.

    Sizes are bytes of one device, times are seconds of one step. `fits` is False if the step needs
    more memory than a device has; then `exceeds` says how much more, and there are no times. If the
    text of the compiled step cannot be parsed, there are no times but an `error`. Raises ValueError
    if the model or the batch does not divide over the mesh, and for other errors of the compiler.
    """
    if config.train.prng_impl == 'auto':  # the fastest one on a TPU, not on this host
        train = dataclasses.replace(config.train, prng_impl='rbg')
        config = dataclasses.replace(config, train=train)
    mesh = make_mesh(config.mesh, devices)
    step = build_step(config, task, mesh)
    task = step.task
    batch = sharding.abstract_batch(task.batch_spec(phase), mesh, config.train.accum_steps)
    held = {
        'parameters': _shard_bytes(step.abstract.params),
        'optimizer': _shard_bytes(step.abstract.opt_state),
        'batch': _shard_bytes(batch),
    }
    if step.frozen:
        held['teacher'] = _shard_bytes(step.frozen)
    result: dict[str, Any] = {
        'slice': str(tpu_slice),
        'counted': tpu_slice.counted,
        'chips': tpu_slice.chips,
        'devices': len(devices),
        'mesh': dict(mesh.shape),
        'remat': task.config.remat,
        'phase': list(phase),
        'rows_per_device': phase.batch_size / len(devices),
        'flops': task.flops(phase),
        'memory': held,
        'memory_limit': _chip(mesh).memory,
    }
    try:
        compiled = step.lower(phase).compile()
    except jax.errors.JaxRuntimeError as error:
        return result | _too_large(error)
    memory = compiled.memory_analysis()
    used = chips.needed_memory(compiled) + memory.generated_code_size_in_bytes
    others = used - memory.temp_size_in_bytes - sum(held.values())
    held |= {'temporaries': memory.temp_size_in_bytes, 'program and padding': others}
    result |= {'fits': True, 'memory': held, 'used': used}
    try:
        return result | _roofline(task, phase, tpu_slice, mesh, Hlo(compiled.as_text()))
    except NotImplementedError as error:
        return result | {'error': f'the time of a step is not known: {error}'}


def _shard_bytes(tree: Any) -> int:
    """Bytes of one device's shards of a tree of arrays."""
    return sum(
        int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def _chip(mesh: Mesh) -> chips.Chip:
    device = mesh.devices.flat[0]
    chip = chips.chip(device)
    if chip is None or not chip.bandwidth:
        raise ValueError(f'no figures are known for {device.device_kind}')
    return chip


def _too_large(error: Exception) -> dict[str, Any]:
    """The sizes in the compiler's message about too little memory. It has one of two forms.

    Raises ValueError for any other error.
    """
    size = r'\(?([\d.]+[KMGT]?)\)?'
    pattern = rf'Used {size} of {size} hbm|{size} exceeds available HBM {size}'
    match = re.search(pattern, str(error))
    if match is None:
        raise ValueError(f'the compiler says: {first_line(error)}') from error
    used, limit = (
        float(size.rstrip('KMGT')) * {'K': 2**10, 'M': 2**20, 'G': GIB, 'T': 2**40}.get(size[-1], 1)
        for size in filter(None, match.groups())
    )
    return {'fits': False, 'used': used, 'memory_limit': limit, 'exceeds': used - limit}


def _roofline(
    task: Task, phase: Phase, tpu_slice: TpuSlice, mesh: Mesh, step: Hlo
) -> dict[str, Any]:
    """The times of a compiled step, and the speed and the cost of the phase that they imply."""
    chip, flops = _chip(mesh), task.flops(phase)
    peak, traffic = mesh.size * chip.flops, memory_traffic(step)
    sent = collectives(step, dict(mesh.shape))
    overlapped, waiting = (
        sum(_link_seconds(c, mesh, tpu_slice, chip.link) for c in sent if c.overlapped == kind)
        for kind in (True, False)
    )
    seconds = {
        'compute': _executed_flops(task, phase) / peak,
        'memory': traffic / chip.bandwidth,
        'interconnect': overlapped,
    }
    step_seconds = max(seconds.values()) + waiting
    seconds[SYNCHRONOUS] = waiting
    return {
        'collectives': _by_kind(sent),
        'memory_traffic': traffic,
        'rearranged': memory_traffic(step, rearranging=True),
        'seconds': seconds,
        'bound': max(seconds, key=seconds.__getitem__),
        'step_seconds': step_seconds,
        'tokens_per_second': phase.batch_size * phase.max_seq_length / step_seconds,
        'mfu': flops / (step_seconds * peak),
        'days': phase.steps * step_seconds / 86400,
        'chip_hours': phase.steps * step_seconds * tpu_slice.chips / 3600,
    }


def _executed_flops(task: Task, phase: Phase) -> float:
    """FLOPs of a step, with those that the backward pass recomputes.

    The backward pass always recomputes the product of queries and keys. With remat 'dots' it also
    recomputes the product of probabilities and values, and with 'full' whole layers, once each.
    """
    product = attention_flops(task.config, phase) / 6
    layers = encoder_flops(task.config, phase) / 3
    recomputed = {'none': product, 'dots': 2 * product, 'full': layers}
    return task.flops(phase) + recomputed[task.config.remat]


def _link_seconds(collective: Collective, mesh: Mesh, tpu_slice: TpuSlice, link: float) -> float:
    """Seconds that a collective takes. link: bytes per second of a link, in one direction.

    A group uses the links of all dimensions of the torus that it spans, and both directions of a
    dimension if it spans the whole ring. If devices of other groups lie between its own devices, it
    shares the links with these groups.
    """
    along = tuple(slice(None) if axis in collective.axes else 0 for axis in mesh.axis_names)
    coordinates = np.array([device.coords for device in mesh.devices[along].flat])
    lanes = 0.0
    for size, wraps, positions in zip(
        tpu_slice.shape, tpu_slice.wraps(), coordinates.T, strict=False
    ):
        if len(spanned := np.unique(positions)) > 1:
            stride = int(np.diff(spanned).min())
            lanes += (1 + (wraps and len(spanned) * stride == size)) / stride
    return collective.bytes * collective.times / ((lanes or 1) * link)


def _by_kind(sent: list[Collective]) -> dict[str, float]:
    """Bytes that a device sends in a step, by kind and axes, the largest first."""
    sizes: dict[str, float] = collections.defaultdict(float)
    for kind, axes, size, times, overlapped in sent:
        name = f'{kind} over {"+".join(axes)}'
        sizes[name if overlapped else f'synchronous {name}'] += size * times
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))

"""Specifications of chips from their data sheets: peak speed, memory, bandwidth and links."""

import pathlib
import re
from typing import Any, NamedTuple

import jax

GIB = 2**30


class Chip(NamedTuple):
    """The specifications of one JAX device; 0 means that a number is not known.

    flops: dense bfloat16 operations per second. memory: its size in bytes. bandwidth: the bytes per
    second that the memory delivers. link: bytes per second in one direction, along one dimension of
    a TPU's torus.
    """

    flops: float
    memory: float = 0.0
    bandwidth: float = 0.0
    link: float = 0.0


# The keys are prefixes of device_kind. Sources: cloud.google.com/tpu/docs/v2, /v3, /v4, /v5e,
# /v5p, /v6e and /tpu7x (a device of v2, v3 and 7x is half a chip; a link is the chip's
# interconnect divided by its ports); the data sheets in nvidia.com/en-us/data-center (without
# sparsity).
CHIPS = {
    'TPU v2': Chip(22.5e12),
    'TPU v3': Chip(61.5e12),
    'TPU v4': Chip(275e12, 32 * GIB, 1200e9, 50e9),
    'TPU v5 lite': Chip(197e12, 16 * GIB, 819e9, 50e9),
    'TPU v5e': Chip(197e12, 16 * GIB, 819e9, 50e9),
    'TPU v5': Chip(459e12, 95 * GIB, 2765e9, 100e9),  # v5p
    'TPU v6 lite': Chip(918e12, 32 * GIB, 1638e9, 100e9),
    'TPU v6e': Chip(918e12, 32 * GIB, 1638e9, 100e9),
    'TPU7x': Chip(1153.5e12, 96 * GIB, 3690e9, 50e9),
    'NVIDIA A100': Chip(312e12),
    'NVIDIA H100 PCIe': Chip(756e12),
    'NVIDIA H100 NVL': Chip(835e12),
    'NVIDIA H100': Chip(989e12),
    'NVIDIA H200': Chip(989e12),
    'NVIDIA H200 NVL': Chip(835e12),
    'NVIDIA L40': Chip(181e12),
    'NVIDIA L40S': Chip(362e12),
    'NVIDIA L4': Chip(121e12),
}


def chip(device: jax.Device) -> Chip | None:
    """The specifications of `device`; None if they are not known, as for CPUs."""
    known = [name for name in CHIPS if device.device_kind.startswith(name)]
    return CHIPS[max(known, key=len)] if known else None


def mfu(flops: float, seconds: float) -> float | None:
    """Model FLOPs utilization: `flops` per `seconds`, divided by the peak speed of all devices.

    None if the peak speed is not known.
    """
    known = chip(jax.devices()[0])
    return None if known is None else flops / seconds / (known.flops * jax.device_count())


def usable_memory() -> int | None:
    """The number of bytes that a device may use; None if neither JAX nor Linux reports it.

    For a CPU it is the memory that is available now, divided by the number of devices.
    """
    devices = jax.local_devices()
    if limit := (devices[0].memory_stats() or {}).get('bytes_limit'):
        return int(limit)
    try:
        text = pathlib.Path('/proc/meminfo').read_text()
        return int(re.findall(r'MemAvailable:\s+(\d+) kB', text)[0]) * 1024 // len(devices)
    except (OSError, IndexError):
        return None


def needed_memory(compiled: jax.stages.Compiled) -> int:
    """Bytes that a compiled step needs on one device: its arguments, results and temporaries."""
    memory: Any = compiled.memory_analysis()
    needed: int = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    return needed + memory.output_size_in_bytes - memory.alias_size_in_bytes

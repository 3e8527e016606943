"""Figures of the chips: peak speed, memory, bandwidth and links, from their data sheets."""

from typing import Any, NamedTuple

import jax

GIB = 2**30


class Chip(NamedTuple):
    """The figures of one JAX device; 0 if a figure is not known.

    flops: bfloat16 operations per second, dense. memory: bytes. bandwidth: bytes per second, of the
    memory. link: bytes per second in one direction, along one dimension of a TPU's torus.
    """

    flops: float
    memory: float = 0.0
    bandwidth: float = 0.0
    link: float = 0.0


# By the beginning of device_kind. Sources: cloud.google.com/tpu/docs/v2, /v3, /v4, /v5e, /v5p, /v6e
# and /tpu7x (a device of v2, v3 and 7x is half a chip; a link is the chip's interconnect divided by
# its ports); the data sheets in nvidia.com/en-us/data-center (without sparsity).
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
    """The figures of `device`; None if they are not known, as for CPUs."""
    known = [name for name in CHIPS if device.device_kind.startswith(name)]
    return CHIPS[max(known, key=len)] if known else None


def mfu(flops: float, seconds: float) -> float | None:
    """`flops` in `seconds` as a share of the peak of all devices; None if it is not known."""
    known = chip(jax.devices()[0])
    return None if known is None else flops / seconds / (known.flops * jax.device_count())


def needed_memory(compiled: jax.stages.Compiled) -> int:
    """Bytes of one device that a compiled step needs: its arguments, results and temporaries."""
    memory: Any = compiled.memory_analysis()
    needed: int = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    return needed + memory.output_size_in_bytes - memory.alias_size_in_bytes

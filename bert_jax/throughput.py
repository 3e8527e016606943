"""Useful work per step, counted on paper, and what the chips could do at most."""

from typing import Any, NamedTuple

import jax

from bert_jax.config import ModelConfig, Phase

GIB = 2**30


class Chip(NamedTuple):
    """Of one JAX device."""

    flops: float  # a second, bfloat16, dense
    memory: float = 0.0  # bytes
    bandwidth: float = 0.0  # bytes a second, of the memory
    link: float = 0.0  # bytes a second in one direction, along one dimension of a TPU's torus


# By the beginning of device_kind. Sources: cloud.google.com/tpu/docs/v2, /v3, /v4, /v5e, /v5p, /v6e
# and /tpu7x (a device of v2, v3 and 7x is half a chip; a link is the chip's interconnect divided by
# its ports); nvidia.com/en-us/data-center, the data sheets (without sparsity).
CHIPS = {
    'TPU v2': Chip(22.5e12),
    'TPU v3': Chip(61.5e12),
    'TPU v4': Chip(275e12, 32 * GIB, 1200e9, 50e9),
    'TPU v5 lite': Chip(197e12, 16 * GIB, 819e9, 50e9),
    'TPU v5e': Chip(197e12, 16 * GIB, 819e9, 50e9),
    'TPU v5p': Chip(459e12, 95 * GIB, 2765e9, 100e9),
    'TPU v5': Chip(459e12, 95 * GIB, 2765e9, 100e9),
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
    """What `device` could do at most; None where that is not known (CPUs)."""
    known = [name for name in CHIPS if device.device_kind.startswith(name)]
    return CHIPS[max(known, key=len)] if known else None


def encoder_flops(model: ModelConfig, phase: Phase) -> float:
    """Floating-point operations of one training step in the encoder's layers.

    2 a multiplication and addition, 3 times for forward and backward: the parameters of the layers
    once per token, and attention's two products. Nothing for what is recomputed, looked up or
    element-wise.
    """
    width, rows, length = model.hidden_size, phase.batch_size, phase.max_seq_length
    layer = 4 * width**2 + 2 * width * model.intermediate_size
    return 6.0 * rows * length * model.num_hidden_layers * layer + attention_flops(model, phase)


def attention_flops(model: ModelConfig, phase: Phase) -> float:
    """Of these, those of the two products of queries, keys, probabilities and values."""
    width, rows, length = model.hidden_size, phase.batch_size, phase.max_seq_length
    return 6.0 * rows * length * model.num_hidden_layers * 2 * length * width


def step_flops(model: ModelConfig, phase: Phase) -> float:
    """The same with the masked-LM head on its slots, pooler and next-sentence head: of a step of
    pretraining."""
    width, rows = model.hidden_size, phase.batch_size
    masked = rows * phase.max_predictions_per_seq * (width**2 + width * model.vocab_size)
    sentence = rows * (width**2 + 2 * width)
    return encoder_flops(model, phase) + 6.0 * (masked + sentence)


def mfu(flops: float, seconds: float) -> float | None:
    """Share of all devices' peak that `flops` in `seconds` is; None where the peak is not known."""
    known = chip(jax.devices()[0])
    return None if known is None else flops / seconds / (known.flops * jax.device_count())


def needed_memory(compiled: jax.stages.Compiled) -> int:
    """Bytes of a device that a compiled step takes: what goes in and comes out, and temporaries."""
    memory: Any = compiled.memory_analysis()
    needed: int = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    return needed + memory.output_size_in_bytes - memory.alias_size_in_bytes

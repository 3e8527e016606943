"""Useful work per step, counted on paper, and what the chips could do at most."""

import jax

from bert_jax.config import ModelConfig, Phase

# Peak dense bfloat16 FLOP/s of one JAX device, by the beginning of its device_kind. Sources: Google
# Cloud's TPU system architecture pages (a device of v2, v3 and 7x is half a chip), NVIDIA's data
# sheets (without sparsity).
PEAK_FLOPS = {
    'TPU v2': 22.5e12,
    'TPU v3': 61.5e12,
    'TPU v4': 275e12,
    'TPU v5 lite': 197e12,
    'TPU v5e': 197e12,
    'TPU v5p': 459e12,
    'TPU v5': 459e12,
    'TPU v6 lite': 918e12,
    'TPU v6e': 918e12,
    'TPU7x': 1153.5e12,
    'NVIDIA A100': 312e12,
    'NVIDIA H100 PCIe': 756e12,
    'NVIDIA H100': 989e12,
    'NVIDIA H200': 989e12,
    'NVIDIA L40': 181e12,
    'NVIDIA L40S': 362e12,
    'NVIDIA L4': 121e12,
    'Tesla V100': 125e12,
    'Tesla T4': 65e12,
}


def peak_flops(device: jax.Device) -> float | None:
    """FLOP/s of `device` at its peak; None where it is not known (CPUs)."""
    known = [name for name in PEAK_FLOPS if device.device_kind.startswith(name)]
    return PEAK_FLOPS[max(known, key=len)] if known else None


def encoder_flops(model: ModelConfig, phase: Phase) -> float:
    """Floating-point operations of one training step in the encoder's layers.

    2 a multiplication and addition, 3 times for forward and backward: the parameters of the layers
    once per token, and attention's two products. Nothing for what is recomputed, looked up or
    element-wise.
    """
    width, rows, length = model.hidden_size, phase.batch_size, phase.max_seq_length
    layer = 4 * width**2 + 2 * width * model.intermediate_size
    attention = 2 * length * width
    return 6.0 * rows * length * model.num_hidden_layers * (layer + attention)


def step_flops(model: ModelConfig, phase: Phase) -> float:
    """The same with the masked-LM head on its slots, pooler and next-sentence head: of a step of
    pretraining."""
    width, rows = model.hidden_size, phase.batch_size
    masked = rows * phase.max_predictions_per_seq * (width**2 + width * model.vocab_size)
    sentence = rows * (width**2 + 2 * width)
    return encoder_flops(model, phase) + 6.0 * (masked + sentence)


def mfu(flops: float, seconds: float) -> float | None:
    """Share of all devices' peak that `flops` in `seconds` is; None where the peak is not known."""
    peak = peak_flops(jax.devices()[0])
    return None if peak is None else flops / seconds / (peak * jax.device_count())

"""Peaks by the names that devices really have, and the figures of TPUs beside JAX's own."""

import types

import jax
import pytest
from jax.experimental.pallas import tpu

from bert_jax.parallel import chips


@pytest.mark.parametrize(
    ('kind', 'peak'),
    [
        ('TPU v5 lite', 197e12),
        ('TPU v5', 459e12),
        ('NVIDIA A100-SXM4-40GB', 312e12),
        ('NVIDIA H100 80GB HBM3', 989e12),
        ('NVIDIA H100 PCIe', 756e12),
        ('NVIDIA L4', 121e12),
        ('NVIDIA L40S', 362e12),
        ('NVIDIA H200 NVL', 835e12),
        ('cpu', None),
        ('NVIDIA B999', None),
    ],
)
def test_peaks(kind: str, peak: float | None) -> None:
    chip = chips.chip(types.SimpleNamespace(device_kind=kind))
    assert (chip.flops if chip else None) == peak


def test_mfu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chips.mfu(1e12, 1.0) is None  # CPUs: not known
    monkeypatch.setattr(chips, 'chip', lambda device: chips.Chip(1e12))
    assert chips.mfu(4e12, 2.0) == pytest.approx(2.0 / jax.device_count())


# The ratio of the value of JAX to that of bert_jax, if they differ by more than 3 %.
DIFFERENT = {
    ('TPU v3', 'flops'): 70 / 61.5,  # the documentation has 123 TFLOP/s for a chip, JAX has 140
    ('TPU v5', 'bandwidth'): 2460 / 2765,
}


VERSIONS = {
    'TPU v2': 'v2',
    'TPU v3': 'v3',
    'TPU v4': 'v4',
    'TPU v5 lite': 'v5e',
    'TPU v5e': 'v5e',
    'TPU v5': 'v5p',
    'TPU v6 lite': 'v6e',
    'TPU v6e': 'v6e',
    'TPU7x': '7x',
}


@pytest.mark.parametrize('kind', [kind for kind in chips.CHIPS if kind.startswith('TPU')])
def test_figures_of_tpus_are_those_of_jax(kind: str) -> None:
    """A device is a chip with all of its cores (v4, v5p), or one core of two (v2, v3, 7x)."""
    version = tpu.ChipVersion(VERSIONS[kind])
    cores = 2 if version.supports_megacore else 1
    info = tpu.get_tpu_info_for_chip(version, cores)
    per_core = {
        'flops': info.bf16_ops_per_second,
        'memory': info.hbm_capacity_bytes,
        'bandwidth': info.mem_bw_bytes_per_second,
    }
    for name, value in per_core.items():
        if ours := getattr(chips.CHIPS[kind], name):
            expected = DIFFERENT.get((kind, name), 1)
            assert cores * value / ours == pytest.approx(expected, rel=0.03), name

"""The compiler options of the step: which there are, and that the compiler accepts them."""

import types
from typing import Any

import jax
import numpy as np
import pytest

from bert_jax.parallel import xla_options


def mesh_of(platform: str) -> Any:
    return types.SimpleNamespace(devices=np.array([types.SimpleNamespace(platform=platform)]))


@pytest.mark.parametrize('platform', ['gpu', 'cuda'])
def test_xla_knows_the_options(platform: str) -> None:
    """Those of GPUs are known to XLA on CPU too; those of TPUs are in plans' compilations."""
    options = xla_options.options(mesh_of(platform))
    assert options
    assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2


def test_a_cpu_is_told_nothing() -> None:
    assert xla_options.options(mesh_of('cpu')) == {}


@pytest.mark.parametrize(
    ('kind', 'slices', 'chips', 'accepted'),
    [
        ('TPU v5 lite', 1, 1, True),
        ('TPU v5 lite', 1, 16, True),
        ('TPU v5 lite', 1, 24, False),
        ('TPU v5 lite', 1, 256, False),
        ('TPU v5 lite', 2, 16, True),  # 32 chips, but no slice has more than 16
        ('TPU v5 lite', 2, 32, False),
        ('TPU v5e', 1, 32, False),
        ('TPU v4', 1, 64, True),
        ('TPU v5', 1, 64, True),  # v5p
        ('TPU v6 lite', 1, 256, True),
        ('TPU7x', 1, 128, True),
    ],
)
def test_async_all_to_all_is_only_for_slices_that_accept_it(
    kind: str, slices: int, chips: int, accepted: bool
) -> None:
    """`chips` are those of one slice."""
    devices = [
        types.SimpleNamespace(platform='tpu', device_kind=kind, slice_index=index)
        for index in range(slices)
        for _ in range(chips)
    ]
    mesh: Any = types.SimpleNamespace(devices=np.array(devices).reshape(slices, chips))
    options = xla_options.options(mesh)
    assert (xla_options.ASYNC_ALL_TO_ALL in options) == accepted
    others = set(xla_options.OPTIONS['tpu']) - {xla_options.ASYNC_ALL_TO_ALL}
    assert others <= set(options), 'every TPU accepts the others'


@pytest.mark.parametrize(
    ('variable', 'platform', 'option'),
    [
        ('XLA_FLAGS', 'gpu', 'xla_gpu_triton_gemm_any'),
        ('LIBTPU_INIT_ARGS', 'tpu', 'xla_tpu_enable_async_collective_fusion'),
    ],
)
def test_what_the_user_says_of_an_option_is_left(
    monkeypatch: pytest.MonkeyPatch, variable: str, platform: str, option: str
) -> None:
    monkeypatch.delenv(variable, raising=False)
    ours = xla_options.options(mesh_of(platform))
    monkeypatch.setenv(variable, f'--a=b --{option}=false')
    left = xla_options.options(mesh_of(platform))
    assert set(ours) - set(left) == {option}
    monkeypatch.setenv(variable, f'--{option}')
    assert xla_options.options(mesh_of(platform)) == left
    monkeypatch.setenv(variable, f'--{option}_else=true')
    assert xla_options.options(mesh_of(platform)) == ours

"""What XLA is told: options it has, by where the step runs, and the user's before ours."""

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

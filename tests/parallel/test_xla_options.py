"""The compiler options of the step: which there are, and that the compiler accepts them."""

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_run
from jax.sharding import NamedSharding, PartitionSpec
from tiny_model import configured

from bert_jax.config import Config
from bert_jax.parallel import sharding, xla_options
from bert_jax.parallel.mesh import make_mesh
from bert_jax.performance import roofline, topologies
from bert_jax.tasks.pretraining import PretrainTask

RARE = pytest.mark.skipif(small_run.QUICK, reason='its collectives are compiled for each slice')
SLICES = ('v5e-256', 'v4-128', 'v5p-128', 'v6e-256', 'tpu7x-128')


def mesh_of(platform: str) -> Any:
    device = types.SimpleNamespace(platform=platform, device_kind='TPU v4')
    return types.SimpleNamespace(devices=np.array([device]))


@pytest.mark.parametrize('platform', ['gpu', 'cuda'])
def test_xla_knows_the_options(platform: str) -> None:
    """XLA on CPU knows those of GPUs. The compiler for TPUs checks those of TPUs below."""
    options = xla_options.options(mesh_of(platform))
    assert options
    assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2


def test_there_are_no_options_for_cpus() -> None:
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
def test_some_options_are_only_for_slices_that_accept_them(
    kind: str, slices: int, chips: int, accepted: bool
) -> None:
    """`chips` are those of one slice. accepted: whether they accept ASYNC_ALL_TO_ALL."""
    devices = [
        types.SimpleNamespace(platform='tpu', device_kind=kind, slice_index=index)
        for index in range(slices)
        for _ in range(chips)
    ]
    mesh: Any = types.SimpleNamespace(devices=np.array(devices).reshape(slices, chips))
    options = xla_options.options(mesh)
    assert (xla_options.ASYNC_ALL_TO_ALL in options) == accepted
    assert (xla_options.FUSED_ALL_GATHER in options) == (kind in xla_options.V5E)
    some = {xla_options.ASYNC_ALL_TO_ALL, xla_options.FUSED_ALL_GATHER}
    others = set(xla_options.OPTIONS['tpu']) - some
    assert others <= set(options), 'every TPU accepts the others'


@pytest.mark.parametrize(
    ('variable', 'platform', 'option'),
    [
        ('XLA_FLAGS', 'gpu', 'xla_gpu_triton_gemm_any'),
        ('LIBTPU_INIT_ARGS', 'tpu', 'xla_tpu_enable_async_collective_fusion'),
    ],
)
def test_an_option_that_the_user_sets_is_left_out(
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


def narrow_large() -> Config:
    """configs/large.py with its mesh and optimizer, but two narrow layers without dropout and one
    phase, so that it compiles several times as fast. The full width fails in the same way."""
    sizes = {'vocab_size': 2048, 'hidden_size': 128, 'num_hidden_layers': 2}
    sizes |= {'num_attention_heads': 2, 'intermediate_size': 256}
    rates = dict.fromkeys(('hidden_dropout_prob', 'attention_probs_dropout_prob'), 0.0)
    changes = {f'model.{key}': value for key, value in {**sizes, **rates}.items()}
    return configured('large', changes | {'train.phases': ((112_500, 128, 4_096, 20),)})


@pytest.mark.parametrize('name', SLICES)
def test_the_compiler_accepts_the_options_for_every_collective(name: str) -> None:
    """A program with one collective of each kind compiles in a second, the step in many."""
    pytest.importorskip('libtpu')
    mesh = make_mesh(narrow_large().mesh, topologies.devices(topologies.parse(name)))

    def collectives(x: jax.Array) -> tuple[jax.Array, ...]:
        """The collectives do not depend on each other, so that several can run at the same time."""
        swapped = jax.lax.all_to_all(x, 'fsdp', split_axis=0, concat_axis=1, tiled=True)
        whole = jax.lax.all_gather(x, 'fsdp', tiled=True)
        part = jax.lax.psum_scatter(x, 'fsdp', tiled=True)
        total = jax.lax.psum(x, 'data')
        return swapped, whole, part, total, x @ x.T

    rows = PartitionSpec(sharding.BATCH_AXES)
    program = jax.shard_map(collectives, mesh=mesh, in_specs=rows, out_specs=rows, check_vma=False)
    x = jax.ShapeDtypeStruct(
        (64 * mesh.size, 1024), jnp.float32, sharding=NamedSharding(mesh, rows)
    )
    jax.jit(program, compiler_options=xla_options.options(mesh)).lower(x).compile()


@pytest.mark.slow
@pytest.mark.parametrize(
    'name', [name if name == 'v5e-256' else pytest.param(name, marks=RARE) for name in SLICES]
)
def test_the_compiler_accepts_the_options_for_the_step(name: str) -> None:
    pytest.importorskip('libtpu')
    config, tpu_slice = narrow_large(), topologies.parse(name)
    phase, devices = config.train.phases[0], topologies.devices(tpu_slice)
    plan = roofline.plan(config, PretrainTask(config.model), phase, tpu_slice, devices)
    assert plan['fits']

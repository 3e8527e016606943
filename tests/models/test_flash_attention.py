"""The TPU's kernel, interpreted on CPU, against plain attention."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bert_jax.config import Config, MeshConfig, ModelConfig, validate
from bert_jax.models import flash_attention
from bert_jax.models.attention import SelfAttention
from bert_jax.models.inputs import EncoderInputs
from bert_jax.parallel.mesh import make_mesh, platform

ROWS, LENGTH, HEADS, HEAD_DIM = 4, 256, 2, 8
MASK = np.int32(np.arange(LENGTH)[None] < np.array([256, 100, 3, 0])[:, None])
MODEL = ModelConfig(hidden_size=16, num_attention_heads=2, attention_probs_dropout_prob=0.0)


def plain(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    scores = jnp.einsum('bqhd,bkhd->bhqk', q, k) * HEAD_DIM**-0.5
    probs = jax.nn.softmax(jnp.where(MASK[:, None, None] > 0, scores, -1e9))
    return jnp.einsum('bhqk,bkhd->bqhd', probs, v)


@pytest.mark.slow
@pytest.mark.parametrize(('meshed', 'largest'), [(False, 128), (False, 512), (True, 512)])
def test_values_and_gradients(monkeypatch: pytest.MonkeyPatch, meshed: bool, largest: int) -> None:
    """The kernel runs on one device, in one block and in two, and on eight devices."""
    monkeypatch.setattr(flash_attention, 'LARGEST', largest)
    random = np.random.default_rng(0)
    qkv = [jnp.float32(random.normal(size=(ROWS, LENGTH, HEADS, HEAD_DIM))) for _ in range(3)]

    def loss(attend, q, k, v):
        return jnp.sum(jnp.sin(attend(q, k, v)) * MASK[:, :, None, None])

    def kernel(*qkv):
        attend = functools.partial(flash_attention._splash, interpret=True)
        return flash_attention._on_each_device(attend, *qkv, jnp.asarray(MASK))

    expected = jax.value_and_grad(lambda *x: loss(plain, *x), (0, 1, 2))(*qkv)
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2)) if meshed else None
    step = jax.jit(jax.value_and_grad(lambda *x: loss(kernel, *x), (0, 1, 2)))
    if mesh is None:
        found = step(*qkv)
    else:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            found = step(*[jax.device_put(x, jax.NamedSharding(mesh, jax.P())) for x in qkv])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), found, expected)


def test_where_there_is_no_kernel(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flash_attention._log_missing.cache_clear()
    for name, length, head_dim, dtype, there in (
        ('cpu', 128, 64, jnp.bfloat16, None),
        ('gpu', 100, 64, jnp.bfloat16, flash_attention._cudnn),
        ('gpu', 128, 64, jnp.float32, None),
        ('gpu', 128, 26, jnp.bfloat16, None),
        ('gpu', 128, 256, jnp.bfloat16, None),
        ('tpu', 128, 64, jnp.bfloat16, flash_attention._splash),
        ('tpu', 100, 64, jnp.bfloat16, None),
    ):
        monkeypatch.setattr(flash_attention, 'platform', lambda name=name: name)
        monkeypatch.setattr(
            jax, 'local_devices', lambda: [types.SimpleNamespace(compute_capability='9.0')]
        )
        caplog.clear()
        for _ in range(2):
            kernel = flash_attention.kernel(length, head_dim, jnp.dtype(dtype))
        assert (kernel.args[0] if kernel else None) is there
        said = [f'no flash attention on a {name} for rows of {length} tokens'] * (there is None)
        assert [line.partition(',')[0] for line in caplog.messages] == said


def test_the_kernel_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel receives the segments, which give the lengths of the rows."""
    seen = []
    monkeypatch.setattr(
        flash_attention, 'kernel', lambda length, *_: lambda *x: seen.append((length, x[3])) or x[0]
    )
    x = jnp.zeros((ROWS, LENGTH, 16))
    for attention in ('dense', 'flash'):
        module = SelfAttention(dataclasses.replace(MODEL, attention=attention))
        inputs = EncoderInputs(jnp.asarray(MASK), segment_ids=jnp.asarray(MASK))
        params = module.init(jax.random.key(0), x, inputs, True)
        module.apply(params, x, inputs, True)
    assert [length for length, _ in seen] == [LENGTH]
    assert seen[0][1].shape == (ROWS, LENGTH)


def test_it_does_not_drop_probabilities() -> None:
    model = dataclasses.replace(MODEL, attention='flash', attention_probs_dropout_prob=0.1)
    with pytest.raises(ValueError, match=r"model.attention is 'flash'; expected 'dense' because"):
        validate(Config(model=model))


def test_where_a_mesh_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program for other machines is compiled for their platform, not for that of this host."""
    mesh = make_mesh(MeshConfig())
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    assert platform() == 'gpu'
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        assert platform() == 'cpu'

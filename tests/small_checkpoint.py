"""Checkpoints of a few arrays, and ways to damage them."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax.training.checkpoint import Checkpoints
from bert_jax.training.train_step import TrainState


def small(step: int) -> TrainState:
    """A state of a few arrays; its numbers depend on `step`."""
    kernel = np.random.default_rng(step).normal(size=(20, 150)).astype('float32')
    params = {'kernel': jnp.asarray(kernel), 'bias': jnp.full((7,), step / 3)}
    return TrainState(
        jnp.int32(step), jnp.int32(0), params, {'mu': jax.tree.map(lambda x: x * 2, params)}
    )


def abstract(state: TrainState) -> TrainState:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


def save(workdir: pathlib.Path, *steps: int, keep: int = 9) -> None:
    checkpoints = Checkpoints(workdir, keep)
    for step in steps:
        checkpoints.save(step, small(step))
    checkpoints.close()


def assert_same(a: TrainState | None, b: TrainState | None) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def files(workdir: pathlib.Path, step: int | str) -> list[pathlib.Path]:
    folder = workdir / 'checkpoints' / str(step)
    return sorted(p for p in folder.rglob('*') if p.is_file() and p.stat().st_size)


def damage(path: pathlib.Path, how: str) -> None:
    content = path.read_bytes()
    if how == 'missing':
        path.unlink()
    elif how == 'half':
        path.write_bytes(content[: len(content) // 2])
    elif how == 'empty':
        path.write_bytes(b'')
    else:
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 0x10
        path.write_bytes(bytes(flipped))


def data_file(workdir: pathlib.Path, step: int) -> pathlib.Path:
    return max(files(workdir, step), key=lambda path: path.stat().st_size)

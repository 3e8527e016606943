"""Checksums of arrays depend on the values alone, and every change of a value changes them."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from bert_jax.config import MeshConfig
from bert_jax.parallel.mesh import make_mesh
from bert_jax.training.checksums import checksums


def test_checksums_do_not_depend_on_sharding() -> None:
    tree = {
        'float32': jnp.linspace(-3, 3, 64).reshape(8, 8),
        'bfloat16': jnp.arange(32, dtype=jnp.bfloat16).reshape(8, 4),
        'int8': jnp.arange(-8, 8, dtype=jnp.int8),
        'scalar': jnp.int32(-5),
    }
    expected = checksums(tree)
    assert len(set(expected.values())) == len(tree)
    for axes in ((8, 1), (2, 4)):
        mesh = make_mesh(MeshConfig(*axes))
        for spec in (PartitionSpec(('data', 'fsdp')), PartitionSpec('fsdp'), PartitionSpec()):
            placed = {
                name: jax.device_put(x, NamedSharding(mesh, spec if x.ndim else PartitionSpec()))
                for name, x in tree.items()
            }
            assert checksums(placed) == expected


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(['float32', 'bfloat16', 'int32', 'uint8']),
    index=st.integers(0, 34),
    bit=st.integers(0, 31),
)
def test_every_flipped_bit_changes_the_checksum(dtype: str, index: int, bit: int) -> None:
    x = np.asarray(jnp.arange(35).astype(dtype)).reshape(5, 7)
    width = x.dtype.itemsize
    words = x.view({1: np.uint8, 2: np.uint16, 4: np.uint32}[width]).copy()
    words.flat[index] ^= words.dtype.type(1 << bit % (8 * width))
    assert checksums({'x': x}) != checksums({'x': words.view(x.dtype)})


def test_checksums_notice_swapped_values() -> None:
    x = jnp.arange(12.0)
    assert checksums({'x': x}) != checksums(
        {'x': x.at[jnp.array([2, 9])].set(x[jnp.array([9, 2])])}
    )

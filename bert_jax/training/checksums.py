"""Checksums of the arrays of a checkpoint, which detect bits that differ from those saved."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax.config.console import plural
from bert_jax.parallel.sharding import path_name


@jax.jit
def _sums(tree: Any) -> Any:
    def checksum(x: jax.Array) -> jax.Array:
        unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[x.dtype.itemsize]
        words = jax.lax.bitcast_convert_type(x, unsigned).astype(jnp.uint32)
        index = jnp.zeros(x.shape, jnp.uint32)
        for axis, size in enumerate(x.shape):
            index = index * np.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
        # The weights are odd, so that any single flipped bit changes the sum.
        return jnp.sum(words * (2 * index + 1), dtype=jnp.uint32)

    return jax.tree.map(checksum, tree)


def checksums(tree: Any) -> dict[str, int]:
    """A checksum for each array, by path, to detect bits that differ from those that were saved.

    A sum of integers does not depend on the order of its terms, so the sharding does not change it.
    """
    return {name: int(value) for name, value in named(jax.device_get(_sums(tree))).items()}


def difference(sums: dict[str, int], saved: dict[str, Any]) -> str:
    """A message if some checksums differ; '' if all are equal."""
    wrong = sorted(name for name in set(sums) | set(saved) if sums.get(name) != saved.get(name))
    if not wrong:
        return ''
    differ = plural(len(wrong), 'array differs', 'arrays differ')
    return f'{differ} from what was saved (first: {wrong[0]})'


def named(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by path."""
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}

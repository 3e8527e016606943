"""The parameters that a fresh run starts from: random ones, or those of a checkpoint."""

import logging
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import traverse_util
from jax.sharding import NamedSharding, PartitionSpec

from bert_jax.config.console import plural
from bert_jax.models.heads import TASK_HEADS
from bert_jax.models.parameters import ParameterInfo
from bert_jax.training.checkpoint import check_params, load_params, saved_params

LOG = logging.getLogger('bert_jax.training.initialization')

# Maps the id of each token that the checkpoint's vocabulary lacks to the ids of the tokens into
# which that vocabulary splits it.
NewTokens = Mapping[int, tuple[int, ...]]
Flat = dict[str, Any]  # a tree as a dict, with paths such as 'pooler/dense/kernel' as its keys


def initial_params(
    source: epath.PathLike,
    fresh: Any,
    info: Any,
    task_head: bool = True,
    optional_heads: Collection[str] = (),
) -> Any:
    """Returns the parameters that are saved in `source`, with the shardings of `fresh`.

    info: the tree of `ParameterInfo`. These parameters keep their fresh values, which is logged:
    - a task head and the pooler below it, if `source` does not have them in the same shape;
    - a task head if `task_head` is False, because the saved head has other labels;
    - each of `optional_heads` of which `source` has no parameter;
    - additional rows of the vocabulary tables (see config.data.pad_vocab_to_multiple_of).

    Raises ValueError if any other parameter is missing or has another shape.
    """
    flat, facts = flatten(fresh), flatten(info)
    expected = _expected(source, flat, facts, task_head, optional_heads)
    loaded = flatten(load_params(source, unflatten(expected)))
    LOG.info('parameters from %s', source)
    if taken := {facts[path].part for path in loaded} & {*TASK_HEADS}:
        LOG.info('the task head (%s) is loaded from %s, too', ', '.join(taken), source)
    rows = {path: _with_fresh_rows(value, flat[path]) for path, value in loaded.items()}
    new = sorted(flat.keys() - loaded.keys())
    absent = {facts[path].part for path in new} & {*optional_heads}
    if absent:
        LOG.info(
            'heads that %s does not have start from random values: %s',
            source,
            ', '.join(sorted(absent)),
        )
    if others := [path for path in new if facts[path].part not in absent]:
        LOG.info('start from random values: %s', ', '.join(others))
    return unflatten(flat | rows)


def reinitialize(params: Any, fresh: Any, info: Any, layers: int) -> Any:
    """`params` with fresh values in the `layers` top layers and, if there are any, in the pooler
    (Zhang et al., 2021, section 5)."""
    if not layers:
        return params
    LOG.info('the top %s and the pooler start from random values', plural(layers, 'layer'))

    def chosen(fact: ParameterInfo, saved: jax.Array, random: jax.Array) -> jax.Array:
        if fact.part == 'layers':
            assert fact.axes[0] == 'layers', fact
            joined = jnp.concatenate([saved[:-layers], random[-layers:]])
            return jax.device_put(joined, saved.sharding)
        return random if fact.part == 'pooler' else saved

    return jax.tree.map(chosen, info, params, fresh)


def spread_layers(needed: int, count: int) -> list[int]:
    """The numbers of `needed` layers that are spread evenly over `count` layers, from the first to
    the last one."""
    return np.rint(np.linspace(0, count - 1, needed)).astype(int).tolist()


def with_new_tokens(params: Any, info: Any, new_tokens: NewTokens) -> Any:
    """`params` in which the rows of new tokens are the means of the rows of their old pieces."""
    if not new_tokens:
        return params
    number = plural(len(new_tokens), 'new token')
    LOG.info('%s: each embedding starts as the mean of its former pieces', number)
    rows = jnp.array(list(new_tokens))

    def started(fact: ParameterInfo, value: jax.Array) -> jax.Array:
        if fact.axes[0] != 'vocab':
            return value

        def fill(value: jax.Array) -> jax.Array:
            means = [jnp.mean(value[jnp.array(old)], axis=0) for old in new_tokens.values()]
            return value.at[rows].set(jnp.stack(means))

        return jax.jit(fill, out_shardings=value.sharding)(value)

    return jax.tree.map(started, info, params)


def check(
    source: epath.PathLike, fresh: Any, info: Any, optional_heads: Collection[str] = ()
) -> None:
    """Raises ValueError if `initial_params` would; reads no arrays.

    fresh: shapes, dtypes and shardings of the parameters.
    """
    expected = _expected(source, flatten(fresh), flatten(info), True, optional_heads)
    check_params(source, unflatten(expected))


def flatten(tree: Any) -> Flat:
    return traverse_util.flatten_dict(tree, sep='/')


def unflatten(flat: Flat) -> Any:
    return traverse_util.unflatten_dict(flat, sep='/')


def _expected(
    source: epath.PathLike,
    flat: Flat,
    facts: dict[str, ParameterInfo],
    task_head: bool,
    optional_heads: Collection[str],
) -> dict[str, jax.ShapeDtypeStruct]:
    """The parameters that `source` must have, in their saved shapes."""
    saved = {path: tuple(leaf.shape) for path, leaf in saved_params(source).items()}
    task_heads = {fact.part for fact in facts.values()} & {*TASK_HEADS}
    optional = {*task_heads, 'pooler'} if task_heads else set()
    absent = {*optional_heads} - {facts[path].part for path in saved if path in facts}

    def expects(path: str) -> bool:
        part = facts[path].part
        if part in absent or (part in task_heads and not task_head):
            return False
        return part not in optional or saved.get(path) == flat[path].shape

    return {
        path: _as_saved(facts[path], leaf, saved.get(path, leaf.shape))
        for path, leaf in flat.items()
        if expects(path)
    }


def _as_saved(fact: ParameterInfo, leaf: Any, saved: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    """`leaf` with its saved shape: a vocabulary table may have fewer rows in the checkpoint.

    In that case its rows are not split over devices, because their number may not divide.
    """
    shape, sharding = leaf.shape, leaf.sharding
    if fact.axes[0] == 'vocab' and saved[1:] == shape[1:] and saved[0] < shape[0]:
        shape = saved
        if isinstance(sharding, NamedSharding):
            spec = PartitionSpec(None, *sharding.spec[1:])
            sharding = NamedSharding(sharding.mesh, spec)
    return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=sharding)


def _with_fresh_rows(saved: jax.Array, fresh: jax.Array) -> jax.Array:
    """Returns the saved array. If the fresh array has more rows, they are added at the end."""
    if saved.shape == fresh.shape:
        return saved
    LOG.info('rows %d to %d of a vocabulary table are new', len(saved), len(fresh) - 1)
    join = jax.jit(
        lambda saved, fresh: jax.lax.dynamic_update_slice_in_dim(fresh, saved, 0, axis=0),
        out_shardings=fresh.sharding,
    )
    return join(saved, fresh)

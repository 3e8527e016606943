"""The parameters a fresh run starts with, where it does not start with random ones."""

import logging
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath
from flax import traverse_util
from jax.sharding import NamedSharding, PartitionSpec

from bert_jax.models.heads import TASK_HEADS, head_of
from bert_jax.training.checkpoint import check_params, load_params, saved_params

LOG = logging.getLogger('bert_jax.training.initialization')
# Parameters with a row per token, which may be padded.
VOCABULARY_TABLES = ('encoder/embeddings/word_embeddings', 'masked_lm_bias', 'masked_lm_decoder')


def initial_params(source: epath.PathLike, fresh: Any, reinit_layers: int = 0) -> Any:
    """The parameters saved in `source`, onto the shardings of `fresh`. Rows that `fresh` has beyond
    a saved vocabulary table (see config.data.pad_vocab_to_multiple_of) stay fresh.

    The head of a task, and the pooler below it, stay fresh where `source` has none of their shape,
    as do the `reinit_layers` top layers with the pooler (Zhang et al., 2021, section 5). Raises
    ValueError where anything else is missing.
    """
    flat = traverse_util.flatten_dict(fresh, sep='/')
    wanted = _wanted(source, flat)
    new = flat.keys() - wanted.keys()
    loaded = load_params(source, traverse_util.unflatten_dict(wanted, sep='/'))
    values = dict(flat)
    for path, value in traverse_util.flatten_dict(loaded, sep='/').items():
        values[path] = _with_rows_of(flat[path], value)
    LOG.info('parameters from %s', source)
    if reinit_layers:
        values = _reinitialized(values, flat, reinit_layers)
        LOG.info('fresh: the top %d layers and the pooler', reinit_layers)
    if new:
        LOG.info('fresh: %s', ', '.join(sorted(new)))
    return traverse_util.unflatten_dict(values, sep='/')


def check(source: epath.PathLike, fresh: Any) -> None:
    """Raises ValueError where `initial_params` would find no parameters that fit; reads no arrays.

    fresh: their shapes, dtypes and shardings.
    """
    wanted = _wanted(source, traverse_util.flatten_dict(fresh, sep='/'))
    check_params(source, traverse_util.unflatten_dict(wanted, sep='/'))


def _wanted(source: epath.PathLike, flat: dict[str, Any]) -> dict[str, jax.ShapeDtypeStruct]:
    """What of the parameters `source` has to have."""
    saved = saved_params(source)
    heads = {head_of(path) for path in flat}
    optional = {*TASK_HEADS, 'pooler'} if heads & {*TASK_HEADS} else set()
    return {
        path: _as_saved(path, leaf, tuple(saved[path].shape) if path in saved else leaf.shape)
        for path, leaf in flat.items()
        if head_of(path) not in optional
        or (path in saved and tuple(saved[path].shape) == leaf.shape)
    }


def _as_saved(path: str, leaf: Any, saved: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    """`leaf` with the rows that are saved, if it is a vocabulary table with more rows than those.
    They are not split over devices, because they may not divide."""
    shape, sharding = leaf.shape, leaf.sharding
    if path in VOCABULARY_TABLES and saved[1:] == shape[1:] and saved[0] < shape[0]:
        shape = saved
        if isinstance(sharding, NamedSharding):
            spec = PartitionSpec(None, *sharding.spec[1:])
            sharding = NamedSharding(sharding.mesh, spec)
    return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=sharding)


def _with_rows_of(fresh: jax.Array, saved: jax.Array) -> jax.Array:
    """The saved array, followed by the rows that only the fresh one has."""
    if saved.shape == fresh.shape:
        return saved
    LOG.info('fresh: rows %d to %d of a vocabulary table', len(saved), len(fresh) - 1)
    join = jax.jit(
        lambda saved, fresh: jax.lax.dynamic_update_slice_in_dim(fresh, saved, 0, axis=0),
        out_shardings=fresh.sharding,
    )
    return join(saved, fresh)


def _reinitialized(values: dict, fresh: dict, layers: int) -> dict:
    def value(path: str, old: jax.Array) -> jax.Array:
        if path.startswith('encoder/layers/'):
            joined = jnp.concatenate([old[:-layers], fresh[path][-layers:]])
            return jax.device_put(joined, old.sharding)
        return fresh[path] if head_of(path) == 'pooler' else old

    return {path: value(path, old) for path, old in values.items()}

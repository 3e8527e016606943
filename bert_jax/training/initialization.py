"""The parameters a fresh run starts with, where it does not start with random ones."""

import logging
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath
from flax import traverse_util

from bert_jax.models.heads import TASK_HEADS, head_of
from bert_jax.training.checkpoint import check_params, load_params, saved_params

LOG = logging.getLogger('bert_jax.training.initialization')


def initial_params(source: epath.PathLike, fresh: Any, reinit_layers: int = 0) -> Any:
    """The parameters saved in `source`, onto the shardings of `fresh`.

    The head of a task, and the pooler below it, stay fresh where `source` has none of their shape,
    as do the `reinit_layers` top layers with the pooler (Zhang et al., 2021, section 5). Raises
    ValueError where anything else is missing.
    """
    flat = traverse_util.flatten_dict(fresh, sep='/')
    wanted = _wanted(source, flat)
    new = flat.keys() - wanted.keys()
    loaded = load_params(source, traverse_util.unflatten_dict(wanted, sep='/'))
    values = flat | traverse_util.flatten_dict(loaded, sep='/')
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
        path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
        for path, leaf in flat.items()
        if head_of(path) not in optional
        or (path in saved and tuple(saved[path].shape) == leaf.shape)
    }


def _reinitialized(values: dict, fresh: dict, layers: int) -> dict:
    def value(path: str, old: jax.Array) -> jax.Array:
        if path.startswith('encoder/layers/'):
            joined = jnp.concatenate([old[:-layers], fresh[path][-layers:]])
            return jax.device_put(joined, old.sharding)
        return fresh[path] if head_of(path) == 'pooler' else old

    return {path: value(path, old) for path, old in values.items()}

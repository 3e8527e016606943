"""Initial parameters of an encoder-decoder that starts from encoders (Rothe et al., 2020)."""

import dataclasses
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax.config import Config
from bert_jax.models.heads import DECODER, head_of
from bert_jax.models.parameters import ParameterInfo
from bert_jax.training import initialization
from bert_jax.training.checkpoint import saved_params
from bert_jax.training.initialization import Flat, flatten, spread_layers, unflatten

FRESH = 'cross_attention'  # the part of a decoder that no encoder has
HEAD = 'masked_lm'


def initial_params(
    config: Config, fresh: Any, info: Any, task_head: bool, optional_heads: Collection[str]
) -> Any:
    """Returns the parameters of a new run that starts from config.init_from.

    The encoder starts from init_from. If init_from has a decoder, everything does. Otherwise the
    decoder and the masked-LM head start from init_decoder_from or, if that is not set, from
    init_from, and the attention to the source keeps its fresh values. If the decoder has fewer
    layers, they are spread evenly over those of the checkpoint. The top config.reinit_layers
    layers and the pooler keep their fresh values. The other arguments, and the parameters of models
    without a decoder, are those of `initialization.initial_params`.
    """
    flat, facts = flatten(fresh), flatten(info)
    values = dict(flat)
    for source, paths in _sources(config, flat, facts).items():
        needed = _in_checkpoint(source, paths, flat, facts)
        loaded = flatten(initialization.initial_params(source, *needed, task_head, optional_heads))
        for ours, theirs in paths.items():
            value = loaded[theirs]
            values[ours] = value if ours == theirs else _copied(facts[ours], value, flat[ours])
    return initialization.reinitialize(unflatten(values), fresh, info, config.reinit_layers)


def check(config: Config, fresh: Any, info: Any, optional_heads: Collection[str]) -> None:
    """Raises ValueError if `initial_params` would raise it, but reads no arrays.

    fresh: shapes, dtypes and shardings of the parameters.
    """
    flat, facts = flatten(fresh), flatten(info)
    for source, paths in _sources(config, flat, facts).items():
        needed = _in_checkpoint(source, paths, flat, facts)
        initialization.check(source, *needed, optional_heads)


def _sources(config: Config, flat: Flat, facts: Flat) -> dict[str, dict[str, str]]:
    """Returns the parameters that start from each checkpoint.

    The keys of the result are the checkpoints. The values map the path of a parameter in the model
    to its path in the checkpoint.
    """
    start = config.init_from
    if not any(head_of(path) == DECODER for path in flat) or _has_decoder(start):
        return {start: {path: path for path in flat}}
    of_decoder = config.init_decoder_from or start
    sources: dict[str, dict[str, str]] = {start: {}, of_decoder: {}}
    for path in flat:
        if (head := head_of(path)) == DECODER and facts[path].part != FRESH:
            sources[of_decoder][path] = path.replace(DECODER, 'encoder', 1)
        elif head != DECODER:
            sources[of_decoder if head == HEAD else start][path] = path
    return sources


def _in_checkpoint(source: str, paths: dict[str, str], flat: Flat, facts: Flat) -> tuple[Any, Any]:
    """Returns the fresh values and the facts of parameters, with the paths that they have in the
    checkpoint.

    A parameter of the decoder gets the number of layers that the encoder in the checkpoint has. Its
    facts become those of the encoder's layers, which the checkpoint must have. The decoder counts
    as a task head, which a checkpoint may lack.
    """
    saved = saved_params(source)
    fresh, info = Flat(), Flat()
    for ours, theirs in paths.items():
        if ours == theirs:
            fresh[ours], info[ours] = flat[ours], facts[ours]
        elif theirs not in paths:  # otherwise the encoder starts from it, too
            fresh[theirs] = _as_deep(flat[ours], saved.get(theirs))
            info[theirs] = dataclasses.replace(facts[ours], part='layers')
    return unflatten(fresh), unflatten(info)


def _has_decoder(source: str) -> bool:
    return any(head_of(path) == DECODER for path in saved_params(source))


def _as_deep(leaf: Any, saved: Any) -> Any:
    """Returns `leaf` with the number of layers of the saved parameter, if that is larger and
    nothing else differs; otherwise `leaf`."""
    if saved is None or saved.shape[1:] != leaf.shape[1:] or saved.shape[0] <= leaf.shape[0]:
        return leaf
    shape = (saved.shape[0], *leaf.shape[1:])
    return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=leaf.sharding)


def _copied(fact: ParameterInfo, loaded: jax.Array, fresh: jax.Array) -> jax.Array:
    """Returns a copy of the loaded parameter, with the number of layers of the model.

    A copy is needed, because the encoder may have the same array, and a training step frees the
    memory of each array that it receives.
    """
    if fact.axes[0] != 'layers' or len(loaded) == len(fresh):
        return jnp.copy(loaded)
    chosen = np.array(spread_layers(len(fresh), len(loaded)))
    return jax.jit(lambda x: x[chosen], out_shardings=fresh.sharding)(loaded)

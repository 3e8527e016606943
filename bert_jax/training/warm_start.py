"""Initial parameters of an encoder-decoder that starts from encoders (Rothe et al., 2020)."""

import dataclasses
from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import numpy as np

from bert_jax.config import Config
from bert_jax.models.heads import DECODER, head_of
from bert_jax.models.parameters import ParameterInfo
from bert_jax.training import initialization
from bert_jax.training.checkpoint import saved_params
from bert_jax.training.initialization import Flat, flatten, unflatten

FRESH = 'cross_attention'  # the part of a decoder that no encoder has
HEAD = 'masked_lm'


class _Part(NamedTuple):
    """Parameters that start from one checkpoint.

    source: the checkpoint. paths: their paths in the model, by their paths in the checkpoint.
    fresh: their fresh values, by the paths in the checkpoint and with its number of layers. info:
    their facts, by the same paths. reinit_layers: see `initialization.initial_params`. others: the
    paths in the checkpoint of parameters that another part starts from. what: the name in the log.
    """

    source: str
    paths: dict[str, str]
    fresh: Flat
    info: Flat
    reinit_layers: int = 0
    others: Collection[str] = ()
    what: str = 'parameters'


def initial_params(
    config: Config, fresh: Any, info: Any, task_head: bool, optional_heads: Collection[str]
) -> Any:
    """Returns the parameters of a new run that starts from config.init_from.

    The encoder starts from init_from. If init_from has a decoder, everything does. Otherwise the
    decoder and the masked-LM head start from init_decoder_from or, if that is not set, from
    init_from, and the attention to the source keeps its fresh values. If the decoder has fewer
    layers, they are spread evenly over those of the checkpoint. The other arguments, and the
    parameters of models without a decoder, are those of `initialization.initial_params`.
    """
    flat, facts = flatten(fresh), flatten(info)
    values = dict(flat)
    for part in _parts(config, flat, facts):
        loaded = flatten(
            initialization.initial_params(
                part.source,
                unflatten(part.fresh),
                unflatten(part.info),
                part.reinit_layers,
                task_head,
                optional_heads,
                part.others,
                part.what,
            )
        )
        for path, ours in part.paths.items():
            values[ours] = _chosen_layers(facts[ours], loaded[path], flat[ours])
    return unflatten(values)


def check(config: Config, fresh: Any, info: Any, optional_heads: Collection[str]) -> None:
    """Raises ValueError if `initial_params` would raise it, but reads no arrays.

    fresh: shapes, dtypes and shardings of the parameters.
    """
    for part in _parts(config, flatten(fresh), flatten(info)):
        trees = unflatten(part.fresh), unflatten(part.info)
        initialization.check(part.source, *trees, optional_heads)


def _parts(config: Config, flat: Flat, facts: dict[str, ParameterInfo]) -> list[_Part]:
    """Returns the parameters in groups that start from the same checkpoint."""
    start, reinit_layers = config.init_from, config.reinit_layers
    if not any(head_of(path) == DECODER for path in flat) or _has_decoder(start):
        return [_Part(start, {path: path for path in flat}, flat, facts, reinit_layers)]
    encoder = [path for path in flat if head_of(path) not in (DECODER, HEAD)]
    decoder = [
        path for path in flat if head_of(path) in (DECODER, HEAD) and facts[path].part != FRESH
    ]
    first = _part(start, encoder, flat, facts, reinit_layers)._replace(
        what='parameters of the encoder'
    )
    second = _part(config.init_decoder_from or start, decoder, flat, facts)._replace(
        what='parameters of the decoder'
    )
    if first.source == second.source:
        # Parameters that are not used are logged once, when the first part is loaded.
        first = first._replace(others=second.paths)
        second = second._replace(others=saved_params(start))
    return [first, second]


def _part(
    source: str,
    paths: list[str],
    flat: Flat,
    facts: dict[str, ParameterInfo],
    reinit_layers: int = 0,
) -> _Part:
    """Returns the parameters at `paths`, which start from the encoder in `source`."""
    saved = saved_params(source)
    theirs = {_in_encoder(path): path for path in paths}
    fresh = {path: _as_deep(flat[ours], saved.get(path)) for path, ours in theirs.items()}
    # The decoder counts as a task head, which a checkpoint may lack. Its parameters get the facts
    # of the encoder's layers, which the checkpoint must have.
    info = {
        path: dataclasses.replace(facts[ours], part='layers')
        if facts[ours].part == DECODER
        else facts[ours]
        for path, ours in theirs.items()
    }
    return _Part(source, theirs, fresh, info, reinit_layers)


def _in_encoder(path: str) -> str:
    """Returns the path of the encoder's parameter from which a parameter starts."""
    return path.replace(DECODER, 'encoder', 1) if head_of(path) == DECODER else path


def _has_decoder(source: str) -> bool:
    return any(head_of(path) == DECODER for path in saved_params(source))


def _as_deep(leaf: Any, saved: Any) -> Any:
    """Returns `leaf` with the number of layers of the saved parameter, if that is larger and
    nothing else differs; otherwise `leaf`."""
    if saved is None or saved.shape[1:] != leaf.shape[1:] or saved.shape[0] <= leaf.shape[0]:
        return leaf
    shape = (saved.shape[0], *leaf.shape[1:])
    return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=leaf.sharding)


def _chosen_layers(fact: ParameterInfo, loaded: jax.Array, fresh: jax.Array) -> jax.Array:
    """Returns the loaded parameter with the number of layers of the model."""
    if fact.axes[0] != 'layers' or loaded.shape[0] == fresh.shape[0]:
        return loaded
    spread = np.linspace(0, loaded.shape[0] - 1, fresh.shape[0])
    chosen = np.rint(spread).astype(int)
    return jax.jit(lambda x: x[chosen], out_shardings=fresh.sharding)(loaded)

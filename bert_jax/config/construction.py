"""Configurations made from nested dicts: those of files and flags, and those of a config.json."""

import dataclasses
import functools
import logging
import math
from collections.abc import Mapping
from typing import Any

from bert_jax import __version__
from bert_jax.config import fields
from bert_jax.config.checks import validate
from bert_jax.config.errors import config_error, unknown_key
from bert_jax.config.fields import INHERIT
from bert_jax.config.model import RATES, ModelConfig
from bert_jax.config.schema import Config, Phase

LOG = logging.getLogger('bert_jax.config')


def from_dict(values: Mapping[str, Any]) -> Config:
    """Returns a validated `Config` with the values of nested dicts.

    Raises ValueError naming the key for unknown keys, wrong types and impossible values.
    """
    return validate(_with_rates(_build(Config, values)))


def _with_rates(config: Config) -> Config:
    """Returns `config` with the default rates in place of INHERIT, if it has no init_from."""
    if config.init_from:
        return config
    rates = {
        name: getattr(ModelConfig(), name)
        for name in RATES
        if getattr(config.model, name) == INHERIT
    }
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **rates))


def model_from_dict(values: Mapping[str, Any]) -> ModelConfig:
    """Returns the `ModelConfig` with these values; `validate` checks whether they are allowed.

    Raises ValueError for unknown keys and wrong types.
    """
    model: ModelConfig = _build(ModelConfig, values, 'model')
    return model


def from_saved(values: Any, source: object) -> Config:
    """Returns the `Config` of a config.json, which any version of bert_jax may have written.

    source: the path of the file, for the log. Unknown keys are ignored and logged. Only the types
    of the values are checked. Raises ValueError naming the key.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f'expected keys and values, not {values!r}')
    version = values.get('version', 'an older version')
    values = {key: value for key, value in values.items() if key != 'version'}
    model, data = (values.get(name) for name in ('model', 'data'))
    older = isinstance(model, Mapping) and 'languages' not in model
    if older and isinstance(data, Mapping) and data.get('language') == 'en':
        values['data'] = {**data, 'language': ''}  # 'en' was the default
    ignored = list[str]()
    config: Config = _build(Config, values, ignored=ignored)
    if ignored:
        _log_ignored(str(source), str(version), ', '.join(f'config.{key}' for key in ignored))
    return config


@functools.cache  # once for each file
def _log_ignored(source: str, version: str, names: str) -> None:
    LOG.warning(
        '%s was written by bert_jax %s; version %s ignores %s', source, version, __version__, names
    )


def _build(cls: Any, values: Any, path: str = '', ignored: list[str] | None = None) -> Any:
    """An instance of the dataclass `cls`.

    ignored: a list that receives the unknown keys. If it is None, they raise ValueError.
    """
    if not isinstance(values, Mapping):
        raise config_error(path, values, 'keys and values')
    known = {field.name: field for field in dataclasses.fields(cls)}
    built = {}
    for name, value in values.items():
        key = f'{path}.{name}' if path else name
        if name not in known:
            if ignored is None:
                raise unknown_key(key, [f'{path}.{other}' if path else other for other in known])
            ignored.append(key)
        elif dataclasses.is_dataclass(known[name].type):
            built[name] = _build(known[name].type, value, key, ignored)
        elif key == 'train.phases':
            built[name] = _phases(value)
        else:
            built[name] = _scalar(known[name], value, key)
    return _with_slots(cls(**built)) if cls is Config else cls(**built)


def _scalar(field: dataclasses.Field, value: Any, key: str) -> Any:
    kind = fields.value_type(field)
    if kind is float and type(value) is int:
        value = float(value)
    if kind is tuple and isinstance(value, list | tuple) and all(map(_is_number, value)):
        value = tuple(map(float, value))
    if type(value) is not kind:
        given = f'{value!r} ({type(value).__name__})'
        raise ValueError(f'config.{key} must be {kind.__name__}, not {given}')
    if kind is float and not math.isfinite(value):
        raise ValueError(f'config.{key} must be a finite number, not {value}')
    return value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _phases(value: Any) -> tuple[Phase, ...]:
    names = ', '.join(Phase._fields[:4])
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f'config.train.phases must be a list of ({names}), not {value!r}')
    return tuple(_phase(phase, i, names) for i, phase in enumerate(value))


def _phase(value: Any, number: int, names: str) -> Phase:
    """The phase in a dict, or in a tuple of four integers and perhaps the masking rate."""
    given = dict[str, Any]()
    if isinstance(value, Mapping):
        given = dict(value)
    elif isinstance(value, list | tuple) and len(value) in (4, 5):
        given = dict(zip(Phase._fields, value, strict=False))
    if unknown := [key for key in given if key not in Phase._fields]:
        keys_of = f'config.train.phases[{number}]'
        known = ', '.join(Phase._fields)
        raise ValueError(f'{keys_of} has no key {unknown[0]!r}; its keys are {known}')
    rate = given.get('masked_lm_prob', 0.5)
    counts = [count for key, count in given.items() if key != 'masked_lm_prob']
    integers = all(type(count) is int and count > 0 for count in counts) and 'steps' in given
    if not integers or type(rate) is not float or not 0 < rate < 1:
        raise ValueError(
            f'config.train.phases[{number}] must be positive integers ({names}) or a dict with '
            f'these keys and masked_lm_prob, a number between 0 and 1; it is {value!r}'
        )
    return Phase(**given)


def _with_slots(config: Config) -> Config:
    """`config` in which each phase has its number of places for masked tokens."""

    def places(phase: Phase) -> int:
        rate = phase.masked_lm_prob or config.data.masked_lm_prob
        wanted = max(math.ceil(rate * phase.max_seq_length - 1e-9), 1)
        return phase.max_predictions_per_seq or min(wanted, phase.max_seq_length - 3)

    phases = tuple(
        phase._replace(max_predictions_per_seq=places(phase)) for phase in config.train.phases
    )
    return dataclasses.replace(config, train=dataclasses.replace(config.train, phases=phases))

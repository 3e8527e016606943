"""Checks of a configuration, and its construction from nested dicts."""

import dataclasses
import functools
import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

from bert_jax import __version__
from bert_jax.config import fields, keys
from bert_jax.config.errors import config_error, unknown_key
from bert_jax.config.fields import INHERIT
from bert_jax.config.model import RATES, ModelConfig
from bert_jax.config.schema import Config, OptimConfig, Phase

LOG = logging.getLogger('bert_jax.config')


def validate(config: Config) -> Config:
    """Returns `config`. Raises ValueError naming the first key whose value is not allowed."""
    for key, field in keys.KEYS.items():
        for limit in fields.limits(field):
            if not limit.holds(keys.get(config, key)):
                raise config_error(key, keys.get(config, key), limit.expected)
    for key, holds, expected in _rules_of_several_keys(config):
        if not holds:
            raise config_error(key, keys.get(config, key), expected)
    for i, phase in enumerate(config.train.phases if config.kind == 'pretraining' else ()):
        if expected := _expected_of_phase(config, phase):
            raise config_error(f'train.phases[{i}]', phase, expected)
    return config


def _rules_of_several_keys(config: Config) -> Iterator[tuple[str, bool, str]]:
    """Yields (key, whether its value is allowed, expected value) for rules about several keys."""
    model, optim, train = config.model, config.optim, config.train
    heads, dropped = model.num_attention_heads, model.attention_probs_dropout_prob
    expected = f'a multiple of num_attention_heads ({heads})'
    yield 'model.hidden_size', model.hidden_size % heads == 0, expected
    expected = (
        f"'dense' because model.attention_probs_dropout_prob is {dropped}, not 0: no kernel drops "
        'probabilities'
    )
    yield 'model.attention', model.attention == 'dense' or dropped <= 0, expected
    expected = "'dense' because model.local_attention is not 0: no kernel has local attention"
    yield 'model.attention', model.attention == 'dense' or not model.local_attention, expected
    rows = model.max_position_embeddings
    expected = f'less than model.max_position_embeddings ({rows})'
    yield 'model.position_offset', model.position_offset < rows, expected
    holds = model.pre_norm or not model.final_norm
    yield 'model.final_norm', holds, 'False because model.pre_norm is False'
    named, types = len(model.languages.split(',')), model.type_vocab_size
    expected = f'{types} names, as many as model.type_vocab_size, with commas between them'
    holds = not model.languages or model.model_type != 'xlm' or types < 2 or named == types
    yield 'model.languages', holds, expected
    rotary = model.position_embedding_type == 'rotary'
    expected = f"'rotary' only if the size of a head is even; it is {model.hidden_size // heads}"
    holds = not rotary or model.hidden_size // heads % 2 == 0
    yield 'model.position_embedding_type', holds, expected
    shared = 'because the layers share their parameters (model.share_layers)'
    yield 'optim.layer_decay', optim.layer_decay == 1 or not model.share_layers, f'1 {shared}'

    for key, objectives in keys.READ_BY.items() if config.kind == 'pretraining' else ():
        default = keys.get(Config(), key)
        holds = config.objective in objectives or keys.get(config, key) == default
        yield key, holds, f'{default!r} because the objective {config.objective!r} does not read it'
    yield from _rules_of_xlnet(config)

    for key, tasks in keys.READ_BY_TASK.items() if config.kind == 'finetuning' else ():
        default, task = keys.get(Config(), key), config.data.task
        holds = task in tasks or keys.get(config, key) == default
        yield key, holds, f'{default!r} because the task {task!r} does not read it'

    steps = config.schedule_steps
    expected = f'0 to {steps} (the steps of all phases)'
    yield 'train.num_steps', 0 <= train.num_steps <= steps, expected
    if config.kind == 'finetuning':
        expected = f'0 to {steps} (the steps of the run); 0 uses optim.warmup_fraction instead'
    elif optim.warmup_steps > steps:
        expected += (
            '. A shorter run needs a shorter warm-up: set for example '
            f'--config.optim.warmup_steps={max(steps // 10, 1)}'
        )
    yield 'optim.warmup_steps', 0 <= optim.warmup_steps <= steps, expected
    holds = not optim.fresh_learning_rate or optim.learning_rate > 0
    yield 'optim.fresh_learning_rate', holds, '0 because optim.learning_rate is 0'
    unread = f'because the schedule {optim.schedule!r} does not read it'
    holds = not optim.end_learning_rate or optim.schedule in ('linear', 'cosine', 'polynomial')
    yield 'optim.end_learning_rate', holds, f'0 {unread}'
    holds = optim.power == OptimConfig.power or optim.schedule == 'polynomial'
    yield 'optim.power', holds, f'{OptimConfig.power} {unread}'

    data = config.data
    several = 'False because data.multi_label is True'
    yield 'data.regression', not (data.regression and data.multi_label), several
    files = [name for name in ('eval_file', 'test_file') if getattr(data, name)]
    expected = f'empty because data.{" and data.".join(files)} is given'
    yield 'data.split_field', not (data.split_field and files), expected
    yield 'data.label_separator', bool(data.label_separator), 'one character or more'
    lines = filter(str.strip, config.data.examples.splitlines())
    yield 'data.examples', all(x.count('[MASK]') == 1 for x in lines), 'lines with one [MASK] each'
    expected = f'at most 2**32 - train.seeds ({train.seeds})'
    yield 'train.seed', train.seed + train.seeds <= 2**32, expected
    holds = not optim.freeze.isdecimal() or int(optim.freeze) <= model.num_hidden_layers
    holds = holds or bool(config.init_from)  # init_from may have more layers
    yield 'optim.freeze', holds, f'at most {model.num_hidden_layers}, the number of layers'
    holds = not optim.freeze.isdecimal() or not model.share_layers
    yield 'optim.freeze', holds, f"'embeddings' or empty {shared}"
    expected = 'empty if init_from is empty; it adds to the vocabulary of init_from'
    yield 'data.add_tokens', not config.data.add_tokens or bool(config.init_from), expected
    reinit = config.reinit_layers  # `model_dir.start_from` knows how many layers init_from has
    yield 'reinit_layers', reinit >= 0, '0 or more'
    yield 'reinit_layers', not reinit or bool(config.init_from), '0 if init_from is empty'
    yield 'reinit_layers', not reinit or not model.share_layers, f'0 {shared}'
    divides = config.kind == 'pretraining' or not train.batch_size % train.accum_steps
    yield 'train.batch_size', divides, f'a multiple of train.accum_steps ({train.accum_steps})'


# Fields for which XLNet supports only one value.
_XLNET = {
    'position_embedding_type': 'relative',
    'type_vocab_size': 4,
    'attention': 'dense',
    'attention_bias': False,
    'mlp_bias': True,
    'attention_output_dropout': True,
    'embedding_size': 0,
    'position_offset': 0,
    'local_attention': 0,
    'layerdrop': 0.0,
    'pre_norm': False,
    'gated_mlp': False,
}


def _rules_of_xlnet(config: Config) -> Iterator[tuple[str, bool, str]]:
    """Yields the rules about relative attention and its memory; see `_rules_of_several_keys`."""
    model, train = config.model, config.train
    is_xlnet = model.model_type == 'xlnet'
    for name, value in _XLNET.items() if is_xlnet else ():
        expected = f"{value!r} because model.model_type is 'xlnet'"
        yield f'model.{name}', getattr(model, name) == value, expected
    if not is_xlnet:
        named = ('position_embedding_type', model.position_embedding_type != 'relative')
        expected = f"another one, because model.model_type is {model.model_type!r}, not 'xlnet'"
        yield f'model.{named[0]}', named[1], expected
        yield 'model.clamp_len', not model.clamp_len, '0, because model.model_type is not xlnet'
    if not model.mem_len:
        yield 'model.reuse_len', not model.reuse_len, '0, because model.mem_len is 0'
        return
    shortest = min(phase.max_seq_length for phase in train.phases)
    expected = f'1 to {shortest - 8}, 8 less than the shortest row, because model.mem_len is not 0'
    yield 'model.reuse_len', 1 <= model.reuse_len <= shortest - 8, expected
    sizes = sorted({phase.batch_size for phase in train.phases})
    expected = (
        f'phases of one batch_size, because model.mem_len is not 0 and the memory belongs to the '
        f'rows of a batch; they have {sizes}'
    )
    yield 'train.phases', len(sizes) == 1, expected
    expected = '0, because model.mem_len is not 0, and such a run reads the text in its order'
    yield 'data.static_copies', not config.data.static_copies, expected


def _expected_of_phase(config: Config, phase: Phase) -> str:
    """Returns what is expected instead of `phase`; '' if the phase is allowed."""
    longest, parts = config.model.longest_row, config.train.accum_steps
    # The positions of init_from are not known yet; preflight.pretraining checks them.
    if phase.max_seq_length < 8 or (phase.max_seq_length > longest and not config.init_from):
        offset = ' - model.position_offset' if config.model.position_offset else ''
        return f'max_seq_length from 8 to model.max_position_embeddings{offset} ({longest})'
    if phase.max_predictions_per_seq > phase.max_seq_length - 3:
        return 'max_predictions_per_seq of at most max_seq_length - 3'
    if phase.batch_size % parts:
        return f'a batch_size divisible by train.accum_steps ({parts})'
    return ''


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
    given: dict[str, Any] | None = None
    if isinstance(value, Mapping):
        given = dict(value)
        if unknown := [key for key in given if key not in Phase._fields]:
            keys_of = f'config.train.phases[{number}]'
            known = ', '.join(Phase._fields)
            raise ValueError(f'{keys_of} has no key {unknown[0]!r}; its keys are {known}')
    elif isinstance(value, list | tuple) and len(value) in (4, 5):
        given = dict(zip(Phase._fields, value, strict=False))
    given = given or {}
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

"""Facts about configuration keys such as 'optim.eps', from the fields of the dataclasses."""

import dataclasses
from collections.abc import Collection, Iterator
from typing import Any

from ml_collections import ConfigDict

from bert_jax.config import fields
from bert_jax.config.fields import INHERIT, Fact
from bert_jax.config.model import RATES, ModelConfig
from bert_jax.config.schema import Config, Kind

# The kinds of runs, as messages name them.
KINDS: dict[Kind, str] = {'pretraining': 'pretraining', 'finetuning': 'fine-tuning'}
UNREAD: dict[Kind, Fact] = {'pretraining': Fact.FINETUNING, 'finetuning': Fact.PRETRAINING}
# Advice for keys that fine-tuning does not read.
INSTEAD = {
    'train.phases': 'it uses config.train.epochs',
    'train.eval_every': 'it evaluates after each epoch, or every config.train.eval_steps steps',
    'eval.max_batches': 'it evaluates on all held-out examples',
}


def _leaves(cls: Any, prefix: str = '') -> Iterator[tuple[str, dataclasses.Field]]:
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(field.type):
            yield from _leaves(field.type, f'{prefix}{field.name}.')
        else:
            yield prefix + field.name, field


KEYS = dict(_leaves(Config))


def _read_by(fact: Fact) -> dict[str, tuple[str, ...]]:
    """Maps keys to the names of the objectives or tasks that read them. Keys that all objectives or
    tasks read are left out. fact: PRETRAINING or FINETUNING, the kind of run that reads the keys.
    """
    names = {
        key: fields.readers(field) for key, field in KEYS.items() if fact in fields.facts(field)
    }
    return {key: readers for key, readers in names.items() if readers}


# The objectives, and the fine-tuning tasks, that read a key, if not all of them do.
READ_BY, READ_BY_TASK = _read_by(Fact.PRETRAINING), _read_by(Fact.FINETUNING)


def get(config: Config | ConfigDict, key: str) -> Any:
    """The value of a key."""
    value: Any = config
    for name in key.split('.'):
        value = getattr(value, name)
    return value


def unset(config: Config, key: str) -> bool:
    """Returns whether the value of a key is left to init_from: it is the default or, for a rate,
    INHERIT."""
    is_rate = key.removeprefix('model.') in RATES
    return bool(get(config, key) == (INHERIT if is_rate else get(Config(), key)))


def choices(key: str) -> tuple[Any, ...]:
    """The values that a key such as 'model.dtype' may have."""
    return fields.choices(KEYS[key])


def architecture_fields() -> tuple[str, ...]:
    """The fields of ModelConfig that the parameters of a checkpoint depend on."""
    return _model_fields(Fact.ARCHITECTURE)


def inherited_fields() -> tuple[str, ...]:
    """The fields of ModelConfig that a run takes from its checkpoint, if they are not given."""
    return _model_fields(Fact.INHERITED)


def _model_fields(fact: Fact) -> tuple[str, ...]:
    named = dataclasses.fields(ModelConfig)
    return tuple(field.name for field in named if fact in fields.facts(field))


def free_on_resume(key: str, kind: Kind | None = None) -> bool:
    """Returns whether a run may continue with another value of `key`.

    kind: if it is given, a run may also continue with other values of keys that it does not read.
    """
    facts = fields.facts(KEYS[key])
    return Fact.FREE_ON_RESUME in facts or (kind is not None and UNREAD[kind] in facts)


def changed_keys(config: Config, typed: Collection[str] = ()) -> list[str]:
    """The keys that are not at their default, and those of `typed`."""
    default = Config()
    return [key for key in KEYS if key in typed or get(config, key) != get(default, key)]


def unread_keys(config: Config, typed: Collection[str] = ()) -> list[str]:
    """The keys among `changed_keys` that this kind of run does not read."""
    unread = UNREAD[config.kind]
    return [key for key in changed_keys(config, typed) if unread in fields.facts(KEYS[key])]


def refuse_unread(config: Config, typed: Collection[str] = ()) -> None:
    """Raises ValueError if keys are set that this kind of run does not read.

    typed: the keys of the command line, which are set even if their values are the defaults.
    """
    unread = [
        f'config.{key}={get(config, key)!r}' + (f' ({INSTEAD[key]})' if key in INSTEAD else '')
        for key in unread_keys(config, typed)
    ]
    if unread:
        kind = KINDS[config.kind]
        raise ValueError(f'{kind} does not read {"; ".join(unread)}. Remove these settings')

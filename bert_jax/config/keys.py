"""Facts about configuration keys such as 'optim.eps', from the fields of the dataclasses."""

import dataclasses
from collections.abc import Collection, Iterator
from typing import Any

from bert_jax.config import fields
from bert_jax.config.data import FILE_TASKS, GLUE_TASKS
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


# The objectives that read a key of pretraining, if not all of them do.
_WITH_MASKS = ('mlm+nsp', 'mlm', 'mlm+sop', 'mlm+tlm', 'distill')
READ_BY: dict[str, tuple[str, ...]] = {
    'data.short_seq_prob': ('mlm+nsp', 'mlm+sop', 'plm'),
    'data.random_next_prob': ('mlm+nsp', 'plm'),
    'data.adjacent_pairs': ('mlm+nsp',),
    'data.mask_shares': _WITH_MASKS,
    'data.whole_word_masking': _WITH_MASKS,
    'model.mem_len': ('plm',),
    'model.reuse_len': ('plm',),
    'model.bi_data': ('plm',),
    'data.cross_documents': ('mlm', 'mlm+tlm', 'distill'),
    'data.parallel': ('mlm+tlm',),
    'data.tlm_share': ('mlm+tlm',),
}
# The fine-tuning tasks that read a key, if not all of them do.
READ_BY_TASK: dict[str, tuple[str, ...]] = {
    'data.dir': GLUE_TASKS,
    'data.train_file': FILE_TASKS,
    'data.eval_file': FILE_TASKS,
    'data.test_file': FILE_TASKS,
    'data.split_field': FILE_TASKS,
    'data.class_weights': (*GLUE_TASKS, 'text', 'ner'),
    'data.label_names': ('text', 'ner'),
    'data.regression': ('text',),
    'data.multi_label': ('text',),
    'data.text_b_field': ('text',),
    'data.label_field': ('text',),
    'data.doc_stride': ('squad',),
    'data.max_query_length': ('squad',),
    'eval.n_best': ('squad',),
    'eval.max_answer_length': ('squad',),
    'eval.null_threshold': ('squad',),
}
READ_BY_TASK |= dict.fromkeys(
    (
        'model.decoder_layers',
        'model.decoder_shares',
        'data.source_field',
        'data.target_field',
        'data.max_target_length',
        'train.label_smoothing',
        'eval.num_beams',
        'eval.length_penalty',
        'eval.early_stopping',
        'eval.min_target_length',
        'eval.no_repeat_ngram_size',
        'init_decoder_from',
    ),
    ('translate',),
)


def _leaves(cls: Any, prefix: str = '') -> Iterator[tuple[str, dataclasses.Field]]:
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(field.type):
            yield from _leaves(field.type, f'{prefix}{field.name}.')
        else:
            yield prefix + field.name, field


KEYS = dict(_leaves(Config))
READ_BY |= {key: ('distill',) for key in KEYS if key.startswith('distill.')}


def get(config: Config, key: str) -> Any:
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


def unread_keys(config: Config, typed: Collection[str] = ()) -> list[str]:
    """The keys that are set, but which this kind of run does not read.

    A key is set if it is not at its default, or if it is one of `typed`.
    """
    default = Config()
    return [
        key
        for key, field in KEYS.items()
        if UNREAD[config.kind] in fields.facts(field)
        and (key in typed or get(config, key) != get(default, key))
    ]


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

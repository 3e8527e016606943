"""What values a configuration may have; config.from_dict asks."""

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from bert_jax.config.schema import Config, Phase, build

POSITIVE = (
    'model.vocab_size',
    'model.hidden_size',
    'model.num_hidden_layers',
    'model.num_attention_heads',
    'model.intermediate_size',
    'model.max_position_embeddings',
    'model.type_vocab_size',
    'train.accum_steps',
    'train.log_every',
    'train.checkpoint_every',
    'train.keep',
    'train.batch_size',
    'train.seeds',
    'data.pad_vocab_to_multiple_of',
    'data.doc_stride',
    'data.max_query_length',
    'eval.n_best',
    'eval.max_answer_length',
)
NOT_NEGATIVE = (
    'model.scan_unroll',
    'model.initializer_range',
    'model.layer_norm_eps',
    'data.static_copies',
    'optim.learning_rate',
    'optim.end_learning_rate',
    'optim.weight_decay',
    'optim.grad_clip_norm',
    'optim.eps',
    'optim.power',
    'train.eval_every',
    'eval.batch_size',
    'eval.max_batches',
    'data.max_train_examples',
)
PROBABILITIES = (
    'model.hidden_dropout_prob',
    'model.attention_probs_dropout_prob',
    'data.masked_lm_prob',
    'data.short_seq_prob',
    'data.random_next_prob',
    'data.holdout',
    'optim.beta1',
    'optim.beta2',
    'optim.warmup_fraction',
)
CHOICES = {
    'model.hidden_act': ('gelu', 'gelu_new', 'relu'),
    'model.dtype': ('auto', 'float32', 'bfloat16'),
    'model.attention': ('dense', 'flash'),
    'model.remat': ('none', 'dots', 'full'),
    'data.documents': ('blank_line', 'file'),
    'data.sentences': ('split', 'line'),
    'optim.name': ('adamw', 'lamb'),
    'optim.schedule': ('linear', 'cosine', 'constant', 'polynomial', 'inverse_sqrt'),
    'train.prng_impl': ('auto', 'threefry2x32', 'rbg', 'unsafe_rbg'),
    'train.nonfinite': ('stop', 'skip'),
}


def validate(config: Config) -> Config:
    """Returns `config`; raises ValueError naming the first key whose value can't work."""
    for key in POSITIVE:
        _require(config, key, lambda n: n > 0, 'a positive integer')
    for key in NOT_NEGATIVE:
        _require(config, key, lambda n: n >= 0, '0 or more')
    for key in PROBABILITIES:
        _require(config, key, lambda p: 0 <= p < 1, 'a probability, 0 <= p < 1')
    for key, names in CHOICES.items():
        _require(config, key, names.__contains__, 'one of ' + ', '.join(names))
    _require(config, 'model.vocab_size', lambda n: n <= 1 << 24, 'at most 2**24')
    heads, steps = config.model.num_attention_heads, config.schedule_steps
    _require(
        config,
        'model.hidden_size',
        lambda size: size % heads == 0,
        f'a multiple of num_attention_heads ({heads})',
    )
    dropped = config.model.attention_probs_dropout_prob
    _require(
        config,
        'model.attention',
        lambda name: name == 'dense' or not dropped,
        f"'dense' where model.attention_probs_dropout_prob is not 0 (it is {dropped}): no kernel "
        'drops probabilities',
    )
    _require(config, 'train.epochs', lambda n: n > 0, 'more than 0')
    _require(config, 'optim.layer_decay', lambda d: 0 < d <= 1, 'more than 0, at most 1')
    if not 0 <= config.reinit_layers <= config.model.num_hidden_layers:
        raise ValueError(
            f'config.reinit_layers is {config.reinit_layers}; expected 0 to '
            f'{config.model.num_hidden_layers}, the number of layers'
        )
    for key in ('optim.warmup_steps', 'train.num_steps'):
        _require(config, key, lambda n: 0 <= n <= steps, f'0 to {steps} (the steps of all phases)')
    if config.data.task != 'pretrain':
        parts = config.train.accum_steps
        wanted = f'a multiple of train.accum_steps ({parts})'
        _require(config, 'train.batch_size', lambda rows: rows % parts == 0, wanted)
        return config
    for i, phase in enumerate(config.train.phases):
        if wrong := _phase_mistake(config, phase):
            raise ValueError(f'config.train.phases[{i}] is {phase!r}; expected {wrong}')
    return config


def _require(config: Config, key: str, holds: Callable[[Any], bool], expected: str) -> None:
    section, name = key.split('.')
    value = getattr(getattr(config, section), name)
    if not holds(value):
        raise ValueError(f'config.{key} is {value!r}; expected {expected}')


def _phase_mistake(config: Config, phase: Phase) -> str:
    """What a phase should have been; '' where it is right."""
    longest, parts = config.model.max_position_embeddings, config.train.accum_steps
    if not 8 <= phase.max_seq_length <= longest:
        return f'max_seq_length from 8 to model.max_position_embeddings ({longest})'
    if phase.max_predictions_per_seq > phase.max_seq_length - 3:
        return 'max_predictions_per_seq of at most max_seq_length - 3'
    if phase.batch_size % parts:
        return f'a batch_size divisible by train.accum_steps ({parts})'
    return ''


def from_config_dict(config: ConfigDict) -> Config:
    return from_dict(config.to_dict())


def from_dict(values: Mapping[str, Any]) -> Config:
    """Nested dicts (a config.json, a ConfigDict's) as a validated `Config`.

    Raises ValueError naming the key for unknown keys, wrong types and impossible values.
    """
    return validate(build(Config, values, 'config'))

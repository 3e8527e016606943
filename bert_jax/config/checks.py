"""The checks of a configuration: the limits of each key, and the rules about several keys."""

import difflib
from collections.abc import Iterator

from bert_jax.config import fields, keys
from bert_jax.config.data import FILE_TASKS, GLUE_TASKS, DataConfig
from bert_jax.config.errors import config_error
from bert_jax.config.model import ModelConfig
from bert_jax.config.schema import Config, OptimConfig, Phase

Rules = Iterator[tuple[str, bool, str]]  # (key, whether its value is allowed, expected value)
SHARED = 'because the layers share their parameters (model.share_layers)'


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


def _rules_of_several_keys(config: Config) -> Rules:
    """The rules about several keys, in the order in which they are checked."""
    yield from _rules_of_task(config.data)
    yield from _rules_of_model(config.model)
    holds = config.optim.layer_decay == 1 or not config.model.share_layers
    yield 'optim.layer_decay', holds, f'1 {SHARED}'
    yield from _rules_of_unread_keys(config)
    yield from _rules_of_xlnet(config)
    yield from _rules_of_schedule(config)
    yield from _rules_of_data_and_start(config)
    if config.data.task == 'translate':
        yield from _rules_of_translation(config)


def _rules_of_model(model: ModelConfig) -> Rules:
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


def _rules_of_unread_keys(config: Config) -> Rules:
    """The rule that a key has its default value if the objective does not read it."""
    name = config.objective
    for key, names in keys.READ_BY.items() if config.kind == 'pretraining' else ():
        default = keys.get(Config(), key)
        holds = name in names or keys.get(config, key) == default
        yield key, holds, f'{default!r} because the objective {name!r} does not read it'


def _rules_of_task(data: DataConfig) -> Rules:
    """The rule that config.data.task names one task, or several different tasks of GLUE."""
    alone = ('pretrain', *FILE_TASKS, 'all')
    names = data.task.split(',')
    holds = data.task in alone or (len(names) == len({*names}) and {*names} <= {*GLUE_TASKS})
    expected = f'{", ".join(alone)}, or one or several of {",".join(GLUE_TASKS)}'
    unknown = [name for name in names if name not in (*alone, *GLUE_TASKS)]
    if unknown and (near := difflib.get_close_matches(unknown[0], (*GLUE_TASKS, *alone), n=1)):
        expected += f'. Did you mean {near[0]}?'
    yield 'data.task', holds, expected


def _rules_of_schedule(config: Config) -> Rules:
    optim, train, steps = config.optim, config.train, config.schedule_steps
    expected = f'0 to {steps} (the steps of all phases)'
    longer = (
        '. To train a finished run further, begin another with its parameters: '
        '--config.init_from=WORKDIR --workdir=NEW'
    )
    yield 'train.num_steps', 0 <= train.num_steps <= steps, expected + longer
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


def _rules_of_data_and_start(config: Config) -> Rules:
    """The rules about labelled files, examples, seeds, batches and init_from."""
    model, optim, train = config.model, config.optim, config.train
    data = config.data
    several = 'False because data.multi_label is True'
    yield 'data.regression', not (data.regression and data.multi_label), several
    numbers = 'empty because data.regression is True'
    yield 'data.label_names', not (data.regression and data.label_names), numbers
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
    yield 'optim.freeze', holds, f"'embeddings' or empty {SHARED}"
    expected = 'empty if init_from is empty; it adds to the vocabulary of init_from'
    yield 'data.add_tokens', not config.data.add_tokens or bool(config.init_from), expected
    reinit = config.reinit_layers  # `model_dir.start_from` knows how many layers init_from has
    yield 'reinit_layers', not reinit or bool(config.init_from), '0 if init_from is empty'
    yield 'reinit_layers', not reinit or not model.share_layers, f'0 {SHARED}'
    divides = config.kind == 'pretraining' or not train.batch_size % train.accum_steps
    yield 'train.batch_size', divides, f'a multiple of train.accum_steps ({train.accum_steps})'


def _rules_of_translation(config: Config) -> Rules:
    """The rules about the columns and the lengths of pairs of texts."""
    data, longest = config.data, config.data.max_seq_length
    expected = 'another column than data.source_field'
    yield 'data.target_field', data.target_field != data.source_field, expected
    holds = not data.max_target_length or 2 <= data.max_target_length <= longest
    yield 'data.max_target_length', holds, f'2 to data.max_seq_length ({longest}), or 0'
    most = data.max_target_length or longest
    expected = f'at most {most}, the largest number of tokens'
    yield 'eval.min_target_length', config.eval.min_target_length <= most, expected


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


def _rules_of_xlnet(config: Config) -> Rules:
    """The rules about relative attention and its memory."""
    model, train = config.model, config.train
    is_xlnet = model.model_type == 'xlnet'
    for name, value in _XLNET.items() if is_xlnet else ():
        expected = f"{value!r} because model.model_type is 'xlnet'"
        yield f'model.{name}', getattr(model, name) == value, expected
    if not is_xlnet:
        holds = model.position_embedding_type != 'relative'
        kinds = "'absolute', 'sinusoidal', 'rotary' or 'none'"
        expected = f"{kinds}, because model.model_type is {model.model_type!r}, not 'xlnet'"
        yield 'model.position_embedding_type', holds, expected
        yield 'model.clamp_len', not model.clamp_len, '0, because model.model_type is not xlnet'
    if not model.mem_len:
        yield 'model.reuse_len', not model.reuse_len, '0, because model.mem_len is 0'
        return
    shortest = min(phase.max_seq_length for phase in train.phases)
    expected = 'rows of at least 9 tokens, because model.mem_len is not 0'
    yield 'train.phases', shortest >= 9, expected
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

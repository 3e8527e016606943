"""The configuration of a fine-tuning run, from its checkpoints, task, data and seed."""

import dataclasses
import math
from collections.abc import Iterator

from etils import epath

from bert_jax.config import Config, ModelConfig, Phase, architecture_fields, validate
from bert_jax.config.errors import config_error
from bert_jax.data import model_languages
from bert_jax.data.row_format import format_of
from bert_jax.data.text import staging
from bert_jax.data.tokenizers import tokenizer
from bert_jax.finetuning.task_data import TaskData
from bert_jax.inference import model_dir
from bert_jax.models import encoder_decoder
from bert_jax.models.heads import DECODER, heads_in
from bert_jax.training import run_folders
from bert_jax.training.checkpoint import saved_params
from bert_jax.training.workdir import CONFIG

# The fields of ModelConfig that a run takes from init_from if it has a decoder.
DECODER_FIELDS = ('decoder_layers', 'decoder_shares')


def start_from(config: Config) -> tuple[Config, tokenizer.Tokenizer]:
    """The configuration with the architecture of the checkpoint init_from, and its vocabulary.

    Without init_from, the vocabulary is that of config.data.vocab_file. Raises ValueError for
    settings that differ from init_from.
    """
    data, model, given = config.data, config.model, config.data.language
    if config.init_from:
        if data.vocab_file:
            raise ValueError(
                f'config.data.vocab_file is {data.vocab_file!r}, but config.init_from has a '
                'vocabulary; remove it'
            )
        continues = data.task == 'translate' and _has_decoder(config.init_from)
        fields = DECODER_FIELDS if continues else ()
        started, vocabulary = model_dir.start_from(config, fields=fields)
        if vocabulary is None:
            raise ValueError(
                f'{config.init_from} has no vocabulary; put its vocab.txt into that folder'
            )
        data, model = started.data, started.model
    elif data.vocab_file:
        vocabulary = tokenizer.load(
            staging.localized(data).vocab_file, data.lowercase, data.strips_accents
        )
        model = dataclasses.replace(model, vocab_size=vocabulary.vocab_size)
    else:
        raise ValueError(
            'config.init_from is empty; give the checkpoint to fine-tune, or '
            'config.data.vocab_file to train from random parameters'
        )
    if given:
        model_languages.check(given, model, vocabulary)
    vocabulary = vocabulary.for_language(data.language) if data.language else vocabulary
    model = dataclasses.replace(model, vocab_size=data.padded(model.vocab_size))
    if not 8 <= data.max_seq_length <= model.longest_row:
        expected = f"8 to {model.longest_row}, the model's positions"
        raise config_error('data.max_seq_length', data.max_seq_length, expected)
    config = dataclasses.replace(config, model=model, data=data)
    if data.task == 'translate':
        config = _with_decoder(config, vocabulary)
    validate(one_step(config))
    return config, vocabulary


def one_step(config: Config) -> Config:
    """The configuration with a single step, because the number of steps depends on the data."""
    phase = Phase(1, config.data.max_seq_length, config.train.batch_size, 1)
    train = dataclasses.replace(config.train, phases=(phase,), num_steps=0)
    optim = dataclasses.replace(config.optim, warmup_steps=0)
    return dataclasses.replace(config, train=train, optim=optim)


def with_steps(config: Config, data: TaskData) -> Config:
    """The configuration with the number of steps, computed from that of epochs. Each epoch ends
    with a checkpoint and, unless train.eval_steps is given, with an evaluation. A run that may end
    early keeps its best evaluation."""
    train = config.train
    epoch = math.ceil(len(data.train) / train.batch_size)
    steps = max(round(train.epochs * epoch), 1)
    warmup = config.optim.warmup_steps or int(config.optim.warmup_fraction * steps)
    train = dataclasses.replace(
        train,
        phases=(Phase(steps, config.data.max_seq_length, train.batch_size, 1),),
        eval_every=train.eval_steps or epoch,
        best=train.best or train.patience > 0,
        checkpoint_every=min(train.checkpoint_every, epoch),
    )
    optim = dataclasses.replace(config.optim, warmup_steps=warmup)
    return validate(dataclasses.replace(config, train=train, optim=optim))


def seeds(config: Config, workdir: epath.Path) -> Iterator[tuple[Config, epath.Path]]:
    """The configuration and the workdir of each seed of a task."""
    for i, (seed, folder) in enumerate(run_folders.of_seeds(config, workdir).items()):
        train = dataclasses.replace(config.train, seed=seed)
        data = dataclasses.replace(config.data, seed=config.data.seed + i)
        yield dataclasses.replace(config, train=train, data=data), folder


def check_seeds(config: Config, workdir: epath.Path) -> None:
    """Raises ValueError if the workdir of a task has runs that cannot be compared with this one."""
    several = config.train.seeds > 1
    if (workdir / CONFIG).exists() if several else any(workdir.glob('seed_*')):
        raise ValueError(
            f'{workdir} holds {"one run" if several else "runs of several seeds"}, but '
            f'config.train.seeds is {config.train.seeds}; use another --workdir'
        )


def _with_decoder(config: Config, vocabulary: tokenizer.Tokenizer) -> Config:
    """`config`, whose model is that of config.init_from, with the settings of the decoder.

    Raises ValueError if the model cannot have a decoder, for settings of the decoder that differ
    from init_from, and if config.init_decoder_from does not fit.
    """
    model = config.model
    row_format = format_of(model)
    if len(row_format.before) != 1 or len(row_format.after) != 1 or row_format.pad_left:
        raise ValueError(
            f'a model of the type {model.model_type!r} cannot have a decoder; start from BERT, '
            'RoBERTa or a family with such rows'
        )
    if _has_decoder(config.init_from):
        if config.init_decoder_from:
            raise ValueError(
                f'config.init_from={config.init_from} has a decoder already; remove '
                'config.init_decoder_from'
            )
    elif config.init_decoder_from:
        model = _with_new_decoder(config, vocabulary)
    elif config.init_from:
        _check_decoder_layers(model, model.num_hidden_layers, 'config.init_from')
    encoder_decoder.check(model)
    return dataclasses.replace(config, model=model)


def _has_decoder(folder: str) -> bool:
    """Returns whether the checkpoint in a folder is an encoder-decoder; false for no folder, ''."""
    return bool(folder) and DECODER in heads_in(saved_params(epath.Path(folder).expanduser()))


def _with_new_decoder(config: Config, vocabulary: tokenizer.Tokenizer) -> ModelConfig:
    """The model with a decoder that starts from init_decoder_from. Raises ValueError if that
    checkpoint and init_from do not fit together."""
    model, start = config.model, config.init_decoder_from
    if not config.init_from:
        raise ValueError('config.init_decoder_from needs config.init_from, for the encoder')
    if model.decoder_shares != 'nothing':
        raise ValueError(
            f'config.model.decoder_shares is {model.decoder_shares!r}, so the decoder starts from '
            'config.init_from; remove config.init_decoder_from'
        )
    source, its_vocabulary = model_dir.read_config(start)
    if _has_decoder(start):
        raise ValueError(
            f'config.init_decoder_from={start} is an encoder-decoder; give the checkpoint of an '
            'encoder. To train an encoder-decoder further, give it as config.init_from alone'
        )
    if its_vocabulary is not None and (differs := its_vocabulary.difference(vocabulary)):
        raise ValueError(
            f'config.init_decoder_from={start} has another vocabulary than config.init_from '
            f'({differs}); encoder and decoder need the same one. Use a checkpoint of both '
            'languages for both, or pretrain one of the two with the vocabulary of the other '
            '(--config.data.vocab_file=DIR)'
        )
    for name in architecture_fields():
        ours, theirs = getattr(model, name), getattr(source.model, name)
        if ours != theirs and name not in encoder_decoder.MAY_DIFFER:
            raise ValueError(
                f'config.init_decoder_from={start} has {name}={theirs!r}, but config.init_from has '
                f'{ours!r}; choose checkpoints of the same width and family'
            )
    layers = source.model.num_hidden_layers
    _check_decoder_layers(model, layers, 'config.init_decoder_from')
    return dataclasses.replace(model, decoder_layers=model.decoder_layers or layers)


def _check_decoder_layers(model: ModelConfig, layers: int, start: str) -> None:
    """Raises ValueError if the decoder has more layers than the checkpoint that it starts from."""
    if model.decoder_layers > layers:
        expected = f'at most {layers}, the number of layers of {start}'
        raise config_error('model.decoder_layers', model.decoder_layers, expected)

"""The decoder of a run: its layers, what it shares, and whether the checkpoints fit together."""

import dataclasses

from etils import epath

from bert_jax.config import Config, ModelConfig, architecture_fields, keys
from bert_jax.config.errors import config_error
from bert_jax.data.row_format import format_of
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.inference import model_dir
from bert_jax.models import encoder_decoder
from bert_jax.models.heads import DECODER, heads_in
from bert_jax.training.checkpoint import saved_params

FIELDS = ('decoder_layers', 'decoder_shares')


def with_decoder(config: Config, vocabulary: Tokenizer) -> Config:
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
    if config.init_from and DECODER in _heads(config.init_from):
        model = _continued(config)
    elif config.init_decoder_from:
        model = _started(config, vocabulary)
    elif config.init_from:
        _check_layers(model, model.num_hidden_layers, 'config.init_from')
    encoder_decoder.check(model)
    return dataclasses.replace(config, model=model)


def _heads(folder: str) -> tuple[str, ...]:
    return heads_in(saved_params(epath.Path(folder).expanduser()))


def _continued(config: Config) -> ModelConfig:
    """The model with the decoder of init_from."""
    if config.init_decoder_from:
        raise ValueError(
            f'config.init_from={config.init_from} has a decoder already; remove '
            'config.init_decoder_from'
        )
    source, _ = model_dir.read_config(config.init_from)
    values = {name: getattr(source.model, name) for name in FIELDS}
    for name, value in values.items():
        given = getattr(config.model, name)
        if not keys.unset(config, f'model.{name}') and given != value:
            raise ValueError(
                f'config.model.{name} is {given!r}, but the decoder of config.init_from has '
                f'{value!r}; remove it'
            )
    return dataclasses.replace(config.model, **values)


def _started(config: Config, vocabulary: Tokenizer) -> ModelConfig:
    """The model with the decoder that starts from init_decoder_from."""
    model, start = config.model, config.init_decoder_from
    if not config.init_from:
        raise ValueError('config.init_decoder_from needs config.init_from, for the encoder')
    if model.decoder_shares != 'nothing':
        raise ValueError(
            f'config.model.decoder_shares is {model.decoder_shares!r}, so the decoder starts from '
            'config.init_from; remove config.init_decoder_from'
        )
    source, its_vocabulary = model_dir.read_config(start)
    if DECODER in _heads(start):
        raise ValueError(
            f'config.init_decoder_from={start} is an encoder-decoder; give the checkpoint of an '
            'encoder. To train an encoder-decoder further, give it as config.init_from alone'
        )
    if its_vocabulary is not None and (
        its_vocabulary.files != vocabulary.files or its_vocabulary.lowercase != vocabulary.lowercase
    ):
        raise ValueError(
            f'config.init_decoder_from={start} has another vocabulary '
            f'({its_vocabulary.vocab_size:,} tokens) than config.init_from '
            f'({vocabulary.vocab_size:,} tokens); encoder and decoder need the same one. Use a '
            'checkpoint of both languages for both, or pretrain one of the two with the '
            'vocabulary of the other (--config.data.vocab_file=DIR)'
        )
    for name in architecture_fields():
        ours, theirs = getattr(model, name), getattr(source.model, name)
        if ours != theirs and name not in encoder_decoder.MAY_DIFFER:
            raise ValueError(
                f'config.init_decoder_from={start} has {name}={theirs!r}, but config.init_from has '
                f'{ours!r}; choose checkpoints of the same width and family'
            )
    layers = source.model.num_hidden_layers
    _check_layers(model, layers, 'config.init_decoder_from')
    return dataclasses.replace(model, decoder_layers=model.decoder_layers or layers)


def _check_layers(model: ModelConfig, layers: int, start: str) -> None:
    """Raises ValueError if the decoder has more layers than the checkpoint that it starts from."""
    if model.decoder_layers > layers:
        expected = f'at most {layers}, the number of layers of {start}'
        raise config_error('model.decoder_layers', model.decoder_layers, expected)

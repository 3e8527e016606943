"""Folders of Hugging Face's EncoderDecoderModel whose two sides are BERT or RoBERTa."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from bert_jax.config import ModelConfig, architecture_fields
from bert_jax.convert import generation_settings, hf_rows, hf_tokenizer, hf_weights
from bert_jax.convert.families import FAMILIES, bert
from bert_jax.convert.families.family import Family
from bert_jax.convert.foreign import Foreign, read_json, read_model, special_ids, why_unused
from bert_jax.convert.rules import Rules, linear, names_of, norm, to_theirs
from bert_jax.inference.model_dir import Pretrained
from bert_jax.models.encoder_decoder import completed
from bert_jax.models.heads import DECODER

MODEL_TYPE = 'encoder-decoder'
HEADS = ('masked_lm', DECODER)
# The families whose decoders are the same in transformers and in bert_jax.
SIDES = ('bert', 'roberta', 'xlm-roberta', 'camembert')
# The keys of config.json with the ids of special tokens.
IDS = ('bos_token_id', 'eos_token_id', 'pad_token_id')
POOLER = 'of the pooler, which an encoder-decoder does not use'
# The keys of config.json that turn the decoder's model into a decoder.
AS_DECODER = {'is_decoder': True, 'add_cross_attention': True}


def read(directory: pathlib.Path, lowercase: bool | None) -> Foreign:
    """Returns the checkpoint in a folder; see `hf.read`. Raises ValueError if bert_jax does not
    support it."""
    path = directory / 'config.json'
    values = read_json(path)
    family, model = _side(values, 'encoder', path)
    _, decoder = _side(values, DECODER, path)
    for name in ('model_type', *architecture_fields()):
        ours, theirs = getattr(model, name), getattr(decoder, name)
        if ours != theirs and name not in ('num_hidden_layers', 'initializer_range'):
            key = family.keys.get(name, name)
            raise ValueError(
                f'{path}: {key} is {ours!r} in the encoder and {theirs!r} in the decoder; bert_jax '
                'supports only equal values'
            )
    model = dataclasses.replace(
        model,
        decoder_layers=decoder.num_hidden_layers,
        tie_word_embeddings=decoder.tie_word_embeddings,
    )
    both = _pair(family)
    tensors, left_out = hf_weights.read_tensors(directory, both)
    if any(x.get('tie_encoder_decoder') for x in (values, values[DECODER])):
        tensors = _with_copies(tensors, family)
    model, used, unused = hf_weights.without_copies(tensors, both, model)
    known = names_of(HEADS, both.rules, model)
    for name in used.keys() - known:
        pooler = name.startswith('encoder.pooler.')
        unused[name] = POOLER if pooler else why_unused(name, both, known, path)
        del used[name]
    kind = model.model_type
    vocabulary, notes = hf_tokenizer.read(directory, lowercase, model.vocab_size, kind)
    model, lines = hf_rows.with_rows(model, directory, vocabulary, HEADS)
    generation = generation_settings.read(directory, values, model, vocabulary)
    notes = (*hf_weights.notes_about(left_out), *notes, *lines, *generation.notes)
    return Foreign(
        both.rules,
        model,
        HEADS,
        used,
        unused,
        vocabulary,
        {},
        notes,
        eval=generation.eval,
        max_target_length=generation.max_target_length,
    )


def _with_copies(tensors: Mapping[str, np.ndarray], family: Family) -> dict[str, np.ndarray]:
    """Returns the tensors of both sides. If the two sides share a tensor, a file may hold it only
    once, under its name in the encoder."""
    start, decoder = 'encoder.', f'{DECODER}.{family.prefix}'
    names = [name.removeprefix(start) for name in tensors if name.startswith(start)]
    return {decoder + x: tensors[start + x] for x in names if 'pooler' not in x} | dict(tensors)


def _side(values: Mapping[str, Any], side: str, path: pathlib.Path) -> tuple[Family, ModelConfig]:
    """Returns the family and the model of one side, the encoder or the decoder."""
    given = values.get(side)
    if not isinstance(given, Mapping) or given.get('model_type') not in SIDES:
        found = given.get('model_type') if isinstance(given, Mapping) else given
        raise ValueError(
            f'{path}: {side} is {found!r}; expected a configuration with a model_type among '
            f'{", ".join(SIDES)}'
        )
    wanted = AS_DECODER if side == DECODER else {}
    for key, value in wanted.items():
        # Files of 2020 lack the key of attention to the source. The tensors show it.
        if given.get(key, value) is not value:
            raise ValueError(f'{path}: {side}.{key} is {given.get(key)!r}; expected {value!r}')
    plain = {key: value for key, value in given.items() if key not in wanted}
    try:
        return read_model(plain, path)
    except ValueError as error:
        raise ValueError(f'{error} (in {side})') from error


def _pair(family: Family) -> Family:
    """Returns the family of encoder-decoders whose two sides belong to `family`."""
    layer = f'{DECODER}.{family.prefix}encoder.layer.{{layer}}.crossattention'
    ours = f'{DECODER}/layers/cross_attention'
    decoder = [
        dataclasses.replace(x, ours=x.ours.replace('encoder/', f'{DECODER}/'))
        for x in bert.encoder(f'{DECODER}.{family.prefix}')
    ]
    masked_lm = [
        dataclasses.replace(x, theirs=f'{DECODER}.{x.theirs}')
        for x in family.rules
        if x.ours.startswith('masked_lm')
    ]
    rules: Rules = (
        *bert.encoder('encoder.'),
        *decoder,
        *masked_lm,
        *linear(f'{ours}/query', f'{layer}.self.query'),
        *linear(f'{ours}/key', f'{layer}.self.key'),
        *linear(f'{ours}/value', f'{layer}.self.value'),
        *linear(f'{ours}/output', f'{layer}.output.dense'),
        *norm(f'{ours}/norm', f'{layer}.output.LayerNorm'),
    )
    return dataclasses.replace(family, prefix='', rules=rules)


def write(directory: pathlib.Path, source: Pretrained) -> list[str]:
    """Writes a folder that transformers reads; returns lines to print."""
    kind = source.config.model_type
    if kind not in SIDES:
        raise ValueError(
            f'transformers has no decoder for config.model.model_type={kind!r}; expected '
            f'{", ".join(SIDES)}'
        )
    family = FAMILIES[kind]
    both = _pair(family)
    arrays = dataclasses.replace(source, params=completed(source.config, source.params)).arrays()
    config, notes = hf_weights.convert_positions(arrays, source)
    decoder = dataclasses.replace(config, num_hidden_layers=config.num_decoder_layers)
    bare, masked_lm = list(family.classes)[:2]
    encoder_values = {**family.values(config), 'architectures': [bare]}
    decoder_values = {**family.values(decoder, HEADS), 'architectures': [masked_lm], **AS_DECODER}
    ids = dict[str, int]()
    if vocabulary := source.vocabulary:
        ids = {'decoder_start_token_id': vocabulary.specials.cls, **special_ids(vocabulary, IDS)}
    values = {
        'architectures': ['EncoderDecoderModel'],
        'model_type': MODEL_TYPE,
        'is_encoder_decoder': True,
        'dtype': 'float32',
        'tie_word_embeddings': False,  # between the encoder and the decoder
        'encoder': encoder_values,
        DECODER: decoder_values,
        **ids,
    }
    hf_weights.write(directory, to_theirs(arrays, both.rules), both, values)
    generation_settings.write(directory, source, ids)
    notes += ['transformers adds a pooler to the encoder and does not use it']
    if config.decoder_shares != 'nothing':
        notes.append(
            'the decoder has a copy of the parameters that it shares with the encoder; '
            'transformers would train both'
        )
    return notes + hf_tokenizer.write(directory, source)

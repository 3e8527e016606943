"""Folders of transformers: config.json, safetensors or pytorch_model.bin, a vocabulary."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from bert_jax.config import ModelConfig
from bert_jax.convert import rules
from bert_jax.convert.foreign import (
    OPTIONAL,
    REQUIRED,
    Foreign,
    model_config,
    read_json,
    read_vocabulary,
)
from bert_jax.data import tokenizer
from bert_jax.models.heads import head_of
from bert_jax.pretrained import Pretrained

FORMATS = ('model.safetensors', 'pytorch_model.bin')  # looked for in this order
OLD_NAMES = {'LayerNorm.gamma': 'LayerNorm.weight', 'LayerNorm.beta': 'LayerNorm.bias'}
TOKENIZERS = ('BertTokenizer', 'BertTokenizerFast', 'PreTrainedTokenizerFast', 'TokenizersBackend')
BUFFERS = ('.position_ids', '.token_type_ids')
DECODER, DECODER_BIAS = 'cls.predictions.decoder.weight', 'cls.predictions.decoder.bias'
WORDS, BIAS = 'bert.embeddings.word_embeddings.weight', 'cls.predictions.bias'
# By the heads there are. A pooler beside a masked-LM head alone has no class there.
ARCHITECTURES = {
    (): 'BertModel',
    ('pooler',): 'BertModel',
    ('masked_lm',): 'BertForMaskedLM',
    ('next_sentence', 'pooler'): 'BertForNextSentencePrediction',
    ('masked_lm', 'next_sentence', 'pooler'): 'BertForPreTraining',
}


def read(directory: pathlib.Path, lowercase: bool = True) -> Foreign:
    """lowercase: whether text is, where tokenizer_config.json does not say.

    Raises ValueError naming the file or tensor that can't be used.
    """
    model = model_config(directory / 'config.json')
    tensors = _renamed(_read_tensors(directory))
    if not any(name.startswith('bert.encoder.') for name in tensors):
        raise ValueError(f'{directory} holds no BERT encoder; it has {_some(tensors)}')
    unused = {}
    if DECODER in tensors:
        if WORDS in tensors and np.array_equal(tensors[DECODER], tensors[WORDS]):
            unused[DECODER] = f'the same as {WORDS}'
        else:
            model = dataclasses.replace(model, tie_word_embeddings=False)
    if DECODER_BIAS in tensors:
        unused[DECODER_BIAS] = f'stands for {BIAS}'
        tensors.setdefault(BIAS, tensors[DECODER_BIAS])
    known = {name for rule in rules.BERT for name in rule.names('hf', model.num_hidden_layers)}
    for name in set(tensors) - known - set(unused):
        unused[name] = _why_unused(name, model, directory)
    used = {name: tensor for name, tensor in tensors.items() if name not in unused}
    return Foreign('hf', model, used, unused, _vocabulary(directory, model, lowercase))


def _why_unused(name: str, model: ModelConfig, directory: pathlib.Path) -> str:
    layer = re.match(r'bert\.encoder\.layer\.(\d+)\.', name)
    if layer and int(layer[1]) >= model.num_hidden_layers:
        raise ValueError(
            f'tensor {name} is of layer {layer[1]}, but {directory / "config.json"} says '
            f'num_hidden_layers is {model.num_hidden_layers} (they count from 0)'
        )
    if name.endswith(BUFFERS):
        return 'a buffer, not a parameter'
    if name.startswith('bert.'):
        return 'no parameter of this encoder'
    return 'of a head that bert_jax does not have'


def _renamed(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """With today's names, and the prefix that a bare encoder is saved without."""
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in OLD_NAMES.items():
            name = name.replace(old, new)
        if name.startswith(('embeddings.', 'encoder.layer.', 'pooler.')):
            name = f'bert.{name}'
        if name in renamed:
            raise ValueError(f'tensor {name} is there twice, under an old and a new name')
        renamed[name] = tensor
    return renamed


def _read_tensors(directory: pathlib.Path) -> dict[str, np.ndarray]:
    for name in FORMATS:
        index = directory / f'{name}.index.json'
        if (directory / name).exists():
            files: dict[pathlib.Path, set[str]] = {directory / name: set()}
        elif index.exists():
            files = _shards(index)
        else:
            continue
        read = _read_safetensors if name.endswith('.safetensors') else _read_pickle
        tensors: dict[str, np.ndarray] = {}
        for path, expected in files.items():
            there = read(path)
            if absent := sorted(expected - set(there)):
                raise ValueError(f'{path} has no tensor {absent[0]}, which {index} places there')
            tensors |= there
        return tensors
    raise ValueError(f'{directory} has no weights: none of {", ".join(FORMATS)}, whole or sharded')


def _shards(index: pathlib.Path) -> dict[pathlib.Path, set[str]]:
    """The files of a sharded checkpoint, each with the tensors that should be in it."""
    files: dict[pathlib.Path, set[str]] = {}
    for tensor, name in read_json(index).get('weight_map', {}).items():
        files.setdefault(index.parent / name, set()).add(tensor)
    for path in files:
        if not path.exists():
            raise ValueError(f'shard {path} is missing; {index} says {len(files)} files')
    return files


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        tensors: dict[str, np.ndarray] = safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f'{path} is not a whole safetensors file: {error}') from error
    return tensors


def _read_pickle(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Through torch's restricted unpickler: nothing in the file is run."""
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f'reading {path} needs PyTorch: pip install torch --index-url '
            'https://download.pytorch.org/whl/cpu, or take model.safetensors from where the file '
            'came from'
        ) from error
    try:
        tensors = torch.load(path, map_location='cpu', weights_only=True)
        return {
            name: (tensor.float() if tensor.is_floating_point() else tensor).numpy()
            for name, tensor in tensors.items()
        }
    except Exception as error:  # of many types
        reason = str(error).strip().split('\n')[0][:200]
        raise ValueError(f'{path} is not a checkpoint of plain tensors: {reason}') from error


def _vocabulary(
    directory: pathlib.Path, model: ModelConfig, lowercase: bool
) -> tokenizer.Tokenizer | None:
    settings, whole = directory / 'tokenizer_config.json', directory / 'tokenizer.json'
    options = read_json(settings) if settings.exists() else {}
    lowercase = bool(options.get('do_lower_case', lowercase))
    _check_text(options, lowercase, settings)
    if whole.exists() and not (directory / 'vocab.txt').exists():
        pieces, lowercase = _word_pieces(whole)
        return tokenizer.wordpiece(pieces, lowercase, str(whole))
    return read_vocabulary(directory, lowercase, model.vocab_size)


def _check_text(options: Mapping[str, Any], lowercase: bool, path: pathlib.Path) -> None:
    """Raises ValueError where text is prepared in another way than BERT's."""
    kind = options.get('tokenizer_class') or 'BertTokenizer'
    if kind not in TOKENIZERS:
        raise ValueError(
            f"{path}: tokenizer_class is {kind!r}; bert_jax has BERT's WordPiece only. Take the "
            'vocabulary away to convert the weights alone, for use with token ids'
        )
    expected = {'strip_accents': lowercase, 'tokenize_chinese_chars': True}
    expected['handle_chinese_chars'] = True
    for key, value in expected.items():
        if options.get(key) not in (None, value):
            raise ValueError(
                f'{path}: {key} is {options[key]!r} where text is '
                f'{"" if lowercase else "not "}lowercased; bert_jax has {value!r} only. Take the '
                'key away to convert all the same, with text prepared in that way'
            )


def _word_pieces(path: pathlib.Path) -> tuple[list[str], bool]:
    """The vocabulary of a tokenizer.json, in order, and whether text is lowercased."""
    values = read_json(path)
    try:
        normalizer, vocab = values['normalizer'], values['model']['vocab']
        kinds = values['model']['type'], normalizer['type']
        pieces = {number: piece for piece, number in vocab.items()}
        pieces |= {added['id']: added['content'] for added in values['added_tokens']}
        lowercase = bool(normalizer['lowercase'])
        _check_text(normalizer, lowercase, path)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{path} is not the tokenizer of a BERT: no {error}') from error
    if kinds != ('WordPiece', 'BertNormalizer') or sorted(pieces) != list(range(len(pieces))):
        raise ValueError(f'{path} is a tokenizer of kind {kinds}; bert_jax reads WordPiece only')
    return [pieces[i] for i in range(len(pieces))], lowercase


def _some(names: Iterable[str]) -> str:
    first = sorted(names)[:3]
    return ', '.join(first) if first else 'no tensors'


def write(directory: pathlib.Path, source: Pretrained) -> list[str]:
    """A folder that transformers reads; returns what is to be said about it."""
    notes = []
    heads = source.heads
    if tuple(sorted(heads)) not in ARCHITECTURES:
        notes.append(f'pooler left out: transformers has no BERT with {" and ".join(heads)} alone')
        heads = tuple(head for head in heads if head != 'pooler')
    architecture = ARCHITECTURES[tuple(sorted(heads))]
    arrays = {
        path: array
        for path, array in source.arrays().items()
        if head_of(path) in ('encoder', *heads)
    }
    tensors = rules.to_theirs(arrays, 'hf')
    if architecture == 'BertModel':
        tensors = {name.removeprefix('bert.'): tensor for name, tensor in tensors.items()}
    if DECODER in tensors:
        tensors[DECODER_BIAS] = tensors[BIAS]
    safetensors.numpy.save_file(tensors, directory / FORMATS[0], metadata={'format': 'pt'})
    values = _config(source, architecture)
    (directory / 'config.json').write_text(json.dumps(values, indent=2) + '\n')
    notes += _write_vocabulary(directory, source)
    count = sum(tensor.size for tensor in tensors.values())
    (directory / 'README.md').write_text(_card(architecture, values, count))
    return notes


def _config(source: Pretrained, architecture: str) -> dict[str, Any]:
    names = (*REQUIRED, *OPTIONAL, 'hidden_act', 'tie_word_embeddings')
    values = {name: getattr(source.config, name) for name in names}
    pad = source.vocabulary.pad_id if source.vocabulary else 0
    return {
        'architectures': [architecture],
        'model_type': 'bert',
        'position_embedding_type': 'absolute',
        'pad_token_id': pad,
        'dtype': 'float32',
        **values,
    }


def _write_vocabulary(directory: pathlib.Path, source: Pretrained) -> list[str]:
    vocabulary = source.vocabulary
    if vocabulary is None:
        return ['no vocabulary: there is none beside the checkpoint']
    vocabulary.save(directory)
    if 'vocab.txt' not in vocabulary.files:
        return ['transformers has no BERT tokenizer for SentencePiece; tokenizer.model is copied']
    names = ('pad', 'unk', 'cls', 'sep', 'mask')
    settings = {
        'tokenizer_class': 'BertTokenizer',
        'do_lower_case': vocabulary.lowercase,
        'model_max_length': source.config.max_position_embeddings,
        **{f'{name}_token': f'[{name.upper()}]' for name in names},
    }
    (directory / 'tokenizer_config.json').write_text(json.dumps(settings, indent=2) + '\n')
    return []


def _card(architecture: str, values: Mapping[str, Any], count: int) -> str:
    return f"""---
library_name: transformers
tags: [bert, bert_jax]
---

# {architecture}, written by bert_jax

{count:,} parameters: {values['num_hidden_layers']} layers, hidden size {values['hidden_size']},
{values['num_attention_heads']} heads, {values['vocab_size']:,} tokens,
up to {values['max_position_embeddings']} positions.

    from transformers import AutoTokenizer, {architecture}

    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    model = {architecture}.from_pretrained(FOLDER)

What it was trained on, what for and what it should not be used for: to be said by who trained it.
"""

"""Folders of transformers: config.json, safetensors or pytorch_model.bin, a vocabulary."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bert_jax.config import ModelConfig
from bert_jax.convert import hf_tokenizer, rules
from bert_jax.convert.foreign import OPTIONAL, REQUIRED, Foreign, model_config, read_json
from bert_jax.inference.model_dir import Pretrained
from bert_jax.models.heads import head_of
from bert_jax.training.checkpoint import first_line

FORMATS = ('model.safetensors', 'pytorch_model.bin')  # looked for in this order
OLD_NAMES = {'LayerNorm.gamma': 'LayerNorm.weight', 'LayerNorm.beta': 'LayerNorm.bias'}
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
    ('classifier', 'pooler'): 'BertForSequenceClassification',
    ('tagger',): 'BertForTokenClassification',
    ('span',): 'BertForQuestionAnswering',
}


def read(directory: pathlib.Path, lowercase: bool | None = None) -> Foreign:
    """lowercase: whether text is, where the folder does not say.

    Raises ValueError naming the file or tensor that can't be used.
    """
    model = model_config(directory / 'config.json')
    tensors = _renamed(_read_tensors(directory))
    if not any(name.startswith('bert.encoder.') for name in tensors):
        raise ValueError(f'{directory} holds no BERT encoder; it has {_some(tensors)}')
    unused = {}
    if DECODER in tensors and model.tie_word_embeddings:
        if WORDS in tensors and np.array_equal(tensors[DECODER], tensors[WORDS]):
            unused[DECODER] = f'the same as {WORDS}'
        else:
            model = dataclasses.replace(model, tie_word_embeddings=False)
    bias = tensors.pop(DECODER_BIAS, None)  # the one that transformers adds
    known = {name for rule in rules.BERT for name in rule.names('hf', model.num_hidden_layers)}
    for name in set(tensors) - known - set(unused):
        unused[name] = _why_unused(name, model, directory)
    used = {name: tensor for name, tensor in tensors.items() if name not in unused}
    if bias is not None:
        if np.array_equal(bias, used.get(BIAS, bias)):
            unused[DECODER_BIAS] = f'stands for {BIAS}'
        else:
            unused[BIAS] = f'{DECODER_BIAS} differs and is what transformers adds'
        used[BIAS] = bias
    vocabulary, notes = hf_tokenizer.read(directory, lowercase, model.vocab_size)
    return Foreign('hf', model, used, unused, vocabulary, notes)


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
    places = read_json(index).get('weight_map')
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise ValueError(f'{index}: weight_map must be an object of tensors and their files')
    for tensor, name in places.items():
        files.setdefault(index.parent / name, set()).add(tensor)
    for path in files:
        if not path.exists():
            raise ValueError(f'shard {path} is missing; {index} says {len(files)} files')
    return files


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    safetensors = _safetensors()
    try:
        tensors: dict[str, np.ndarray] = safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f'{path} is not a whole safetensors file: {error}') from error
    return tensors


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ValueError(f'{FORMATS[0]} needs safetensors: pip install bert_jax[hf]') from error
    return safetensors


def _read_pickle(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Through torch's restricted unpickler: nothing in the file is run. Raises ValueError for
    versions of torch in which a file could get round it (CVE-2025-32434)."""
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f'reading {path} needs PyTorch: pip install torch --index-url '
            'https://download.pytorch.org/whl/cpu, or take model.safetensors from where the file '
            'came from'
        ) from error
    if tuple(map(int, re.findall(r'\d+', torch.__version__)[:2])) < (2, 6):
        raise ValueError(
            f'PyTorch {torch.__version__} can be made to run code that is in {path}; '
            "pip install 'torch>=2.6', or take model.safetensors from where the file came from"
        )
    try:
        tensors = torch.load(path, map_location='cpu', weights_only=True)
        return {
            name: (tensor.float() if tensor.is_floating_point() else tensor).numpy()
            for name, tensor in tensors.items()
        }
    except Exception as error:  # of many types
        raise ValueError(
            f'{path} is not a checkpoint of plain tensors: {first_line(error)}'
        ) from error


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
    _safetensors().numpy.save_file(tensors, directory / FORMATS[0], metadata={'format': 'pt'})
    values = _config(source, architecture)
    (directory / 'config.json').write_text(json.dumps(values, indent=2) + '\n')
    notes += _write_vocabulary(directory, source)
    count = sum(tensor.size for tensor in tensors.values())
    (directory / 'README.md').write_text(_card(architecture, values, count))
    return notes


def _config(source: Pretrained, architecture: str) -> dict[str, Any]:
    names = (*REQUIRED, *OPTIONAL, 'hidden_act')
    values = {name: getattr(source.config, name) for name in names}
    pad = source.vocabulary.specials.pad if source.vocabulary else 0
    if 'classifier' in source.heads or 'tagger' in source.heads:
        labels = source.labels or ('value',)  # of a regression
        values['id2label'] = dict(enumerate(labels))
        values['label2id'] = {label: i for i, label in enumerate(labels)}
    if 'classifier' in source.heads:
        kind = 'single_label_classification' if source.labels else 'regression'
        values['problem_type'] = kind
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
    names = dataclasses.asdict(vocabulary.special_pieces).items()
    settings = {
        'tokenizer_class': 'BertTokenizer',
        'do_lower_case': vocabulary.lowercase,
        'model_max_length': source.config.max_position_embeddings,
        **{f'{role}_token': piece for role, piece in names if piece is not None},
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

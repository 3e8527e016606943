"""Folders of a Hugging Face BERT: config.json, weights and a vocabulary."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from bert_jax.convert import hf_tokenizer, hf_weights, rules
from bert_jax.convert.foreign import KEYS, Foreign, model_config, task_of, task_values, why_unused
from bert_jax.inference.model_dir import Pretrained
from bert_jax.models.heads import head_of

DECODER, DECODER_BIAS = 'cls.predictions.decoder.weight', 'cls.predictions.decoder.bias'
WORDS, BIAS = 'bert.embeddings.word_embeddings.weight', 'cls.predictions.bias'
CLASSIFIER = 'classifier.weight'  # of the classifier or of the tagger
# The classes of transformers and the heads that they have.
CLASSES: Mapping[str, tuple[str, ...]] = {
    'BertModel': ('pooler',),
    'BertForMaskedLM': ('masked_lm',),
    'BertForNextSentencePrediction': ('pooler', 'next_sentence'),
    'BertForPreTraining': ('pooler', 'masked_lm', 'next_sentence'),
    'BertForSequenceClassification': ('pooler', 'classifier'),
    'BertForTokenClassification': ('tagger',),
    'BertForQuestionAnswering': ('span',),
}
CLASS_OF = {frozenset(heads): name for name, heads in CLASSES.items()} | {frozenset(): 'BertModel'}


def read(directory: pathlib.Path, lowercase: bool | None = None) -> Foreign:
    """The checkpoint in a folder.

    lowercase: whether text is lowercased, if the folder does not say it. Raises ValueError naming
    the file or the tensor that is wrong.
    """
    path = directory / 'config.json'
    model, values = model_config(path)
    tensors = hf_weights.read_tensors(directory)
    if not any(name.startswith('bert.encoder.') for name in tensors):
        some = ', '.join(sorted(tensors)[:3]) or 'no tensors'
        raise ValueError(f'{directory} holds no BERT encoder; it has {some}')
    unused = {}
    if DECODER in tensors and model.tie_word_embeddings:
        if WORDS in tensors and np.array_equal(tensors[DECODER], tensors[WORDS]):
            unused[DECODER] = f'the same as {WORDS}'
        else:
            model = dataclasses.replace(model, tie_word_embeddings=False)
    bias = tensors.pop(DECODER_BIAS, None)  # transformers adds this one
    heads = _heads(tensors, model.num_hidden_layers, values)
    known = rules.names_of(heads, 'hf', model.num_hidden_layers)
    for name in set(tensors) - known - set(unused):
        unused[name] = why_unused(name, model, path)
    used = {name: tensor for name, tensor in tensors.items() if name not in unused}
    if bias is not None:
        if np.array_equal(bias, used.get(BIAS, bias)):
            unused[DECODER_BIAS] = f'the same as {BIAS}'
        else:
            unused[BIAS] = f'{DECODER_BIAS} differs, and transformers adds that one'
        used[BIAS] = bias
    vocabulary, notes = hf_tokenizer.read(directory, lowercase, model.vocab_size)
    task = task_of(values, len(used[CLASSIFIER]) if CLASSIFIER in used else None)
    return Foreign('hf', model, heads, used, unused, vocabulary, task, notes)


def _heads(
    tensors: Mapping[str, np.ndarray], layers: int, values: Mapping[str, Any]
) -> tuple[str, ...]:
    """The heads that the tensors belong to. In Hugging Face folders, the tensors of the classifier
    and of the tagger have the same names, so the class in config.json decides between them."""
    architectures = values.get('architectures') or ()
    named = {head for name in architectures for head in CLASSES.get(name, ())}
    if values.get('problem_type') == 'multi_label_classification':
        named = set()
    heads = rules.heads_of(tensors, 'hf', layers)
    return tuple(head for head in heads if head not in ('classifier', 'tagger') or head in named)


def write(directory: pathlib.Path, source: Pretrained) -> list[str]:
    """Writes a folder that transformers reads; returns lines to print."""
    notes = []
    heads = frozenset(source.heads)
    if heads not in CLASS_OF:
        others = ' and '.join(source.heads)
        notes.append(f'the pooler is left out: transformers has no BERT with only {others}')
        heads -= {'pooler'}
    architecture = CLASS_OF[heads]
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
    hf_weights.safetensors_library().numpy.save_file(
        tensors, directory / hf_weights.FORMATS[0], metadata={'format': 'pt'}
    )
    values = {
        'architectures': [architecture],
        'model_type': 'bert',
        'position_embedding_type': 'absolute',
        'pad_token_id': source.vocabulary.specials.pad if source.vocabulary else 0,
        'dtype': 'float32',
        **{key: getattr(source.config, key) for key in KEYS},
        **task_values(source),
    }
    (directory / 'config.json').write_text(json.dumps(values, indent=2) + '\n')
    notes += hf_tokenizer.write(directory, source)
    count = sum(tensor.size for tensor in tensors.values())
    (directory / 'README.md').write_text(_card(architecture, values, count))
    return notes


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

Describe here the model's training data, its intended use and its limits.
"""

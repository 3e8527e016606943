"""Folders of google-research/bert: bert_config.json, bert_model.ckpt.*, vocab.txt.

TensorFlow reads and writes the checkpoints. It is imported only if it is needed.
"""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from bert_jax.config.errors import first_line
from bert_jax.convert import rules
from bert_jax.convert.families.bert import BERT
from bert_jax.convert.foreign import (
    HIDDEN_ACT,
    Foreign,
    check_vocabulary,
    model_config,
    task_of,
    task_values,
    why_unused,
)
from bert_jax.convert.rules import Rule, Rules
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference.model_dir import Pretrained

CONFIG, CHECKPOINT = 'bert_config.json', 'bert_model.ckpt'
CLASSIFIER = 'output_weights'  # of run_classifier.py
# Output layers, whose matrices are [out, in], and other parameters that are named in their own way.
# A parameter with the name '' does not exist.
OUTPUTS = {
    'next_sentence': 'cls/seq_relationship/output',
    'classifier': 'output',
    'span': 'cls/squad/output',
    'tagger': '',
}
OTHERS = {'masked_lm_bias': 'cls/predictions/output_bias', 'masked_lm_decoder': ''}


def _tf1(rule: Rule) -> Rule:
    """The rule for google-research/bert that corresponds to a rule for transformers."""
    head, _, last = rule.ours.rpartition('/')
    if rule.ours in OTHERS:
        name, flipped = OTHERS[rule.ours], False
    elif head in OUTPUTS:
        kinds = {'kernel': 'weights', 'bias': 'bias'}
        name, flipped = OUTPUTS[head] and f'{OUTPUTS[head]}_{kinds[last]}', last == 'kernel'
    else:
        module, _, _ = rule.theirs.rpartition('.')
        module = module.replace('layer.{layer}', 'layer_{layer}').replace('.', '/')
        norm = module.endswith('LayerNorm')
        kinds = {'scale': '/gamma', 'bias': '/beta' if norm else '/bias', 'kernel': '/kernel'}
        name, flipped = module + kinds.get(last, ''), False
    return dataclasses.replace(rule, theirs=name, flipped=flipped)


TF1: Rules = tuple(rule for rule in map(_tf1, BERT.rules) if rule.theirs)


def read(directory: pathlib.Path, lowercase: bool | None = None) -> Foreign:
    """The checkpoint in a folder.

    lowercase: whether text is lowercased, which the files do not say. Raises ValueError naming the
    file or the tensor that is wrong.
    """
    family, model, values = model_config(directory / CONFIG)
    if family.model_type != 'bert':
        raise ValueError(f'{directory / CONFIG}: {family.model_type} is not read from this format')
    prefix, layers = _checkpoint(directory), model.num_hidden_layers
    reader = _open(prefix)
    shapes = reader.get_variable_to_shape_map()
    heads = tuple(rules.heads_of(shapes, TF1, layers))
    known = rules.names_of(heads, TF1, layers)
    unused, tensors = {}, {}
    for name in shapes:
        if name not in known:
            unused[name] = why_unused(name, family, layers, directory / CONFIG, TF1)
        else:
            try:
                tensors[name] = np.asarray(reader.get_tensor(name))
            except Exception as error:  # TensorFlow raises errors of many types
                raise ValueError(
                    f'tensor {name} of {prefix} cannot be read: {first_line(error)}'
                ) from error
    vocabulary: tokenizer.Tokenizer | None = None
    notes: tuple[str, ...] = ()
    if tokenizer.find(directory):
        vocabulary = tokenizer.load(directory, lowercase is not False)
        notes = check_vocabulary(vocabulary, lowercase, model.vocab_size, directory)
    task = task_of(values, shapes[CLASSIFIER][0] if CLASSIFIER in tensors else None)
    return Foreign(TF1, model, heads, tensors, unused, vocabulary, task, notes)


def _tensorflow() -> Any:
    try:
        import tensorflow
    except ImportError as error:
        raise ValueError(
            'TensorFlow checkpoints need TensorFlow: pip install bert_jax[data]'
        ) from error
    return tensorflow


def _checkpoint(directory: pathlib.Path) -> pathlib.Path:
    """The checkpoint in a folder: bert_model.ckpt, or else the only checkpoint in the folder."""
    names = sorted(path.stem for path in directory.glob('*.index'))
    if CHECKPOINT in names:
        return directory / CHECKPOINT
    if not names:
        raise ValueError(f'{directory / CHECKPOINT}.index does not exist, nor any other *.index')
    if len(names) > 1:
        raise ValueError(
            f'{directory} has several checkpoints: {", ".join(names)}; give a folder with one of '
            f'them and {CONFIG}'
        )
    return directory / names[0]


def _open(prefix: pathlib.Path) -> Any:
    tf = _tensorflow()
    try:
        return tf.train.load_checkpoint(str(prefix))
    except Exception as error:  # TensorFlow raises errors of many types
        raise ValueError(
            f'{prefix} is not a whole TensorFlow checkpoint: {first_line(error)}'
        ) from error


def write(directory: pathlib.Path, source: Pretrained) -> list[str]:
    """Writes a folder that google-research/bert reads; returns lines to print."""
    tf = _tensorflow()
    config = source.config
    if config.model_type != 'bert':
        raise ValueError(f'google-research/bert has no {config.model_type}; use --to=hf')
    if not config.tie_word_embeddings:
        raise ValueError(
            'google-research/bert has no masked-LM decoder of its own, and this checkpoint has one '
            '(tie_word_embeddings is False)'
        )
    if 'tagger' in source.heads:
        raise ValueError('google-research/bert has no model for tagging; use --to=hf')
    tensors = rules.to_theirs(source.arrays(), TF1)
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(directory / CHECKPOINT),
        tensor_names=names,
        shape_and_slices=[''] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )
    values = BERT.values(config)
    for key in ('model_type', 'tie_word_embeddings', 'position_embedding_type', 'pad_token_id'):
        del values[key]
    values |= task_values(source)
    notes = []
    # The name of gelu_new in google-research/bert is gelu.
    if config.hidden_act == 'gelu_new':
        values |= {'hidden_act': 'gelu', HIDDEN_ACT: 'gelu_new'}
    if config.hidden_act == 'gelu':
        notes.append('google-research/bert computes gelu by tanh: its numbers differ slightly')
    if config.layer_norm_eps != 1e-12:
        notes.append(
            'google-research/bert computes layer norms with 1e-12, not with layer_norm_eps '
            f'{config.layer_norm_eps}: its numbers differ slightly'
        )
    (directory / CONFIG).write_text(json.dumps(values, indent=2) + '\n')
    if source.vocabulary is not None:
        source.vocabulary.save(directory)
    return notes

"""Folders of google-research/bert: bert_config.json, bert_model.ckpt.*, vocab.txt.

TensorFlow reads and writes the checkpoints. It is imported only if it is needed.
"""

import json
import pathlib
from typing import Any

import numpy as np

from bert_jax.config.errors import first_line
from bert_jax.convert import rules
from bert_jax.convert.foreign import (
    HIDDEN_ACT,
    KEYS,
    Foreign,
    check_vocabulary,
    model_config,
    task_of,
    task_values,
    why_unused,
)
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference.model_dir import Pretrained

CONFIG, CHECKPOINT = 'bert_config.json', 'bert_model.ckpt'
CLASSIFIER = 'output_weights'  # of run_classifier.py


def read(directory: pathlib.Path, lowercase: bool | None = None) -> Foreign:
    """The checkpoint in a folder.

    lowercase: whether text is lowercased, which the files do not say. Raises ValueError naming the
    file or the tensor that is wrong.
    """
    model, values = model_config(directory / CONFIG)
    prefix = _checkpoint(directory)
    reader = _open(prefix)
    shapes = reader.get_variable_to_shape_map()
    heads = rules.heads_of(shapes, 'tf1', model.num_hidden_layers)
    known = rules.names_of(heads, 'tf1', model.num_hidden_layers)
    unused, tensors = {}, {}
    for name in shapes:
        if name not in known:
            unused[name] = why_unused(name, model, directory / CONFIG)
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
    return Foreign('tf1', model, heads, tensors, unused, vocabulary, task, notes)


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
    if not config.tie_word_embeddings:
        raise ValueError(
            'google-research/bert has no masked-LM decoder of its own, and this checkpoint has one '
            '(tie_word_embeddings is False)'
        )
    if 'tagger' in source.heads:
        raise ValueError('google-research/bert has no model for tagging; use --to=hf')
    tensors = rules.to_theirs(source.arrays(), 'tf1')
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(directory / CHECKPOINT),
        tensor_names=names,
        shape_and_slices=[''] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )
    values = {key: getattr(config, key) for key in KEYS if key != 'tie_word_embeddings'}
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

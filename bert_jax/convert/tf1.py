"""Folders of google-research/bert: bert_config.json, bert_model.ckpt.*, vocab.txt.

TensorFlow reads and writes its own format; it is imported when that is asked for.
"""

import json
import pathlib
import re
from typing import Any

import numpy as np

from bert_jax.config.errors import first_line
from bert_jax.convert import rules
from bert_jax.convert.foreign import (
    HIDDEN_ACT,
    OPTIONAL,
    REQUIRED,
    Foreign,
    model_config,
    read_vocabulary,
)
from bert_jax.inference.model_dir import Pretrained

CHECKPOINT = 'bert_model.ckpt'
DECODER = 'cls/predictions/output_weights'
OPTIMIZER = re.compile(r'.*/(adam_m|adam_v|lamb_m|lamb_v)|(.*/)?global_step')


def read(directory: pathlib.Path, lowercase: bool | None = None) -> Foreign:
    """Raises ValueError naming the file or tensor that can't be used. The format does not say
    whether text is lowercased, so that has to be given."""
    model = model_config(directory / 'bert_config.json')
    reader = _open(directory)
    known = {name for rule in rules.BERT for name in rule.names('tf1', model.num_hidden_layers)}
    known -= {DECODER}  # our own name, which it has no such tensor for
    unused, tensors = {}, {}
    for name in reader.get_variable_to_shape_map():
        if name not in known:
            unused[name] = _why_unused(name, model.num_hidden_layers, directory)
            continue
        try:
            tensors[name] = np.asarray(reader.get_tensor(name))
        except Exception as error:  # of many types
            raise ValueError(
                f'tensor {name} of {directory / CHECKPOINT} can not be read: {first_line(error)}'
            ) from error
    vocabulary, notes = read_vocabulary(directory, lowercase, model.vocab_size)
    return Foreign('tf1', model, tensors, unused, vocabulary, notes)


def _tensorflow() -> Any:
    try:
        import tensorflow
    except ImportError as error:
        raise ValueError(
            'TensorFlow checkpoints need TensorFlow: pip install bert_jax[data]'
        ) from error
    return tensorflow


def _open(directory: pathlib.Path) -> Any:
    prefix = directory / CHECKPOINT
    if not (directory / f'{CHECKPOINT}.index').exists():
        raise ValueError(f'{prefix}.index does not exist')
    tf = _tensorflow()
    try:
        return tf.train.load_checkpoint(str(prefix))
    except Exception as error:  # of many types
        raise ValueError(
            f'{prefix} is not a whole TensorFlow checkpoint: {first_line(error)}'
        ) from error


def _why_unused(name: str, layers: int, directory: pathlib.Path) -> str:
    if OPTIMIZER.fullmatch(name):
        return 'state of the optimizer'
    layer = re.match(r'bert/encoder/layer_(\d+)/', name)
    if layer and int(layer[1]) >= layers:
        raise ValueError(
            f'tensor {name} is of layer {layer[1]}, but {directory / "bert_config.json"} says '
            f'num_hidden_layers is {layers} (they count from 0)'
        )
    if name == DECODER:
        return 'a masked-LM decoder of its own, which google-research/bert does not have'
    if name.startswith('bert/'):
        return 'no parameter of this encoder'
    return 'of a head that bert_jax does not have'


def write(directory: pathlib.Path, source: Pretrained) -> list[str]:
    """A folder that google-research/bert reads; returns what is to be said about it."""
    tf = _tensorflow()
    config, vocabulary = source.config, source.vocabulary
    if not config.tie_word_embeddings:
        raise ValueError(
            'google-research/bert has no masked-LM decoder of its own, and this checkpoint has one '
            '(tie_word_embeddings is False)'
        )
    if 'tagger' in source.heads:
        raise ValueError('google-research/bert has no tagging; --to=hf has')
    tensors = rules.to_theirs(source.arrays(), 'tf1')
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(directory / CHECKPOINT),
        tensor_names=names,
        shape_and_slices=[''] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )
    names = [*REQUIRED, *OPTIONAL, 'hidden_act']
    values = {name: getattr(config, name) for name in names if name != 'tie_word_embeddings'}
    notes = []
    # It has no gelu_new, and its gelu is computed by tanh, which is ours under that name.
    if config.hidden_act == 'gelu_new':
        values |= {'hidden_act': 'gelu', HIDDEN_ACT: 'gelu_new'}
    if config.hidden_act == 'gelu':
        notes.append('google-research/bert computes gelu by tanh: numbers there differ slightly')
    if config.layer_norm_eps != 1e-12:
        notes.append(
            'google-research/bert computes layer norms with 1e-12, not with layer_norm_eps '
            f'{config.layer_norm_eps}: numbers there differ slightly'
        )
    (directory / 'bert_config.json').write_text(json.dumps(values, indent=2) + '\n')
    if vocabulary is None:
        return [*notes, 'no vocabulary: there is none beside the checkpoint']
    vocabulary.save(directory)
    return notes

"""Folders of google-research/bert and google-research/albert.

TensorFlow reads and writes the checkpoints. It is imported only if it is needed.
"""

import json
import pathlib
import re
from typing import Any

import numpy as np

from bert_jax.config.errors import first_line
from bert_jax.convert import rules, whole_files
from bert_jax.convert.families import FAMILIES
from bert_jax.convert.foreign import (
    HIDDEN_ACT,
    Foreign,
    check_vocabulary,
    model_config,
    read_json,
    task_of,
    task_values,
    why_unused,
)
from bert_jax.convert.tf1_names import CONFIGS, INSTEAD, REFUSED, TF1
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference.model_dir import Pretrained
from bert_jax.models.heads import DECODER

CHECKPOINT, CONFIG = 'bert_model.ckpt', 'config.json'
KINDS = ('wordpiece', 'sentencepiece')  # the vocabularies of this format
CLASSIFIER = 'output_weights'  # of run_classifier.py


def read(directory: pathlib.Path, lowercase: bool | None = None) -> Foreign:
    """The checkpoint in a folder.

    lowercase: whether text is lowercased, which the files do not say. Raises ValueError naming the
    file or the tensor that is wrong.
    """
    for kind, name in REFUSED.items():
        if (directory / name).exists():
            raise _refused(directory / name, kind)
    path = _config(directory)
    names = [*CONFIGS.values(), CONFIG]
    if not path.exists() and (inner := whole_files.inner_folders(directory, (*names,))):
        raise ValueError(inner)
    implied = next(
        ({'model_type': kind} for kind, name in CONFIGS.items() if name == path.name), {}
    )
    if path.name == CONFIGS['albert'] and read_json(path).get('hidden_act') == 'gelu':
        implied |= {HIDDEN_ACT: 'gelu_new'}  # the authors' code computes gelu with tanh
    if not path.exists() and (
        others := sorted(x.name for x in directory.glob('*bert*config*.json'))
    ):
        raise ValueError(f'{path} does not exist; rename {others[0]} if it describes the model')
    family, model, values = model_config(path, implied)
    if family.model_type not in TF1:
        raise _refused(path, family.model_type)
    prefix = _checkpoint(directory)
    rows = TF1[family.model_type]
    reader = _open(prefix)
    shapes = reader.get_variable_to_shape_map()
    heads = tuple(rules.heads_of(shapes, rows, model))
    known = rules.names_of(heads, rows, model)
    unused, tensors = {}, {}
    for name in shapes:
        if name not in known:
            unused[name] = why_unused(name, family, known, path)
        else:
            try:
                tensors[name] = np.asarray(reader.get_tensor(name))
            except Exception as error:  # TensorFlow raises errors of many types
                raise ValueError(
                    f'tensor {name} of {prefix} cannot be read: {first_line(error)}'
                ) from error
    vocabulary: tokenizer.Tokenizer | None = None
    notes: tuple[str, ...] = ()
    models = sorted(directory.glob('*.model'))  # ALBERT's vocabulary is 30k-clean.model
    if tokenizer.find(directory) or len(models) == 1:
        found = directory if tokenizer.find(directory) else models[0]
        vocabulary = tokenizer.load(found, lowercase is not False)
        notes = check_vocabulary(vocabulary, lowercase, model.vocab_size, directory)
    task = task_of(values, shapes[CLASSIFIER][0] if CLASSIFIER in tensors else None)
    return Foreign(rows, model, heads, tensors, unused, vocabulary, task, notes)


def _tensorflow() -> Any:
    try:
        import tensorflow
    except ImportError as error:
        raise ValueError(
            'TensorFlow checkpoints need TensorFlow: pip install bert_jax[data]'
        ) from error
    return tensorflow


def _refused(path: pathlib.Path, family: str) -> ValueError:
    """The error for a TensorFlow 1 checkpoint of another family. path: its configuration file."""
    return ValueError(
        f'{path} is of the family {family!r}; bert_jax reads TensorFlow 1 checkpoints only of '
        f'{" and ".join(CONFIGS)}. Instead, {INSTEAD.format(family=family)}'
    )


def _config(directory: pathlib.Path) -> pathlib.Path:
    """The configuration file of a folder; the path of BERT's file if the folder has none."""
    paths = [directory / name for name in (*CONFIGS.values(), CONFIG)]
    return next((path for path in paths if path.exists()), paths[0])


def _checkpoint(directory: pathlib.Path) -> pathlib.Path:
    """Returns the checkpoint in a folder: bert_model.ckpt, or else the one that the file
    `checkpoint` names, or the only checkpoint in the folder."""
    names = sorted(path.stem for path in directory.glob('*.index'))
    if CHECKPOINT in names:
        return directory / CHECKPOINT
    if not names and whole_files.other_format(directory) == 'hf':
        raise ValueError(f'{directory} is a folder of Hugging Face transformers; use --from=hf')
    if not names:
        data = [*directory.glob('*.data-*')]
        raise ValueError(
            f'{directory / CHECKPOINT}.index does not exist, nor any other *.index'
            + ('; copy this file, too: it lists the tensors in *.data-*' if data else '')
            + whole_files.other_weights(directory)
        )
    if len(names) > 1 and (stated := _stated(directory)) in names:
        return directory / stated
    if len(names) > 1:
        raise ValueError(
            f'{directory} has several checkpoints: {", ".join(names)}; give a folder with one of '
            f'them and {_config(directory).name}'
        )
    return directory / names[0]


def _stated(directory: pathlib.Path) -> str:
    """Returns the name of the newest checkpoint, which TensorFlow writes into the file
    `checkpoint`; '' if there is no such file."""
    path = directory / 'checkpoint'
    text = path.read_text('utf-8', 'replace') if path.is_file() else ''
    match = re.search(r'^model_checkpoint_path:\s*"(.*)"', text, re.MULTILINE)
    return match[1].replace('\\', '/').rpartition('/')[2] if match else ''


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
    config = source.config
    if config.model_type not in TF1:
        raise ValueError(f'google-research/bert has no {config.model_type}; use --to=hf')
    if not config.tie_word_embeddings:
        raise ValueError(
            'google-research/bert has no masked-LM decoder of its own, and this checkpoint has one '
            '(tie_word_embeddings is False)'
        )
    if DECODER in source.heads:
        raise ValueError('google-research/bert has no decoder; use --to=hf')
    if 'tagger' in source.heads:
        raise ValueError('google-research/bert has no model for tagging; use --to=hf')
    kind = source.vocabulary.kind if source.vocabulary else KINDS[0]
    if kind not in KINDS:
        raise ValueError(
            f'google-research/bert reads vocabularies of WordPiece and SentencePiece, and this '
            f'checkpoint has one of the kind {kind}; use --to=hf, or remove '
            f'{", ".join(source.vocabulary.files if source.vocabulary else ())} from a copy of the '
            'folder to convert the weights alone'
        )
    tf = _tensorflow()
    tensors = rules.to_theirs(source.arrays(), TF1[config.model_type])
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(directory / CHECKPOINT),
        tensor_names=names,
        shape_and_slices=[''] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )
    family = FAMILIES[config.model_type]
    values = family.values(config)
    of_transformers = ('model_type', 'tie_word_embeddings', 'position_embedding_type')
    for key in (*of_transformers, *family.special_ids):
        values.pop(key, None)
    values |= task_values(source)
    notes = []
    # The name of gelu_new in google-research/bert is gelu.
    if config.hidden_act == 'gelu_new':
        values |= {'hidden_act': 'gelu', HIDDEN_ACT: 'gelu_new'}
    if config.hidden_act == 'gelu' and config.model_type == 'albert':
        values[HIDDEN_ACT] = 'gelu'
    if config.hidden_act == 'gelu':
        notes.append('google-research/bert computes gelu by tanh: its numbers differ slightly')
    if config.layer_norm_eps != 1e-12:
        notes.append(
            'google-research/bert computes layer norms with 1e-12, not with layer_norm_eps '
            f'{config.layer_norm_eps}: its numbers differ slightly'
        )
    (directory / CONFIGS[config.model_type]).write_text(json.dumps(values, indent=2) + '\n')
    if source.vocabulary is not None:
        source.vocabulary.save(directory)
    return notes

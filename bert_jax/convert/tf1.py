"""Folders of google-research/bert and google-research/albert.

TensorFlow reads and writes the checkpoints. It is imported only if it is needed.
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bert_jax.config.errors import first_line
from bert_jax.convert import rules, whole_files
from bert_jax.convert.families import FAMILIES
from bert_jax.convert.foreign import (
    Foreign,
    check_vocabulary,
    read_json,
    read_model,
    task_of,
    task_values,
    why_unused,
)
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference.model_dir import Pretrained
from bert_jax.models.heads import DECODER

# The configuration file of each family that has checkpoints of TensorFlow 1.
CONFIGS = {
    'bert': 'bert_config.json',
    'albert': 'albert_config.json',
    'xlnet': 'xlnet_config.json',
}
LACKING = ('tagger', 'masked_lm_decoder')  # parameters that this format does not have
# Output layers, whose matrices are [out, in].
OUTPUTS = {
    'next_sentence': 'cls/seq_relationship/output',
    'sentence_order': 'cls/seq_relationship/output',
    'classifier': 'output',
    'span': 'cls/squad/output',
}
# Modules of ALBERT by their names in transformers. The names of other modules differ only in their
# separators.
_LAYER = 'albert.encoder.albert_layer_groups.0.albert_layers.0'
_GROUP = 'bert/encoder/transformer/group_0/inner_group_0'
ALBERT = {
    f'{_LAYER}.attention.{{part}}': f'{_GROUP}/attention_1/self/{{part}}',
    f'{_LAYER}.attention.dense': f'{_GROUP}/attention_1/output/dense',
    f'{_LAYER}.attention.LayerNorm': f'{_GROUP}/LayerNorm',
    f'{_LAYER}.ffn': f'{_GROUP}/ffn_1/intermediate/dense',
    f'{_LAYER}.ffn_output': f'{_GROUP}/ffn_1/intermediate/output/dense',
    f'{_LAYER}.full_layer_layer_norm': f'{_GROUP}/LayerNorm_1',
    'albert.pooler': 'bert/pooler/dense',
    'predictions.dense': 'cls/predictions/transform/dense',
    'predictions.LayerNorm': 'cls/predictions/transform/LayerNorm',
}
CHECKPOINT, CONFIG_FILES = 'bert_model.ckpt', (*CONFIGS.values(), 'config.json')
KINDS = ('wordpiece', 'sentencepiece')  # the vocabularies of this format
CLASSIFIER = 'output_weights'  # of run_classifier.py
# A key that only bert_jax reads: the activation, whose name has another meaning in this format.
HIDDEN_ACT = 'bert_jax_hidden_act'


def _module(name: str) -> str:
    """The TensorFlow 1 name of a module of transformers."""
    if name in ALBERT:
        return ALBERT[name]
    name = name.removeprefix('al') if name.startswith('albert.') else name
    return name.replace('layer.{layer}', 'layer_{layer}').replace('.', '/')


def _tf1(rule: rules.Rule) -> rules.Rule:
    """The rule for TensorFlow 1 that corresponds to a rule for transformers."""
    head, _, last = rule.ours.rpartition('/')
    if rule.ours == 'masked_lm_bias':
        name, flipped = 'cls/predictions/output_bias', False
    elif head in OUTPUTS:
        kinds = {'kernel': 'weights', 'bias': 'bias'}
        name, flipped = f'{OUTPUTS[head]}_{kinds[last]}', last == 'kernel'
    else:
        module = _module(rule.theirs.rpartition('.')[0])
        norm = 'LayerNorm' in module
        kinds = {'scale': '/gamma', 'bias': '/beta' if norm else '/bias', 'kernel': '/kernel'}
        name, flipped = module + kinds.get(last, ''), False
    return dataclasses.replace(rule, theirs=name, flipped=flipped)


# The rules of each family that is converted.
TF1: Mapping[str, rules.Rules] = {
    family: tuple(_tf1(x) for x in FAMILIES[family].rules if not x.ours.startswith(LACKING))
    for family in ('bert', 'albert')
}


def read(directory: pathlib.Path, lowercase: bool | None = None) -> Foreign:
    """The checkpoint in a folder.

    lowercase: whether text is lowercased, which the files do not say. Raises ValueError naming the
    file or the tensor that is wrong.
    """
    path = _config(directory)
    if not path.exists() and (inner := whole_files.inner_folders(directory, CONFIG_FILES)):
        raise ValueError(inner)
    others = sorted(x.name for x in directory.glob('*bert*config*.json'))
    if not path.exists() and others:
        raise ValueError(f'{path} does not exist; rename {others[0]} if it describes the model')
    values = read_json(path)
    kind = next((kind for kind, name in CONFIGS.items() if name == path.name), None)
    values['model_type'] = values.get('model_type') or kind
    if HIDDEN_ACT in values:
        values['hidden_act'] = values[HIDDEN_ACT]
    elif kind == 'albert' and values.get('hidden_act') == 'gelu':
        values['hidden_act'] = 'gelu_new'  # the authors' code computes gelu with tanh
    family, model = read_model(values, path)
    if family.model_type not in TF1:
        raise ValueError(
            f'{path} is of the family {family.model_type!r}; bert_jax reads TensorFlow 1 '
            f'checkpoints only of {" and ".join(TF1)}. Instead, give a folder of Hugging Face '
            'transformers: a published one, or one made by the script of transformers 4 '
            f'(transformers/models/{family.model_type}/convert_*_tf_checkpoint_to_pytorch.py)'
        )
    prefix = _checkpoint(directory)
    rows = TF1[family.model_type]
    with _errors_about(prefix):
        reader = _tensorflow().train.load_checkpoint(str(prefix))
    shapes = reader.get_variable_to_shape_map()
    heads = tuple(rules.heads_of(shapes, rows, model))
    known = rules.names_of(heads, rows, model)
    unused = {name: why_unused(name, family, known, path) for name in shapes if name not in known}
    with _errors_about(prefix):
        tensors = {name: np.asarray(reader.get_tensor(name)) for name in shapes if name in known}
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


@contextlib.contextmanager
def _errors_about(prefix: pathlib.Path) -> Iterator[None]:
    """Raises errors of TensorFlow, which have many types, as ValueError with the checkpoint."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f'the TensorFlow checkpoint {prefix} cannot be read: {first_line(error)}'
        ) from error


def _config(directory: pathlib.Path) -> pathlib.Path:
    """The configuration file of a folder; the path of BERT's file if the folder has none."""
    paths = [directory / name for name in CONFIG_FILES]
    return next((path for path in paths if path.exists()), paths[0])


def _checkpoint(directory: pathlib.Path) -> pathlib.Path:
    """Returns the checkpoint in a folder: bert_model.ckpt, or else the one that the file
    `checkpoint` names, or the only checkpoint in the folder."""
    names = sorted(path.stem for path in directory.glob('*.index'))
    if CHECKPOINT in names:
        return directory / CHECKPOINT
    theirs = [*directory.glob('*.safetensors'), *directory.glob('*.bin')]
    if not names and theirs and (directory / 'config.json').exists():
        raise ValueError(f'{directory} is a folder of Hugging Face transformers; use --from=hf')
    if not names:
        data = [*directory.glob('*.data-*')]
        raise ValueError(
            f'{directory / CHECKPOINT}.index does not exist, nor any other *.index'
            + ('; copy this file, too: it lists the tensors in *.data-*' if data else '')
            + whole_files.other_weights(directory)
        )
    if len(names) == 1:
        return directory / names[0]
    # TensorFlow names the newest checkpoint in the file `checkpoint`, perhaps by a Windows path.
    state = _tensorflow().train.get_checkpoint_state(str(directory))
    newest = state.model_checkpoint_path.replace('\\', '/').rpartition('/')[2] if state else ''
    if newest not in names:
        raise ValueError(
            f'{directory} has several checkpoints: {", ".join(names)}; give a folder with one of '
            f'them and {_config(directory).name}'
        )
    return directory / newest


def write(directory: pathlib.Path, source: Pretrained) -> list[str]:
    """Writes a folder that google-research/bert reads; returns lines to print."""
    config = source.config
    own_decoder = 'masked-LM decoder of its own (tie_word_embeddings is False)'
    for lacks, what in (
        (config.model_type not in TF1, config.model_type),
        (not config.tie_word_embeddings, own_decoder),
        (DECODER in source.heads, 'decoder'),
        ('tagger' in source.heads, 'model for tagging'),
    ):
        if lacks:
            raise ValueError(f'google-research/bert has no {what}; use --to=hf')
    vocabulary = source.vocabulary
    if vocabulary is not None and vocabulary.kind not in KINDS:
        raise ValueError(
            f'google-research/bert reads vocabularies of WordPiece and SentencePiece, and this '
            f'checkpoint has one of the kind {vocabulary.kind}; use --to=hf, or remove '
            f'{", ".join(vocabulary.files)} from a copy of the folder to convert the weights alone'
        )
    tf = _tensorflow()
    tensors = rules.to_theirs(source.arrays(), TF1[config.model_type])
    tf.raw_ops.SaveV2(
        prefix=str(directory / CHECKPOINT),
        tensor_names=list(tensors),
        shape_and_slices=[''] * len(tensors),
        tensors=list(map(tf.constant, tensors.values())),
    )
    family = FAMILIES[config.model_type]
    values = family.values(config)
    of_transformers = ('model_type', 'tie_word_embeddings', 'position_embedding_type')
    for key in (*of_transformers, *family.special_ids):
        values.pop(key, None)
    values |= task_values(source)
    notes = []
    # The name of gelu_new in google-research/bert is gelu.
    values |= {'hidden_act': config.hidden_act.removesuffix('_new'), HIDDEN_ACT: config.hidden_act}
    if config.hidden_act == 'gelu':
        notes.append('google-research/bert computes gelu by tanh: its numbers differ slightly')
    if config.layer_norm_eps != 1e-12:
        notes.append(
            'google-research/bert computes layer norms with 1e-12, not with layer_norm_eps '
            f'{config.layer_norm_eps}: its numbers differ slightly'
        )
    (directory / CONFIGS[config.model_type]).write_text(json.dumps(values, indent=2) + '\n')
    if vocabulary is not None:
        vocabulary.save(directory)
    return notes

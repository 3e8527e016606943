"""Checkpoints of other projects: their configuration, tensors, vocabulary and labels."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from bert_jax.config import (
    Config,
    DataConfig,
    ModelConfig,
    Phase,
    TrainConfig,
    model_from_dict,
    validate,
)
from bert_jax.config.keys import architecture_fields
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.inference.model_dir import Pretrained

REQUIRED = (
    'vocab_size',
    'hidden_size',
    'num_hidden_layers',
    'num_attention_heads',
    'intermediate_size',
)
# The keys of ModelConfig that a config.json or a bert_config.json has too.
DROPOUT = ('hidden_dropout_prob', 'attention_probs_dropout_prob')
KEYS = (*architecture_fields(), *DROPOUT, 'tie_word_embeddings')
# Both projects publish the same weights with hidden_act=gelu. For this name, Hugging Face computes
# the exact function, and google-research/bert, since 2019, the tanh approximation. The conversion
# uses the exact function.
ACTIVATIONS = {
    'gelu': 'gelu',
    'gelu_new': 'gelu_new',
    'gelu_fast': 'gelu_new',
    'gelu_pytorch_tanh': 'gelu_new',
    'relu': 'relu',
}
# Keys for which bert_jax supports one value only.
FIXED: Mapping[str, Any] = {
    'model_type': 'bert',
    'position_embedding_type': 'absolute',
    'is_decoder': False,
    'add_cross_attention': False,
}
# Keys that only bert_jax reads: the activation, for the case that the other project uses the same
# name for another function, and facts about the data of a fine-tuned model.
HIDDEN_ACT, TASK = 'bert_jax_hidden_act', 'bert_jax_task'
LAYER = re.compile(r'bert[./]encoder[./]layer[._](\d+)\b')
UNUSED = {
    r'.*\.(position_ids|token_type_ids)$': 'a buffer, not a parameter',
    r'(.*/)?(adam_m|adam_v|lamb_m|lamb_v|global_step)$': 'state of the optimizer',
    r'bert[./]': 'not a parameter of this encoder',
    '': 'of a head that bert_jax does not have or that the configuration does not name',
}
CASED = 0.05  # a vocabulary of lowercased text has a smaller share of tokens with capital letters


@dataclasses.dataclass(frozen=True)
class Foreign:
    """A checkpoint of another project.

    tensors: the tensors to convert, by their names in `family` (see convert.rules). heads: the
    heads that they belong to. unused: the other tensors, with the reasons to leave them out.
    task: the facts about a fine-tuned model that `model_dir.save` writes. notes: lines to print.
    """

    family: str
    model: ModelConfig
    heads: tuple[str, ...]
    tensors: Mapping[str, np.ndarray]
    unused: Mapping[str, str]
    vocabulary: Tokenizer | None
    task: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The JSON object in a file. Raises ValueError if the file does not hold one."""
    try:
        values = json.loads(path.read_text('utf-8'))
    except FileNotFoundError as error:
        raise ValueError(f'{path} does not exist') from error
    except ValueError as error:
        raise ValueError(f'{path} is not JSON: {error}') from error
    if not isinstance(values, dict):
        raise ValueError(f'{path} must hold a JSON object, not a {type(values).__name__}')
    return values


def model_config(path: pathlib.Path) -> tuple[ModelConfig, dict[str, Any]]:
    """The model that a config.json or bert_config.json describes, and all values of the file.

    Raises ValueError naming a key that is missing, wrong or not supported.
    """
    values = read_json(path)
    for key, expected in FIXED.items():
        if values.get(key, expected) not in (expected, None):
            raise ValueError(f'{path}: {key} is {values[key]!r}; bert_jax has {expected!r} only')
    if absent := [key for key in REQUIRED if key not in values]:
        raise ValueError(f'{path} has no {", ".join(absent)}; is it the configuration of a BERT?')
    act = values.get(HIDDEN_ACT, values.get('hidden_act', 'gelu'))
    if not isinstance(act, str) or act not in ACTIVATIONS:
        raise ValueError(f'{path}: hidden_act is {act!r}; expected {", ".join(ACTIVATIONS)}')
    known = {key: values[key] for key in KEYS if key in values}
    try:
        model = model_from_dict(known | {'hidden_act': ACTIVATIONS[act]})
        if model.max_position_embeddings < 8:
            raise ValueError(
                f'max_position_embeddings is {model.max_position_embeddings}; expected 8 or more'
            )
        full_config(model, lowercase=True)
    except ValueError as error:
        reason = str(error).replace('config.model.', '')
        raise ValueError(f'{path}: {reason}') from error
    return model, values


def full_config(model: ModelConfig, lowercase: bool) -> Config:
    """The configuration of a converted model's folder. Raises ValueError if it is not valid."""
    # A configuration needs a phase, but only a run reads it.
    longest = min(model.max_position_embeddings, 512)
    phase = Phase(1_000_000, longest, 1, 1)
    data = DataConfig(lowercase=lowercase, max_seq_length=longest)  # which predictions keep
    return validate(Config(model=model, data=data, train=TrainConfig(phases=(phase,))))


def task_of(values: Mapping[str, Any], outputs: int | None) -> dict[str, Any]:
    """The facts about a fine-tuned model in its configuration file.

    outputs: the number of outputs of the classifier or the tagger, None if the model has neither.
    A single output is a regression unless `problem_type` names a classification.
    """
    task = dict(values.get(TASK) or {})
    if outputs is None:
        return task
    names = values.get('id2label') or {str(i): f'LABEL_{i}' for i in range(outputs)}
    try:
        labels = [str(names[i]) for i in sorted(names, key=int)]
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f'id2label is {names!r}; expected names by number') from error
    number = outputs == 1 and values.get('problem_type') in (None, 'regression')
    return {'labels': [] if number else labels, **task}


def task_values(source: Pretrained) -> dict[str, Any]:
    """The inverse of `task_of`: the values in a configuration file for a fine-tuned model."""
    values: dict[str, Any] = {}
    if 'classifier' in source.heads or 'tagger' in source.heads:
        labels = source.labels or ('value',)  # a regression has one output
        values['id2label'] = {str(i): label for i, label in enumerate(labels)}
        values['label2id'] = {label: i for i, label in enumerate(labels)}
    if 'classifier' in source.heads:
        kind = 'single_label_classification' if source.labels else 'regression'
        values['problem_type'] = kind
    facts = {'pairs': source.pairs, 'no_answer': source.no_answer or None}
    if facts := {key: value for key, value in facts.items() if value is not None}:
        values[TASK] = facts
    return values


def why_unused(name: str, model: ModelConfig, path: pathlib.Path) -> str:
    """The reason why the tensor `name` is not converted to a parameter.

    Raises ValueError if it belongs to a layer that the configuration in `path` does not have.
    """
    layer = LAYER.match(name)
    if layer and int(layer[1]) >= model.num_hidden_layers:
        raise ValueError(
            f'tensor {name} is of layer {layer[1]}, but {path} says num_hidden_layers is '
            f'{model.num_hidden_layers} (they count from 0)'
        )
    return next(reason for pattern, reason in UNUSED.items() if re.match(pattern, name))


def check_vocabulary(
    vocabulary: Tokenizer, lowercase: bool | None, vocab_size: int, directory: pathlib.Path
) -> tuple[str, ...]:
    """Lines to print about a vocabulary that was loaded with `lowercase`; None means true.

    Raises ValueError if the vocabulary has more tokens than the configuration says (a padded table
    has more rows than tokens), and if `lowercase` is None and the vocabulary looks cased.
    """
    if vocabulary.vocab_size > vocab_size:
        raise ValueError(
            f'the vocabulary in {directory} has {vocabulary.vocab_size} tokens, '
            f'its configuration says {vocab_size}'
        )
    capitalised, ordinary = vocabulary.capitalised, len(vocabulary.ordinary_ids)
    if lowercase is None and len(capitalised) > CASED * ordinary:
        raise ValueError(
            f'nothing in {directory} says whether text is lowercased, and {len(capitalised)} of '
            f'{ordinary} tokens have upper-case letters, such as {capitalised[0]!r}; give '
            '--nolowercase, or --lowercase'
        )
    if lowercase is None:
        return ('assumed that text is lowercased; give --nolowercase if it is not',)
    warning = '' if lowercase else vocabulary.case_warning()
    return (warning,) if warning else ()

"""What another project's checkpoint is once it is read: a configuration, tensors, a vocabulary."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from bert_jax.config import Config, DataConfig, ModelConfig, Phase, TrainConfig, validate
from bert_jax.data import tokenizer

REQUIRED = (
    'vocab_size',
    'hidden_size',
    'num_hidden_layers',
    'num_attention_heads',
    'intermediate_size',
)
OPTIONAL = (
    'hidden_dropout_prob',
    'attention_probs_dropout_prob',
    'max_position_embeddings',
    'type_vocab_size',
    'initializer_range',
    'layer_norm_eps',
)
# google-research/bert computes 'gelu' by tanh since 2019, transformers exactly; both publish the
# same weights, so the name decides here, as it does in transformers.
ACTIVATIONS = {
    'gelu': 'gelu',
    'gelu_new': 'gelu_new',
    'gelu_fast': 'gelu_new',
    'gelu_pytorch_tanh': 'gelu_new',
    'relu': 'relu',
}
# What bert_jax computes, where a configuration says it.
FIXED: Mapping[str, Any] = {
    'model_type': 'bert',
    'position_embedding_type': 'absolute',
    'is_decoder': False,
    'add_cross_attention': False,
}


@dataclasses.dataclass(frozen=True)
class Foreign:
    """tensors: by the names of `family` in convert.rules. unused: tensors left out, with why."""

    family: str
    model: ModelConfig
    tensors: Mapping[str, np.ndarray]
    unused: Mapping[str, str]
    vocabulary: tokenizer.Tokenizer | None


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Raises ValueError naming the file where it is missing or is not a JSON object."""
    try:
        values = json.loads(path.read_text('utf-8'))
    except FileNotFoundError as error:
        raise ValueError(f'{path} does not exist') from error
    except ValueError as error:
        raise ValueError(f'{path} is not JSON: {error}') from error
    if not isinstance(values, dict):
        raise ValueError(f'{path} must hold a JSON object, not a {type(values).__name__}')
    return values


def model_config(path: pathlib.Path) -> ModelConfig:
    """A config.json or bert_config.json. Raises ValueError naming the key that is missing, wrong or
    not to be had here."""
    values = read_json(path)
    for key, expected in FIXED.items():
        if values.get(key, expected) not in (expected, None):
            raise ValueError(f'{path}: {key} is {values[key]!r}; bert_jax has {expected!r} only')
    if absent := [key for key in REQUIRED if key not in values]:
        raise ValueError(f'{path} has no {", ".join(absent)}; is it the configuration of a BERT?')
    act = values.get('hidden_act', 'gelu')
    if act not in ACTIVATIONS:
        raise ValueError(f'{path}: hidden_act is {act!r}; known are {", ".join(ACTIVATIONS)}')
    kept = {key: values[key] for key in (*REQUIRED, *OPTIONAL) if key in values}
    try:
        model = ModelConfig(hidden_act=ACTIVATIONS[act], **kept)
        full_config(model, lowercase=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{path}: {error}') from error
    return model


def full_config(model: ModelConfig, lowercase: bool) -> Config:
    """What the folder of a converted model says of it. Raises ValueError where it can't be."""
    # Any phase that fits: only a run has its own.
    phase = Phase(1_000_000, min(model.max_position_embeddings, 512), 1, 1)
    data = DataConfig(lowercase=lowercase)
    return validate(Config(model=model, data=data, train=TrainConfig(phases=(phase,))))


def read_vocabulary(
    directory: pathlib.Path, lowercase: bool, vocab_size: int
) -> tokenizer.Tokenizer | None:
    """The folder's vocabulary, None where it has none. Raises ValueError where its size is not the
    configuration's."""
    names = ('vocab.txt', 'tokenizer.model', 'spiece.model')
    if not any((directory / name).exists() for name in names):
        return None
    vocabulary = tokenizer.load(directory, lowercase)
    if vocabulary.vocab_size > vocab_size:
        raise ValueError(
            f'the vocabulary in {directory} has {vocabulary.vocab_size} tokens, '
            f'its configuration says {vocab_size}'
        )
    return vocabulary

"""What another project's checkpoint is once it is read: a configuration, tensors, a vocabulary."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
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
from bert_jax.data.tokenizers import tokenizer

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
    'tie_word_embeddings',
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
HIDDEN_ACT = 'bert_jax_hidden_act'  # ours, in a bert_config.json where theirs means another
VOCABULARIES = ('vocab.txt', 'tokenizer.model', 'spiece.model')
CASED = 0.05  # share of tokens with upper-case letters that no vocabulary of lowercased text has


@dataclasses.dataclass(frozen=True)
class Foreign:
    """tensors: by the names of `family` in convert.rules. unused: tensors left out, with why."""

    family: str
    model: ModelConfig
    tensors: Mapping[str, np.ndarray]
    unused: Mapping[str, str]
    vocabulary: tokenizer.Tokenizer | None
    notes: tuple[str, ...] = ()  # to be said


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
    act = values.get(HIDDEN_ACT, values.get('hidden_act', 'gelu'))
    if not isinstance(act, str) or act not in ACTIVATIONS:
        raise ValueError(f'{path}: hidden_act is {act!r}; known are {", ".join(ACTIVATIONS)}')
    kept = {key: values[key] for key in (*REQUIRED, *OPTIONAL) if key in values}
    try:
        model = model_from_dict(kept | {'hidden_act': ACTIVATIONS[act]})
        if model.max_position_embeddings < 8:
            raise ValueError(
                f'max_position_embeddings is {model.max_position_embeddings}; expected 8 or more'
            )
        full_config(model, lowercase=True)
    except ValueError as error:
        reason = str(error).replace('config.model.', '')
        raise ValueError(f'{path}: {reason}') from error
    return model


def full_config(model: ModelConfig, lowercase: bool) -> Config:
    """What the folder of a converted model says of it. Raises ValueError where it can't be."""
    # Any phase that fits: only a run has its own.
    phase = Phase(1_000_000, min(model.max_position_embeddings, 512), 1, 1)
    data = DataConfig(lowercase=lowercase)
    return validate(Config(model=model, data=data, train=TrainConfig(phases=(phase,))))


def fitting(
    build: Callable[[bool], tokenizer.Tokenizer],
    lowercase: bool | None,
    vocab_size: int,
    directory: pathlib.Path,
) -> tuple[tokenizer.Tokenizer, tuple[str, ...]]:
    """The vocabulary that `build` makes, given whether text is lowercased, and what is to be said.

    lowercase: None where nobody says. Raises ValueError where the vocabulary then looks cased, and
    where it has more tokens than the configuration (fewer are a padded table).
    """
    vocabulary = build(lowercase is not False)
    if vocabulary.vocab_size > vocab_size:
        raise ValueError(
            f'the vocabulary in {directory} has {vocabulary.vocab_size} tokens, '
            f'its configuration says {vocab_size}'
        )
    if lowercase is not None:
        return vocabulary, ()
    ordinary = [vocabulary.pieces[i] for i in vocabulary.ordinary_ids]
    upper = [piece for piece in ordinary if piece != piece.lower()]
    if len(upper) > CASED * len(ordinary):
        raise ValueError(
            f'nothing in {directory} says whether text is lowercased, and {len(upper)} of '
            f'{len(ordinary)} tokens have upper-case letters, such as {upper[0]!r}; give '
            '--nolowercase, or --lowercase'
        )
    return vocabulary, ('text is lowercased: nothing there says so; --nolowercase if not',)


def read_vocabulary(
    directory: pathlib.Path, lowercase: bool | None, vocab_size: int
) -> tuple[tokenizer.Tokenizer | None, tuple[str, ...]]:
    """As `fitting`; None where the folder has no vocabulary."""
    if not any((directory / name).exists() for name in VOCABULARIES):
        return None, ()
    return fitting(lambda case: tokenizer.load(directory, case), lowercase, vocab_size, directory)

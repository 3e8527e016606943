"""Checkpoints of other projects: their configuration, tensors, vocabulary and labels."""

import dataclasses
import itertools
import json
import pathlib
import re
from collections.abc import Container, Iterable, Mapping
from typing import Any

import numpy as np

from bert_jax.config import (
    Config,
    DataConfig,
    EvalConfig,
    ModelConfig,
    Phase,
    TrainConfig,
    validate,
)
from bert_jax.convert.families import family_of
from bert_jax.convert.families.family import Family
from bert_jax.convert.rules import Rules
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.inference.model_dir import Pretrained
from bert_jax.inference.sentence_embedding import SentenceEmbedding

TASK = 'bert_jax_task'  # a key that only bert_jax reads: facts about the data of a fine-tuned model
MULTI_LABEL = 'multi_label_classification'  # a value of problem_type
# Patterns of names of tensors -> the reason why such tensors are not used.
UNUSED = {
    r'.*\.(position_ids|token_type_ids)$': 'a buffer, not a parameter',
    r'(.*/)?(adam_m|adam_v|lamb_m|lamb_v|global_step)$': 'state of the optimizer',
    r'(qa_outputs\.)?(start_logits|end_logits|answer_class)\.': (
        'of an answer head with beam search, which bert_jax does not have; fine-tune a new head '
        'with --config=finetune_squad'
    ),
}
CASED = 0.05  # a vocabulary of lowercased text has a smaller share of tokens with capital letters


@dataclasses.dataclass(frozen=True)
class Foreign:
    """A checkpoint of another project.

    rules: the names of tensors. tensors: the tensors to convert, by their names. heads: the heads
    that they belong to. unused: the other tensors, with the reasons to leave them out.
    task: the facts about a fine-tuned model that `model_dir.save` writes. notes: lines to print.
    language: the language of texts, if none is given.
    embedding: the sentence embedding of a folder of sentence-transformers. longest: the length of
    rows that the folder's tokenizer names, None if it names none.
    eval, max_target_length: the settings with which an encoder-decoder generates texts; see
    config.eval and config.data.
    """

    rules: Rules
    model: ModelConfig
    heads: tuple[str, ...]
    tensors: Mapping[str, np.ndarray]
    unused: Mapping[str, str]
    vocabulary: Tokenizer | None
    task: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    language: str = ''
    embedding: SentenceEmbedding | None = None
    longest: int | None = None
    eval: EvalConfig = EvalConfig()  # noqa: RUF009, because it is frozen
    max_target_length: int = 0


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The JSON object in a file. Raises ValueError if the file does not hold one."""
    try:
        values = json.loads(path.read_text('utf-8-sig'))
    except FileNotFoundError as error:
        raise ValueError(f'{path} does not exist') from error
    except ValueError as error:
        raise ValueError(f'{path} is not JSON: {error}') from error
    if not isinstance(values, dict):
        raise ValueError(f'{path} must hold a JSON object, not a {type(values).__name__}')
    return values


def read_model(values: Mapping[str, Any], path: pathlib.Path) -> tuple[Family, ModelConfig]:
    """The family and the model that the values of a configuration file describe. path: the file.

    Raises ValueError naming a key that is missing or wrong, or whose value bert_jax does not
    compute.
    """
    try:
        family = family_of(values)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error
    try:
        model = family.model(values)
        if model.longest_row < 8:
            rows, key = model.max_position_embeddings, 'max_position_embeddings'
            raise ValueError(f'{key} is {rows}; expected {8 + model.position_offset} or more')
        full_config(model, lowercase=True)
    except ValueError as error:
        message = re.sub(
            r'config\.model\.(\w+)', lambda match: family.keys.get(match[1], match[1]), str(error)
        )
        raise ValueError(f'{path}: {message}') from error
    return family, model


def full_config(
    model: ModelConfig, lowercase: bool, language: str = '', longest: int | None = None
) -> Config:
    """The configuration of a converted model's folder. longest: the length of rows in predictions,
    if it is less than the number of positions. Raises ValueError if it is not valid."""
    # A configuration needs a phase, but only a run reads it.
    longest = min(model.longest_row, 512, max(longest or 512, 8))
    phase = Phase(1_000_000, longest, 1, 1)
    # Predictions use these values.
    data = DataConfig(lowercase=lowercase, max_seq_length=longest, language=language)
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
    if again := [label for i, label in enumerate(labels) if label in labels[:i]]:
        raise ValueError(f'id2label has the name {again[0]!r} twice; give each label its own name')
    kind = values.get('problem_type')
    number = outputs == 1 and kind in (None, 'regression')
    multi_label = {'multi_label': True} if kind == MULTI_LABEL else {}
    return {'labels': [] if number else labels, **multi_label, **task}


def task_values(source: Pretrained) -> dict[str, Any]:
    """The inverse of `task_of`: the values in a configuration file for a fine-tuned model."""
    values: dict[str, Any] = {}
    if 'classifier' in source.heads or 'tagger' in source.heads:
        labels = source.labels or ('value',)  # a regression has one output
        values['id2label'] = {str(i): label for i, label in enumerate(labels)}
        values['label2id'] = {label: i for i, label in enumerate(labels)}
    if 'classifier' in source.heads:
        kind = 'single_label_classification' if source.labels else 'regression'
        values['problem_type'] = MULTI_LABEL if source.multi_label else kind
    facts = {'pairs': source.pairs, 'no_answer': source.no_answer or None}
    if facts := {key: value for key, value in facts.items() if value is not None}:
        values[TASK] = facts
    return values


def special_ids(vocabulary: Tokenizer, keys: Iterable[str]) -> dict[str, int]:
    """The ids of special tokens by their keys in config.json, such as pad_token_id. keys: the keys
    that are wanted."""
    ids = vocabulary.specials.by_role()
    others = {'bos': 'cls', 'eos': 'sep'}  # for vocabularies without these roles
    roles = {key: key.removesuffix('_token_id') for key in keys}
    return {key: ids.get(role, ids[others.get(role, role)]) for key, role in roles.items()}


def why_unused(name: str, family: Family, known: Container[str], path: pathlib.Path) -> str:
    """The reason why the tensor `name` is not converted to a parameter.

    known: the names of the tensors that the model may have. Raises ValueError if the tensor belongs
    to a layer that the configuration in `path` does not have.
    """

    def in_layer(number: int) -> str:
        """The name of the tensor of the same kind in another layer."""
        return re.sub(r'(?<=[._])\d+', str(number), name, count=1)

    if in_layer(0) in known:
        layers = next(i for i in itertools.count() if in_layer(i) not in known)
        raise ValueError(
            f'tensor {name} is of a layer that {path} does not have: '
            f'{family.keys["num_hidden_layers"]} is {layers}, and the first layer has the number 0'
        )
    for pattern, reason in UNUSED.items():
        if re.match(pattern, name):
            return reason
    if name.startswith((family.prefix, 'bert/')):
        return 'not a parameter of this encoder'
    return 'of a head that bert_jax does not have or that the configuration does not name'


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
    capitalized, ordinary = vocabulary.capitalized, len(vocabulary.ordinary_ids)
    if lowercase is None and len(capitalized) > CASED * ordinary:
        raise ValueError(
            f'nothing in {directory} says whether text is lowercased, and {len(capitalized)} of '
            f'{ordinary} tokens have upper-case letters, such as {capitalized[0]!r}; give '
            '--nolowercase, or --lowercase'
        )
    if lowercase is None:
        return ('assumed that text is lowercased; give --nolowercase if it is not',)
    warning = '' if lowercase else vocabulary.case_warning()
    return (warning,) if warning else ()

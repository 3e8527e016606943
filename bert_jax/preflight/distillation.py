"""The teacher of the objective 'distill': its folder, its vocabulary and its model."""

import dataclasses
from typing import Any

from bert_jax.config import Config, ModelConfig
from bert_jax.config.console import plural
from bert_jax.config.errors import config_error
from bert_jax.data import model_languages
from bert_jax.data.row_format import format_of
from bert_jax.data.tokenizers.base import Tokenizer
from bert_jax.inference import model_dir
from bert_jax.tasks.distillation import DistillTask
from bert_jax.tasks.pretraining import OBJECTIVES
from bert_jax.tasks.task import Task
from bert_jax.training import teacher
from bert_jax.training.checkpoint import fingerprint
from bert_jax.training.train_step import Step


def check_given(config: Config) -> None:
    """Raises ValueError if the objective needs a teacher and none is given."""
    if config.objective == 'distill' and not config.distill.teacher:
        raise ValueError(
            "config.distill.teacher is missing: the objective 'distill' needs the folder of a "
            'trained model, --config.distill.teacher=DIR'
        )


def check_positions(config: Config, longest: int, whose: str) -> None:
    """Raises ValueError if a phase has rows of more than `longest` tokens. longest: the number of
    positions of a model. whose: the key that names this model, for the message."""
    for i, phase in enumerate(config.train.phases):
        if phase.max_seq_length > longest:
            expected = f'max_seq_length of at most {longest}, the positions of {whose}'
            raise config_error(f'train.phases[{i}]', phase, expected)


def with_teacher(config: Config) -> Config:
    """`config` with the teacher's vocabulary and its size, if config.distill.teacher is set.

    Raises ValueError if the teacher cannot be read, has no vocabulary, other rows or too few
    positions.
    """
    folder = config.distill.teacher
    if config.objective != 'distill' or not folder:
        return config
    source, vocabulary = _read(folder)
    _check_rows(folder, config.model, source.model)
    check_positions(config, source.model.longest_row, 'config.distill.teacher')
    data = dataclasses.replace(config.data, lowercase=vocabulary.lowercase)
    if not data.vocab_file and not data.corpus.startswith('tokens:'):
        data = dataclasses.replace(data, vocab_file=folder)
    size = data.padded(source.model.vocab_size)
    model = dataclasses.replace(config.model, vocab_size=size)
    if model_languages.has_embeddings(model) and not model.languages:
        model = dataclasses.replace(model, languages=source.model.languages)
    return dataclasses.replace(config, data=data, model=model)


def vocab_size(config: Config, vocabulary: Tokenizer, size: int) -> int:
    """The number of the student's token embeddings: `size` or, if larger, the teacher's number.

    Raises ValueError if the teacher has another vocabulary.
    """
    if config.objective != 'distill':
        return size
    source, theirs = _read(config.distill.teacher)
    if problem := theirs.difference(vocabulary):
        raise ValueError(
            f'config.distill.teacher={config.distill.teacher} has another vocabulary than the '
            f'corpus ({problem}). Tokenize the corpus with the vocabulary of the teacher: '
            f'--config.data.vocab_file={config.distill.teacher}'
        )
    return max(size, config.data.padded(source.model.vocab_size))


def _check_rows(folder: str, student: ModelConfig, theirs: ModelConfig) -> None:
    """Raises ValueError if the teacher was trained on rows with other special tokens."""
    # Token types may differ.
    ours, others = (
        dataclasses.replace(format_of(model), types=(), pooled_type=None)
        for model in (student, theirs)
    )
    if ours != others:
        raise ValueError(
            f'config.distill.teacher={folder} is a {theirs.model_type}, whose rows have other '
            f'special tokens than those of config.model.model_type={student.model_type}. Choose a '
            'student of the family of the teacher, with fewer layers'
        )
    both = model_languages.has_embeddings(student) and model_languages.has_embeddings(theirs)
    if both and student.type_vocab_size != theirs.type_vocab_size:
        expected = f'{theirs.type_vocab_size}, the languages of the teacher {folder}'
        raise config_error('model.type_vocab_size', student.type_vocab_size, expected)


def task_of(config: Config, words: int = 0) -> Task:
    """The task of config.objective. words: the number of tokens in the vocabulary; 0: all rows of
    the vocabulary tables are tokens.

    Raises ValueError if the model does not fit the objective or the teacher.
    """
    if config.objective != 'distill':
        return OBJECTIVES[config.objective](config.model)
    found = _model(config) if config.distill.teacher else None
    return DistillTask(config.model, teacher=found, settings=config.distill, words=words)


def _model(config: Config) -> ModelConfig:
    """The teacher's model with the student's dtype and, if possible, attention kernel, without
    dropout."""
    source, ours = _read(config.distill.teacher)[0].model, config.model
    return dataclasses.replace(
        source,
        vocab_size=ours.vocab_size,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layerdrop=0.0,
        dtype=ours.dtype,
        attention='dense' if source.local_attention else ours.attention,
        remat='none',
        scan_unroll=ours.scan_unroll,
    )


def recorded(config: Config) -> dict[str, Any]:
    """The entry of corpus.json about the teacher, so that a run cannot be resumed with another
    teacher."""
    if config.objective != 'distill':
        return {}
    return {'teacher': fingerprint(config.distill.teacher)}


def describe(config: Config, step: Step, folder: str) -> str:
    """Returns a line that names the teacher and says where the student starts. folder: the
    teacher's folder as the user gave it.

    Raises ValueError if the teacher's parameters or config.distill.layers do not fit.
    """
    assert isinstance(step.task, DistillTask)
    model = step.task.teacher_config
    teacher.check(config.distill.teacher, step)
    line = (
        f'{folder}: {model.model_type}, '
        f'{plural(model.num_hidden_layers, "layer")} of {model.hidden_size}'
    )
    if teacher.starts_student(config):
        layers = teacher.chosen_layers(config.model, model, config.distill)
        line += f'; the student starts from teacher layers {", ".join(map(str, layers))}'
    return line


def _read(folder: str) -> tuple[Config, Tokenizer]:
    try:
        source, vocabulary = model_dir.read_config(folder)
    except ValueError as error:
        raise ValueError(f'config.distill.teacher={folder}: {error}') from error
    if vocabulary is None:
        raise ValueError(f'config.distill.teacher={folder} has no vocabulary')
    return source, vocabulary

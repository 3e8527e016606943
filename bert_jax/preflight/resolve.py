"""Chooses the resolver of a configuration: pretraining or fine-tuning."""

import pathlib

from etils import epath

from bert_jax.config import Config
from bert_jax.data.text import staging
from bert_jax.preflight.pretraining import Pretraining
from bert_jax.tasks.task import Task
from bert_jax.training.run import Resolver


def resolve(config: Config, workdir: epath.Path, cache: pathlib.Path | None = None) -> Resolver:
    """The resolver for `config`. cache: the folder of prepared stores, by default that of
    config.data.cache_dir."""
    return _resolver(config)(config, workdir, cache or staging.cache_of(config.data))


def without_data(config: Config) -> tuple[Config, Task]:
    """A configuration and a task with which the training step can be built.

    In pretraining the vocabulary has config.model.vocab_size tokens, and in fine-tuning there are
    two labels. Raises ValueError if fine-tuning cannot read config.init_from.
    """
    return _resolver(config).without_data(config)


def _resolver(config: Config) -> type[Resolver]:
    if config.kind == 'pretraining':
        return Pretraining
    from bert_jax.finetuning.runs import FineTuning  # it imports scikit-learn

    return FineTuning

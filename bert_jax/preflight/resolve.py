"""The two kinds of runs, and how a configuration becomes one of them."""

import pathlib

from etils import epath

from bert_jax.config import Config
from bert_jax.data.text import staging
from bert_jax.preflight import pretraining
from bert_jax.tasks.task import Task
from bert_jax.training.run import Resolver


def resolve(config: Config, workdir: epath.Path, cache: pathlib.Path | None = None) -> Resolver:
    """What `config` asks for, nothing of it resolved yet.

    cache: the folder of prepared stores, if that is not config.data.cache_dir.
    """
    kind: type[Resolver] = pretraining.Pretraining
    if config.data.task != 'pretrain':
        from bert_jax.finetuning import runs  # its scores import scikit-learn

        kind = runs.FineTuning
    return kind(config, workdir, cache or staging.cache_of(config.data))


def without_data(config: Config) -> tuple[Config, Task]:
    """The configuration as its run would have it and the run's task, as far as neither hangs on
    data: enough to build the training step. A model to fine-tune has two labels.

    Raises ValueError if config.init_from can't be read, in fine-tuning.
    """
    if config.data.task != 'pretrain':
        from bert_jax.finetuning import runs

        return runs.without_data(config)
    return pretraining.without_data(config)

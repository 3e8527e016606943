"""The resolver of each kind of run."""

import pathlib

from etils import epath

from bert_jax.config import Config
from bert_jax.data.text import staging
from bert_jax.preflight.pretraining import Pretraining
from bert_jax.training.run import Resolver


def resolve(config: Config, workdir: epath.Path, cache: pathlib.Path | None = None) -> Resolver:
    """The runs of `config`, of which nothing is resolved yet.

    cache: the folder of prepared stores, if it is not that of config.data.cache_dir.
    """
    cache = cache or staging.cache_of(config.data)
    if config.kind == 'pretraining':
        return Pretraining(config, workdir, cache)
    from bert_jax.finetuning.runs import FineTuning  # its scores import scikit-learn

    return FineTuning(config, workdir, cache)

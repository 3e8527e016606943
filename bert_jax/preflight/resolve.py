"""Chooses the resolver of a configuration: pretraining or fine-tuning.

The modules that read data are imported only when they are needed. So `plan` and `benchmark` work
without the libraries of these modules.
"""

import dataclasses
import pathlib
from collections.abc import Collection
from typing import Any

from etils import epath

from bert_jax.config import Config, architecture_fields, keys
from bert_jax.config.console import say
from bert_jax.tasks.pretraining import OBJECTIVES
from bert_jax.tasks.task import Task
from bert_jax.training import run_folders
from bert_jax.training.run import Resolver


def resolve(
    config: Config,
    workdir: epath.Path,
    cache: pathlib.Path | None = None,
    given: Config | None = None,
) -> Resolver:
    """The resolver for `config`. cache: the folder of prepared stores, by default that of
    config.data.cache_dir. given: see `Run`."""
    from bert_jax.data.text import staging

    kind: type[Resolver]
    if config.kind == 'pretraining':
        from bert_jax.preflight.pretraining import Pretraining as kind
    else:
        from bert_jax.finetuning.runs import FineTuning as kind
    return kind(config, workdir, cache or staging.cache_of(config.data), given)


def with_converted_start(
    config: Config, workdir: epath.Path | None = None, cache: pathlib.Path | None = None
) -> Config:
    """The configuration with folders of bert_jax as init_from, init_decoder_from and
    distill.teacher. A checkpoint of another project is converted into `cache`, unless the cache of
    config.data.cache_dir, which is the default of `cache`, has it already.

    If all runs in `workdir` have begun and init_from or init_decoder_from cannot be read any more,
    init_from is the folder of the first run, which has the same architecture and vocabulary.
    """
    if not (config.init_from or config.init_decoder_from or config.distill.teacher):
        return config
    from bert_jax.convert import cached  # takes a second, and most runs do not need it
    from bert_jax.data.text import staging
    from bert_jax.preflight import paths

    usual = staging.cache_of(config.data)
    lowercase = None if config.data.lowercase else False  # True is the default, too

    def converted(folder: str) -> str:
        return cached.model_folder(folder, cache or usual, lowercase, usual) if folder else ''

    distill = dataclasses.replace(config.distill, teacher=converted(config.distill.teacher))
    config = dataclasses.replace(config, distill=distill)
    starts = dict[str, Any]()
    for key in paths.STARTS:
        folder = getattr(config, key)
        try:
            starts[key] = converted(folder)
            if problem := paths.problem_of(starts[key]):
                raise ValueError(f'config.{key}={folder} {problem}')
        except ValueError as error:
            # The workdir may be behind a URL, so it is read only if there is a problem.
            if workdir is None or run_folders.not_begun(config, workdir):
                raise
            say(f'{error}. The run continues and does not need it')
            own = str(run_folders.of_runs(config, workdir)[0])
            return dataclasses.replace(config, init_from=own, init_decoder_from='')
    return dataclasses.replace(config, **starts)


def refuse_replaced(config: Config, resolved: Config, typed: Collection[str]) -> None:
    """Raises ValueError if config.init_from has replaced a value of the command line.

    resolved: the configuration of the run. typed: the keys that the command line sets. A default
    value that the command line does not set is replaced without an error.
    """
    of_checkpoint = {f'model.{name}' for name in architecture_fields() if name != 'vocab_size'}
    for key in typed if config.init_from else ():
        given, used = keys.get(config, key), keys.get(resolved, key)
        if key in of_checkpoint | {'data.lowercase'} and given != used:
            raise ValueError(
                f'config.{key} is {given!r}, but config.init_from has {used!r}; remove the key'
            )


def without_data(config: Config, typed: Collection[str] = ()) -> tuple[Config, Task]:
    """A configuration and a task with which the training step can be built.

    In pretraining the vocabulary has config.model.vocab_size tokens, and in fine-tuning there are
    two labels. typed: see `refuse_replaced`. Raises ValueError if config.init_from or
    config.distill.teacher cannot be read.
    """
    resolved, task = _without_data(with_converted_start(config))
    refuse_replaced(config, resolved, typed)
    return resolved, task


def _without_data(config: Config) -> tuple[Config, Task]:
    if config.kind == 'finetuning':
        from bert_jax.finetuning.runs import FineTuning

        return FineTuning.without_data(config)
    if config.init_from or config.distill.teacher:
        from bert_jax.preflight.init_from import start_from

        config = start_from(config)
    config = config.padded()
    if config.objective == 'distill':
        from bert_jax.preflight import distillation

        return config, distillation.task_of(config)
    return config, OBJECTIVES[config.objective](config.model)

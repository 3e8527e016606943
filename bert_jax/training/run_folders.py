"""The folders of the runs of a command, one for each task and each seed, and their saved steps.

This module does not import JAX, so that the paths of a configuration are checked at once.
"""

from etils import epath

from bert_jax.config import Config, DataConfig
from bert_jax.config.files import is_remote


def absolute(path: epath.PathLike) -> epath.Path:
    """The absolute path that Orbax needs. `resolve` would put gs:// under the current folder."""
    path = epath.Path(path)
    return path if is_remote(path) else path.expanduser().resolve()


def saved_steps(workdir: epath.PathLike) -> list[int]:
    """The steps of the workdir's checkpoints, ascending; empty if there is no workdir."""
    directory = absolute(workdir) / 'checkpoints'
    names = [path.name for path in directory.iterdir()] if directory.exists() else []
    return sorted(int(name) for name in names if name.isdigit())


def of_tasks(data: DataConfig, workdir: epath.Path) -> dict[str, epath.Path]:
    """The folder of each task."""
    return {name: workdir / name if len(data.tasks) > 1 else workdir for name in data.tasks}


def of_seeds(config: Config, folder: epath.Path) -> dict[int, epath.Path]:
    """The folder of the run of each seed of a task. folder: that of the task."""
    first, count = config.train.seed, config.train.seeds
    seeds = range(first, first + count)
    return {seed: folder / f'seed_{seed}' if count > 1 else folder for seed in seeds}


def of_runs(config: Config, workdir: epath.Path) -> list[epath.Path]:
    """The folders of all runs, of pretraining or fine-tuning, in order."""
    if config.kind == 'pretraining':
        return [workdir]
    tasks = of_tasks(config.data, workdir).values()
    return [path for folder in tasks for path in of_seeds(config, folder).values()]


def not_begun(config: Config, workdir: epath.Path) -> list[epath.Path]:
    """The folders of the runs that have no checkpoint yet, so that they need config.init_from."""
    return [path for path in of_runs(config, workdir) if not saved_steps(path)]


def is_run(folder: str, config: Config, workdir: epath.Path) -> bool:
    """Returns whether `folder`, which is config.init_from, is the folder of one of the runs. It is
    so if the checkpoint that the runs began from is gone; see
    `preflight.resolve.with_converted_start`."""
    return folder in map(str, of_runs(config, workdir))

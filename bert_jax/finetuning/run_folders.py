"""The folders of the runs of a command: one for each task and each seed."""

from etils import epath

from bert_jax.config import Config, DataConfig
from bert_jax.data.labelled.glue_tasks import TASKS

GLUE = tuple(name for name in TASKS if name != 'ax')  # ax has no training set


def task_names(data: DataConfig) -> list[str]:
    """The names in config.data.task, which may not be those of tasks."""
    return list(GLUE) if data.task == 'all' else data.task.split(',')


def of_tasks(data: DataConfig, workdir: epath.Path) -> dict[str, epath.Path]:
    """The folder of each task."""
    names = task_names(data)
    return {name: workdir / name if len(names) > 1 else workdir for name in names}


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


def begun(config: Config, workdir: epath.Path) -> dict[epath.Path, bool]:
    """The folder of each run, and whether the run has saved a checkpoint, so that it does not need
    config.init_from any more."""
    return {path: _has_checkpoint(path) for path in of_runs(config, workdir)}


def is_run(folder: str, config: Config, workdir: epath.Path) -> bool:
    """Returns whether `folder`, which is config.init_from, is the folder of one of the runs. It is
    so if the checkpoint that the runs began from is gone; see
    `preflight.resolve.with_converted_start`."""
    return folder in map(str, of_runs(config, workdir))


def _has_checkpoint(folder: epath.Path) -> bool:
    return any(path.name.isdigit() for path in (folder / 'checkpoints').glob('*'))

"""A run of the training loop: its parts, and how they are resolved from a configuration."""

import abc
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
from etils import epath

from bert_jax.config import Config
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.parallel import sharding
from bert_jax.tasks.task import Task
from bert_jax.training import optimizer
from bert_jax.training.loop import EvalBatches, TrainBatches, train
from bert_jax.training.metrics import log_lines
from bert_jax.training.train_step import TrainState, abstract_state
from bert_jax.training.workdir import claim, same_on_all_hosts

Value = TypeVar('Value')


class NotKnown(Exception):
    """A part of a run can't be resolved, because of a mistake that was reported before."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One call of the training loop.

    config: as the run has it, with the vocabulary's size, the steps and the warm-up settled.
    data_info: the content of corpus.json: the `name` and the `fingerprint` of the data ('' if it is
    not known yet), and what predictions need. vocabulary: the content of its files by name.
    batches, eval_set: see `training.loop.train`. start_lines: what the log says first.
    """

    config: Config
    task: Task
    workdir: epath.Path
    data_info: Mapping[str, Any]
    vocabulary: Mapping[str, bytes]
    batches: TrainBatches
    eval_set: EvalBatches
    start_lines: Callable[[], dict[str, str]]

    def train(self) -> TrainState:
        """Claims the workdir and trains. Raises as `claim` and `training.loop.train` do."""
        same_on_all_hosts(self.data_info['fingerprint'])
        claim(self.workdir, self.config, self.data_info, self.vocabulary)
        log_lines(self.start_lines())
        return train(self.config, self.task, self.batches, self.eval_set, self.workdir)


def part(resolve: Callable[[Any], Value]) -> functools.cached_property[Value]:
    """A property that is resolved once, when it is first needed.

    After resolving it has raised an error, the property raises NotKnown, so that each mistake is
    reported once.
    """
    name = resolve.__name__

    def resolved(resolver: 'Resolver') -> Value:
        if name in resolver.failed:
            raise NotKnown(f'{name.replace("_", " ")} is not known until that is fixed')
        try:
            return resolve(resolver)
        except NotKnown:
            raise
        except Exception:
            resolver.failed.add(name)
            raise

    return functools.cached_property(resolved)


class Resolver(abc.ABC):
    """What a configuration asks for: one run or several, resolved part by part.

    To resolve a part writes nothing, except that small files behind a URL are copied to
    config.data.cache_dir. `run` alone prepares data and trains.
    """

    def __init__(self, config: Config, workdir: epath.Path, cache: pathlib.Path):
        """cache: the folder of prepared stores."""
        self.config, self.workdir, self.cache = config, workdir, cache
        self.failed = set[str]()

    @part
    def mesh(self) -> jax.sharding.Mesh:
        mesh = sharding.make_mesh(self.config.mesh)
        sharding.host_slice(mesh)
        return mesh

    @property
    @abc.abstractmethod
    def vocabulary(self) -> Tokenizer | None:
        """The vocabulary, or None if it is still to be trained."""

    @property
    @abc.abstractmethod
    def run_config(self) -> Config:
        """The configuration as the run, or the first of several runs, has it."""

    @property
    def unsettled(self) -> tuple[str, ...]:
        """Keys of run_config whose values are not known yet."""
        return ()

    @property
    @abc.abstractmethod
    def task(self) -> Task:
        """The task of the run, or of the first of several."""

    @part
    def state(self) -> TrainState:
        """The training state in shapes. Raises ValueError if the model does not fit the mesh."""
        return abstract_state(self.task, optimizer.make_optimizer(self.run_config), self.mesh)

    @part
    def batches(self) -> list[tuple[int, int]]:
        """The sequences of each kind of batch, and how many a device works on at once. Raises
        ValueError if the mesh does not divide one of them."""
        parts, accum = sharding.batch_parts(self.mesh), self.config.train.accum_steps
        sizes = {key: (rows, parts * accum) for key, rows in self.batch_sizes().items()}
        if self.config.eval.batch_size:
            sizes['eval.batch_size'] = self.config.eval.batch_size, parts
        wrong = [
            f'config.{key}: {rows} is not a multiple of {divisor}'
            for key, (rows, divisor) in sizes.items()
            if rows % divisor
        ]
        if wrong:
            raise ValueError(
                f'{"; ".join(wrong)}. The mesh divides a batch by {parts}, and '
                f'config.train.accum_steps divides one of training by {accum} more'
            )
        return [(rows, rows // divisor) for rows, divisor in sizes.values()]

    @abc.abstractmethod
    def batch_sizes(self) -> dict[str, int]:
        """The sequences of each training batch, by the key that sets them."""

    @abc.abstractmethod
    def describe_vocabulary(self) -> str:
        """A line on the vocabulary. Raises ValueError if it can't be used."""

    @abc.abstractmethod
    def describe_data(self) -> str:
        """A line on the data. Raises ValueError if they can't be used, as far as can be seen
        quickly."""

    def bytes_to_cache(self) -> int | None:
        """What the run will write to the cache. None if that can't be told."""
        return 0

    @abc.abstractmethod
    def runs(self) -> list[Run]:
        """All runs, in order. Data that still have to be prepared have no fingerprint."""

    @abc.abstractmethod
    def run(self) -> None:
        """Prepares the data and trains."""

    def known(self, name: str) -> Any:
        """The part `name`, or None if a mistake that was reported before leaves it unknown."""
        try:
            return getattr(self, name)
        except NotKnown:
            return None

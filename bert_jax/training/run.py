"""A run of the training loop, and the interface that makes runs from a configuration."""

import abc
import contextlib
import dataclasses
import functools
import logging
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import jax
from etils import epath

from bert_jax.config import Config, ModelConfig
from bert_jax.config.console import plural, wrapped
from bert_jax.config.model import RATES
from bert_jax.parallel.mesh import batch_parts, host_slice, make_mesh
from bert_jax.parallel.signals import Stopper
from bert_jax.tasks.task import Task
from bert_jax.training import running
from bert_jax.training.checkpoint import fingerprint
from bert_jax.training.end_report import EndReport
from bert_jax.training.examples import Examples
from bert_jax.training.initialization import NewTokens
from bert_jax.training.loop import train
from bert_jax.training.stages import EvalSets, TrainBatches
from bert_jax.training.train_step import Step, TrainState, shared_step
from bert_jax.training.workdir import claim, same_on_all_hosts

LOG = logging.getLogger('bert_jax.training.run')
Value = TypeVar('Value')


@dataclasses.dataclass(frozen=True)
class Run:
    """One call of the training loop.

    config: the configuration with the final vocabulary size, steps and warm-up. data_info: the
    content of corpus.json: the `name` and the `fingerprint` of the data ('' if they are not
    prepared yet), and facts for predictions. vocabulary: the content of its files by name. batches,
    eval_set, new_tokens: see `training.loop.train`. start_lines: lines about the data for the log,
    by name. examples: makes the lines with masked words that pretraining shows. given: the
    configuration as the user gave it; its init_from and distill.teacher are recorded, because those
    of `config` may be converted copies in the cache.
    """

    config: Config
    task: Task
    workdir: epath.Path
    data_info: Mapping[str, Any]
    vocabulary: Mapping[str, bytes]
    batches: TrainBatches
    eval_set: EvalSets
    start_lines: Mapping[str, str]
    given: Config
    examples: Callable[[Step], Examples | None] = lambda _: None
    new_tokens: NewTokens = dataclasses.field(default_factory=dict)

    def train(self, stopper: Stopper | None = None) -> TrainState:
        """Claims the workdir and trains. Raises as `claim` and `training.loop.train` do."""
        same_on_all_hosts(self.data_info['fingerprint'])
        with running.alone_in(self.workdir):
            claim(self.workdir, *self.recorded, self.vocabulary)
            return self._train(stopper)

    @functools.cached_property
    def recorded(self) -> tuple[Config, Mapping[str, Any]]:
        """The configuration and the content of corpus.json, as the workdir records them."""
        start = ''
        with contextlib.suppress(ValueError, OSError):  # a run that continues does not need them
            start = fingerprint(self.config.init_from) if self.config.init_from else ''
        return as_given(self.config, self.given), {**self.data_info, 'start': start}

    def _train(self, stopper: Stopper | None) -> TrainState:
        config = self.config
        step = shared_step(config, self.task, make_mesh(config.mesh))
        leaves = jax.tree.leaves(step.abstract.params)
        lines = {
            'workdir': str(self.workdir),
            'devices': describe_devices(),
            'parameters': f'{sum(leaf.size for leaf in leaves):,}',
            **({'dropout': describe_rates(config.model)} if config.init_from else {}),
            **self.start_lines,
            'phases': _describe_phases(config, self.task),
        }
        for name, line in lines.items():
            LOG.info('%s', wrapped(f'{name:<12} {line}', indent=13))
        loop = functools.partial(
            train, config, self.task, self.batches, self.eval_set, self.workdir, stopper
        )
        if config.kind == 'finetuning':
            return loop()
        baselines = self.data_info.get('baselines', {})
        report = EndReport(config, self.workdir, baselines, self.examples(step))
        state = loop(report.after_evaluation, self.new_tokens)
        report.print()
        return state


def as_given(config: Config, given: Config) -> Config:
    """Returns `config` with the folders of other models as the user gave them; see `Run`."""
    distill = dataclasses.replace(config.distill, teacher=given.distill.teacher)
    decoder = given.init_decoder_from
    return dataclasses.replace(
        config, init_from=given.init_from, init_decoder_from=decoder, distill=distill
    )


def without_start(config: Config) -> Config:
    """Returns `config` for a run that continues and reads no parameters of another model."""
    return dataclasses.replace(config, init_from='', init_decoder_from='')


def describe_rates(model: ModelConfig) -> str:
    """Returns a text with the dropout rates of a model that starts from a checkpoint."""
    rates = [f'{name} {getattr(model, name):g}' for name in RATES]
    return f'{", ".join(rates)}; those of init_from, unless they are set'


def describe_devices() -> str:
    devices, processes = jax.devices(), jax.process_count()
    kind = devices[0].device_kind
    return f'{len(devices)} x {kind}, {plural(processes, "process", "processes")}'


def _describe_phases(config: Config, task: Task) -> str:
    text = '; '.join(
        f'{plural(phase.steps, "step")} of {phase.batch_size} x {phase.max_seq_length} tokens'
        for phase in config.train.phases
    )
    if config.num_steps < config.schedule_steps:
        text += (
            f'. The run ends after {config.num_steps:,} of {config.schedule_steps:,} steps; the '
            'learning rate will not have decayed'
        )
        if config.num_steps <= config.optim.warmup_steps:
            text += (
                f' and is still rising, because config.optim.warmup_steps is '
                f'{config.optim.warmup_steps:,}; make the phases shorter instead '
                '(config.train.phases)'
            )
    if config.kind == 'finetuning' and len(lengths := task.lengths(config.train.phases[0])) > 1:
        *short, longest = lengths
        text += (
            f'. Batches have {", ".join(map(str, short))} or {longest} tokens, so that they need '
            'little padding; a training step and an evaluation are compiled for each length'
        )
    return text


class UnknownValue(Exception):
    """Raised if a part of a run depends on another part whose error was already reported."""


def part(resolve: Callable[[Any], Value]) -> functools.cached_property[Value]:
    """A property of a Resolver, which calls `resolve` when it is first needed and keeps the result.

    If `resolve` raises an error, later uses of the property raise UnknownValue, so that the error
    is reported only once.
    """
    name = resolve.__name__

    def resolved(resolver: 'Resolver') -> Value:
        if name in resolver.failed:
            raise UnknownValue(
                f'{name.replace("_", " ")}: not known until the mistake is corrected'
            )
        try:
            return resolve(resolver)
        except UnknownValue:
            raise
        except Exception:
            resolver.failed.add(name)
            raise

    return functools.cached_property(resolved)


class Resolver(abc.ABC):
    """Makes the runs of a configuration, part by part: the mesh, the training step, the data, ...

    The parts write nothing, except for copies of small files behind URLs in config.data.cache_dir.
    Only `run` prepares data and trains.
    """

    run_config: Config  # the configuration of the first run, see `Run`
    task: Task  # the task of the first run
    start_over = False  # whether the run that is in the workdir is kept under another name
    typed: Collection[str] = ()  # the keys of the configuration that the command line sets

    def __init__(
        self,
        config: Config,
        workdir: epath.Path,
        cache: pathlib.Path,
        given: Config | None = None,
    ):
        """cache: the folder of prepared stores. given: see `Run`."""
        self.config, self.workdir, self.cache = config, workdir, cache
        self.given = given or config
        self.failed = set[str]()

    @part
    def mesh(self) -> jax.sharding.Mesh:
        mesh = make_mesh(self.config.mesh)
        host_slice(mesh)
        return mesh

    @part
    def step(self) -> Step:
        """The training step. Raises ValueError if the model does not fit the mesh."""
        return shared_step(self.run_config, self.task, self.mesh)

    @part
    def batches(self) -> list[tuple[int, int]]:
        """For each kind of batch: (sequences in the batch, sequences per device and micro-batch).

        Raises ValueError if a batch does not divide over the mesh.
        """
        parts, accum = batch_parts(self.mesh), self.config.train.accum_steps
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
                f'config.train.accum_steps divides a training batch by {accum} in addition'
            )
        return [(rows, rows // divisor) for rows, divisor in sizes.values()]

    @abc.abstractmethod
    def batch_sizes(self) -> dict[str, int]:
        """The number of sequences of each training batch, by the key that sets it."""

    @abc.abstractmethod
    def describe_vocabulary(self) -> str:
        """A line about the vocabulary. Raises ValueError if it cannot be used."""

    @abc.abstractmethod
    def describe_data(self) -> str:
        """A line about the data. Raises ValueError if a quick look shows that it cannot be used."""

    def describe_teacher(self) -> str:
        """A line about the teacher; '' if the run has none. Raises ValueError if it does not
        fit."""
        return ''

    def bytes_to_cache(self) -> int | None:
        """The number of bytes that the run will write to the cache; None if this is not known."""
        return 0

    @abc.abstractmethod
    def runs(self) -> list[Run]:
        """All runs, in order."""

    @abc.abstractmethod
    def run(self) -> None:
        """Prepares the data and trains."""

    def known(self, name: str) -> Any:
        """The part `name`, or None if it is unknown because of a mistake that was reported."""
        try:
            return getattr(self, name)
        except UnknownValue:
            return None

"""Fine-tuning: a run of the training loop for each task and seed, and a table of their scores."""

import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

import jax
from etils import epath

from bert_jax.batch import HostBatch
from bert_jax.config import Config
from bert_jax.config.console import plural
from bert_jax.data.labelled.rows import EncodedExamples, SequentialBatches, ShuffledBatches
from bert_jax.data.tokenizers import tokenizer
from bert_jax.data.tokenizers.byte_bpe import single_bytes
from bert_jax.finetuning import (
    baseline,
    class_report,
    official_scores,
    results,
    settings,
    translation,
)
from bert_jax.finetuning.baseline import Baseline
from bert_jax.finetuning.classification import ClassificationProcessor
from bert_jax.finetuning.datasets import KINDS, check_files, load_task_data
from bert_jax.finetuning.task_data import EVAL, Predictions, Processor, Split, TaskData, TaskFacts
from bert_jax.parallel.mesh import host_slice, make_mesh
from bert_jax.parallel.signals import Stopper
from bert_jax.tasks.finetuning import HeadTask
from bert_jax.tasks.task import Task
from bert_jax.training import early_stopping, run_folders
from bert_jax.training.checkpoint import load_params
from bert_jax.training.loop import predict
from bert_jax.training.run import Resolver, Run, as_given, part, without_start

official_scores.check_installed()  # so that a run fails before training, not at an evaluation
LOG = logging.getLogger('bert_jax.finetuning.runs')


class FineTuning(Resolver):
    """A run for each task of config.data.task and each of config.train.seeds seeds.

    If there are several tasks or several seeds, each has a folder in the workdir. Complete runs are
    not repeated.
    """

    @staticmethod
    def without_data(config: Config) -> tuple[Config, HeadTask]:
        """A configuration and a task that suffice to build the training step."""
        if config.init_from:
            config, _ = settings.start_from(config)
        if config.data.task == 'translate':  # the ids may be those of any tokens
            task = translation.task_of(config, 0, 1, 0, config.model.vocab_size)
            return settings.one_step(config), task
        kind = KINDS.get(config.data.task, ClassificationProcessor)
        processor = kind(config, single_bytes(), TaskFacts(('0', '1')))  # any two labels
        return settings.one_step(config), processor.task

    @part
    def folders(self) -> dict[str, epath.Path]:
        """The workdir of each task."""
        check_files(self.config.data)
        return run_folders.of_tasks(self.config.data, self.workdir)

    @part
    def start(self) -> tuple[Config, tokenizer.Tokenizer]:
        return settings.start_from(self.config)

    @part
    def datasets(self) -> dict[str, TaskData]:
        config, vocabulary = self.start
        return {name: load_task_data(name, config, vocabulary) for name in self.folders}

    @part
    def configs(self) -> dict[str, Config]:
        """The configuration of each task's runs, except for their seeds."""
        config, _ = self.start
        configs = {}
        for name, data in self.datasets.items():
            named = dataclasses.replace(config.data, task=name)
            configs[name] = settings.with_steps(dataclasses.replace(config, data=named), data)
        return configs

    @part
    def baselines(self) -> dict[str, Baseline]:
        return {name: baseline.of(data) for name, data in self.datasets.items()}

    @part
    def run_config(self) -> Config:
        return next(iter(self.configs.values()))

    @part
    def task(self) -> Task:
        return next(iter(self.datasets.values())).processor.task

    def batch_sizes(self) -> dict[str, int]:
        return {'train.batch_size': self.config.train.batch_size}

    def describe_vocabulary(self) -> str:
        return f'{self.start[1].vocab_size:,} tokens'

    def describe_data(self) -> str:
        if (datasets := self.known('datasets')) is None:
            # To check that the files can be read, a vocabulary of single bytes is enough. No text
            # is unknown to it; what it counts about tokens would be wrong.
            vocabulary = single_bytes()
            read = {name: load_task_data(name, self.config, vocabulary) for name in self.folders}
            return '; '.join(f'{name}: {data.rows}' for name, data in read.items())
        described = []
        for name, data in datasets.items():
            lines = _describe(name, data) | {'baseline': str(self.baselines[name])}
            task, rows = lines.pop('task'), lines.pop('data')
            described += [f'{task}: {rows}', *(f'{key} {line}' for key, line in lines.items())]
        return '; '.join(described)

    def runs(self) -> list[Run]:
        return [run for runs in self._runs().values() for run in runs]

    def run(self) -> None:
        runs, scores = self._runs(), dict[str, list[dict[str, float]]]()
        is_first = jax.process_index() == 0
        with Stopper() as stopper:  # one for all runs: after a signal the next run does not start
            for name, data in self.datasets.items():
                scores[name] = [_train_and_score(run, data, stopper) for run in runs[name]]
                if is_first:
                    folder, config = self.folders[name], self.configs[name]
                    baseline = self.baselines[name]
                    results.write(folder, config, data.processor, scores[name], baseline)
        if len(scores) > 1 and is_first:
            results.write_table(self.workdir, scores)

    def _runs(self) -> dict[str, list[Run]]:
        """The runs of each task, one for each seed."""
        runs = dict[str, list[Run]]()
        for name, config in self.configs.items():
            folder = self.folders[name]
            settings.check_seeds(as_given(config, self.given), folder)
            if run_folders.is_run(config.init_from, self.given, self.workdir):
                config = without_start(config)
            runs[name] = [
                self._run(name, seeded, path) for seeded, path in settings.seeds(config, folder)
            ]
        return runs

    def _run(self, name: str, config: Config, workdir: epath.Path) -> Run:
        """The run of the task `name` with the seed in `config`."""
        data, baseline, train = self.datasets[name], self.baselines[name], config.train
        files = (name, config.data.dir, config.data.train_file, config.data.eval_file)
        numbers = [len(data.files.get(key, ())) for key in ('train_file', 'eval_file')]
        count = f' ({plural(sum(numbers), "file")})' if data.files else ''
        vocabulary, task = self.start[1], data.processor.task
        info = {
            'name': ', '.join(filter(None, files)) + count,
            **({'files': dict(data.files)} if data.files else {}),
            'fingerprint': data.train.fingerprint() + data.eval.rows.fingerprint(),
            'lowercase': vocabulary.lowercase,
            **dataclasses.asdict(data.processor.facts),
            'baseline': dataclasses.asdict(baseline),
        }
        lengths, by_length = task.lengths(train.phases[0]), config.data.group_by_length
        stream = ShuffledBatches(data.train, lengths, train.batch_size, config.data.seed, by_length)
        lines = _describe(name, data) | {'baseline': str(baseline)}
        if train.seeds > 1:
            lines['seed'] = f'{train.seed}, one of {train.seeds}'
        return Run(
            config,
            task,
            workdir,
            info,
            vocabulary.files,
            batches=lambda start, stop: stream.batches(start, stop, *_host_slice(config)),
            eval_set=lambda phase: HeldOutExamples(config, data, workdir),
            start_lines=lines,
            given=self.given,
        )


class HeldOutExamples:
    """This host's slices of the held-out rows, the shortest first, and their scores."""

    def __init__(self, config: Config, data: TaskData, workdir: epath.Path):
        self._config, self._data, self._workdir = config, data, workdir
        self.main_score = data.processor.main_score

    def __iter__(self) -> Iterator[HostBatch]:
        return _eval_batches(self._config, self._data.processor.task, self._data.eval.rows)

    def score(self, predictions: Predictions) -> dict[str, float]:
        return _write_and_score(self._data.processor, self._data.eval, predictions, self._workdir)


def _describe(name: str, data: TaskData) -> dict[str, str]:
    """The lines that a run prints about the data of a task: labels, rows, columns and counts."""
    labels, columns = data.processor.facts.labels, next(iter(data.summary.columns.values()), '')
    if labels:
        more = ' ...' * (len(labels) > 20)
        name += f', {plural(len(labels), "label")}: {", ".join(labels[:20])}{more}'
    lines = {'task': name, 'data': data.rows, 'columns': columns, 'counted': str(data.summary)}
    return {key: line for key, line in lines.items() if line}


def _eval_batches(config: Config, task: HeadTask, examples: EncodedExamples) -> Iterator[HostBatch]:
    batch_size = config.eval.batch_size or config.train.batch_size
    shapes = dict.fromkeys(task.lengths(config.train.phases[0]), (batch_size,))
    return iter(SequentialBatches(examples, shapes, *_host_slice(config)))


def _host_slice(config: Config) -> tuple[int, int]:
    return host_slice(make_mesh(config.mesh))


def _train_and_score(run: Run, data: TaskData, stopper: Stopper) -> dict[str, float]:
    """Trains and returns the scores of the last or best evaluation and of the test files."""
    state = run.train(stopper)
    tested = _predict(run, data, state.params, stopper)
    evals = early_stopping.evaluations(run.workdir, int(state.step))
    best = max(evals, key=lambda line: early_stopping.rank(data.processor.main_score, line))
    kept = best if run.config.train.best else evals[-1]
    scores = {
        name: value
        for name, value in kept.items()
        if isinstance(value, int | float) and name != 'padding_fraction'
    }
    return {'seed': run.config.train.seed} | scores | tested


def _predict(run: Run, data: TaskData, params: Any, stopper: Stopper) -> dict[str, float]:
    """Writes the predictions for the test files, and returns the scores of those with labels.

    With config.train.best, the parameters are those of the best evaluation, and the predictions for
    the held-out file and the scores of its classes are written again, because the last evaluation
    wrote its own.
    """
    splits, scores = list(data.tests), dict[str, float]()
    processor = data.processor
    if run.config.train.best and (processor.writes_eval or processor.has_classes):
        splits.append(data.eval)
    if run.config.train.best and splits:
        params = load_params(run.workdir, params)
    for split in splits:
        rows = stopper.until_stopped(_eval_batches(run.config, processor.task, split.rows))
        predictions = predict(run.config, run.task, params, rows)
        recorded = _write_and_score(processor, split, predictions, run.workdir)
        if split is not data.eval:
            scores |= {f'{split.name}_{key}': value for key, value in recorded.items()}
        if split.name != EVAL or processor.writes_eval:
            LOG.info('wrote predictions for %s of %s', plural(len(split.rows), 'row'), split.name)
    return scores


def _write_and_score(
    processor: Processor, split: Split, predictions: Predictions, workdir: epath.Path
) -> dict[str, float]:
    """Writes the predictions and returns their scores, {} if the examples have no labels."""
    decoded = processor.decode(split, predictions)
    if (processor.writes_eval or split.name != EVAL) and jax.process_index() == 0:
        processor.write(split, decoded, workdir)
    if split.name == EVAL and processor.has_classes and jax.process_index() == 0:
        class_report.write(workdir, processor.report(split, decoded) or {})
    return processor.score(split, decoded) if split.is_scored else {}

"""Fine-tuning: a run of the training loop for each task and seed, and a table of their scores."""

import dataclasses
import json
import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from etils import epath

from bert_jax.batch import HostBatch
from bert_jax.config import Config, ModelConfig, Phase, validate
from bert_jax.data.labelled.rows import EncodedExamples, SequentialBatches, ShuffledBatches
from bert_jax.data.text import staging
from bert_jax.data.tokenizers import tokenizer
from bert_jax.finetuning import results
from bert_jax.finetuning.datasets import load_task_data, task_names
from bert_jax.finetuning.task_data import EVAL, Predictions, Processor, Split, TaskData
from bert_jax.inference import model_dir
from bert_jax.parallel import sharding
from bert_jax.tasks.classification import ClassificationTask
from bert_jax.tasks.head import HeadTask
from bert_jax.tasks.question_answering import QuestionAnsweringTask
from bert_jax.tasks.tagging import TaggingTask
from bert_jax.training.checkpoint import load_params
from bert_jax.training.loop import predict
from bert_jax.training.run import Resolver, Run, part

LOG = logging.getLogger('bert_jax.finetuning.runs')
# Fields that a checkpoint decides. All other fields of the model are the run's own.
ARCHITECTURE = (
    'vocab_size',
    'hidden_size',
    'num_hidden_layers',
    'num_attention_heads',
    'intermediate_size',
    'hidden_act',
    'max_position_embeddings',
    'type_vocab_size',
    'initializer_range',
    'layer_norm_eps',
)


class FineTuning(Resolver):
    """A run for each task of config.data.task and each of config.train.seeds seeds.

    Several tasks, and several seeds of a task, have a folder each. Runs that are complete are not
    repeated.
    """

    @part
    def folders(self) -> dict[str, epath.Path]:
        """The workdir of each task."""
        names = task_names(self.config.data)
        return {name: self.workdir / name if len(names) > 1 else self.workdir for name in names}

    @part
    def start(self) -> tuple[Config, tokenizer.Tokenizer]:
        return start_from(self.config)

    @property
    def vocabulary(self) -> tokenizer.Tokenizer:
        return self.start[1]

    @part
    def datasets(self) -> dict[str, TaskData]:
        return self._read(*self.start)

    @part
    def run_config(self) -> Config:
        return self._with_steps(next(iter(self.folders)))

    @part
    def task(self) -> HeadTask:
        return next(iter(self.datasets.values())).processor.task

    def batch_sizes(self) -> dict[str, int]:
        return {'train.batch_size': self.config.train.batch_size}

    def describe_vocabulary(self) -> str:
        return f'{self.vocabulary.vocab_size:,} tokens'

    def describe_data(self) -> str:
        # Any vocabulary shows whether the files can be read.
        any_vocabulary = tokenizer.wordpiece([*tokenizer.SPECIALS], True)
        datasets = self.known('datasets') or self._read(self.config, any_vocabulary)
        return '; '.join(
            f'{name}: {len(data.train):,} rows to train on, {len(data.eval.rows):,} held out, '
            f'counted: {str(data.summary) or "nothing odd"}'
            for name, data in datasets.items()
        )

    def runs(self) -> list[Run]:
        return [run for name in self.folders for run in self._runs_of(name)]

    def run(self) -> None:
        scores: dict[str, list[dict[str, float]]] = {}
        for name, runs in {name: self._runs_of(name) for name in self.folders}.items():
            data = self.datasets[name]
            scores[name] = [
                {'seed': run.config.train.seed} | _train_and_score(run, data) for run in runs
            ]
            if jax.process_index() == 0:
                results.write(self.folders[name], name, data.processor.main_score, scores[name])
        if len(scores) > 1 and jax.process_index() == 0:
            results.write_table(self.workdir, scores)

    def _read(self, config: Config, vocabulary: tokenizer.Tokenizer) -> dict[str, TaskData]:
        return {
            name: load_task_data(name, _named(config, name), vocabulary) for name in self.folders
        }

    def _with_steps(self, name: str) -> Config:
        return with_steps(_named(self.start[0], name), self.datasets[name])

    def _runs_of(self, name: str) -> list[Run]:
        """A task's runs, one for each seed."""
        config, data, workdir = self._with_steps(name), self.datasets[name], self.folders[name]
        _check_seeds(config, workdir)
        files = (config.data.task, config.data.dir, config.data.train_file, config.data.eval_file)
        info = {
            'name': ', '.join(filter(None, files)),
            'fingerprint': data.train.fingerprint() + data.eval.rows.fingerprint(),
            'lowercase': self.vocabulary.lowercase,
            **dataclasses.asdict(data.processor.facts),
        }
        return [
            _run(seeded, folder, data, info, self.vocabulary)
            for seeded, folder in seeds(config, workdir)
        ]


def without_data(config: Config) -> tuple[Config, HeadTask]:
    """The configuration of a run of one step, and its task with two labels."""
    if config.init_from:
        config, _ = start_from(config)
    heads = {'squad': QuestionAnsweringTask, 'ner': TaggingTask}
    task = heads.get(config.data.task, ClassificationTask)(config.model, 2)
    return _one_step(config), task


def start_from(config: Config) -> tuple[Config, tokenizer.Tokenizer]:
    """The configuration with the architecture of init_from, and the vocabulary of init_from.

    Without init_from, the vocabulary is that of config.data.vocab_file. Raises ValueError for
    settings that fine-tuning does not read or that init_from decides.
    """
    _refuse_unread(config)
    if config.init_from:
        values, vocabulary = _pretrained(config)
        data = dataclasses.replace(config.data, lowercase=vocabulary.lowercase)
    else:
        if not config.data.vocab_file:
            raise ValueError(
                'config.init_from is empty: give the checkpoint to fine-tune. (To train from '
                'random parameters, give config.data.vocab_file)'
            )
        file = staging.localized(config.data).vocab_file
        vocabulary = tokenizer.load(file, config.data.lowercase)
        values, data = {'vocab_size': vocabulary.vocab_size}, config.data
    values['vocab_size'] = config.data.padded(values['vocab_size'])
    model: ModelConfig = dataclasses.replace(config.model, **values)
    if not 8 <= data.max_seq_length <= model.max_position_embeddings:
        raise ValueError(
            f'config.data.max_seq_length is {data.max_seq_length}; expected 8 to '
            f"{model.max_position_embeddings}, the model's positions"
        )
    config = dataclasses.replace(config, model=model, data=data)
    validate(_one_step(config))
    return config, vocabulary


def _one_step(config: Config) -> Config:
    """The configuration with one phase of one step: how many steps there are hangs on the data."""
    phase = Phase(1, config.data.max_seq_length, config.train.batch_size, 1)
    training = dataclasses.replace(config.train, phases=(phase,), num_steps=0)
    optim = dataclasses.replace(config.optim, warmup_steps=0)
    return dataclasses.replace(config, train=training, optim=optim)


def _refuse_unread(config: Config) -> None:
    if config.eval.max_batches:
        raise ValueError(
            f'config.eval.max_batches is {config.eval.max_batches}; fine-tuning is scored by every '
            'held-out example, leave it away'
        )
    usual = Config().train
    for name in ('eval_every', 'phases'):
        if (value := getattr(config.train, name)) != getattr(usual, name):
            raise ValueError(
                f'config.train.{name} is {value!r}; fine-tuning goes by config.train.epochs and '
                'evaluates after each, leave it away'
            )


def _pretrained(config: Config) -> tuple[dict[str, Any], tokenizer.Tokenizer]:
    """The architecture's values and the vocabulary of init_from."""
    if config.data.vocab_file:
        raise ValueError(
            f'config.data.vocab_file is {config.data.vocab_file!r}, but the vocabulary is that of '
            'config.init_from; leave it away'
        )
    there, vocabulary = model_dir.read_config(config.init_from)
    if vocabulary is None:
        raise ValueError(f'{config.init_from} has no vocabulary; put its vocab.txt beside it')
    values = {name: getattr(there.model, name) for name in ARCHITECTURE}
    for name, value in values.items():
        if getattr(config.model, name) not in (value, getattr(ModelConfig(), name)):
            raise ValueError(
                f'config.model.{name} is {getattr(config.model, name)!r}, but the model is that of '
                f'config.init_from, where it is {value!r}; leave it away'
            )
    if vocabulary.lowercase and not config.data.lowercase:
        raise ValueError(
            'config.data.lowercase is False, but the vocabulary of config.init_from is lowercased; '
            'leave it away'
        )
    return values, vocabulary


def with_steps(config: Config, data: TaskData) -> Config:
    """Epochs as steps, with an evaluation and a checkpoint at the end of each epoch."""
    settings = config.train
    epoch = math.ceil(len(data.train) / settings.batch_size)
    steps = max(round(settings.epochs * epoch), 1)
    phase = Phase(steps, config.data.max_seq_length, settings.batch_size, 1)
    warmup = config.optim.warmup_steps or int(config.optim.warmup_fraction * steps)
    training = dataclasses.replace(
        settings,
        phases=(phase,),
        eval_every=epoch,
        checkpoint_every=min(settings.checkpoint_every, epoch),
    )
    optim = dataclasses.replace(config.optim, warmup_steps=warmup)
    return validate(dataclasses.replace(config, train=training, optim=optim))


def seeds(config: Config, workdir: epath.Path) -> Iterator[tuple[Config, epath.Path]]:
    """The configuration and the workdir of each seed of a task."""
    for i in range(config.train.seeds):
        seed = config.train.seed + i
        train = dataclasses.replace(config.train, seed=seed)
        data = dataclasses.replace(config.data, seed=config.data.seed + i)
        folder = workdir / f'seed_{seed}' if config.train.seeds > 1 else workdir
        yield dataclasses.replace(config, train=train, data=data), folder


def _check_seeds(config: Config, workdir: epath.Path) -> None:
    """Raises ValueError if the runs of a task do not belong in one table."""
    several = config.train.seeds > 1
    if (workdir / 'config.json').exists() if several else any(workdir.glob('seed_*')):
        raise ValueError(
            f'{workdir} holds {"one run" if several else "runs of several seeds"}, and '
            f'config.train.seeds is {config.train.seeds}; use another --workdir'
        )
    for _, folder in seeds(config, workdir) if several else ():
        path = folder / 'config.json'
        there = json.loads(path.read_text())['init_from'] if path.exists() else config.init_from
        if there != config.init_from:
            raise ValueError(
                f'{folder} started from config.init_from={there}, the next would start from '
                f'{config.init_from}; give the same one, or use another --workdir'
            )


class EvalSet:
    """This host's slices of the held-out rows, in order of their length, and their scores."""

    def __init__(self, config: Config, data: TaskData, workdir: epath.Path):
        self._config, self._data, self._workdir = config, data, workdir
        self.main_score = data.processor.main_score

    def __iter__(self) -> Iterator[HostBatch]:
        return _in_order(self._config, self._data.processor.task, self._data.eval.rows)

    def score(self, predictions: Predictions) -> dict[str, float]:
        return _record(self._data.processor, self._data.eval, predictions, self._workdir)


def _run(
    config: Config,
    workdir: epath.Path,
    data: TaskData,
    info: Mapping[str, Any],
    vocabulary: tokenizer.Tokenizer,
) -> Run:
    lengths = data.processor.task.lengths(config.train.phases[0])
    grouped = config.data.group_by_length
    stream = ShuffledBatches(
        data.train, lengths, config.train.batch_size, config.data.seed, grouped
    )
    return Run(
        config,
        data.processor.task,
        workdir,
        info,
        vocabulary.files,
        batches=lambda start, stop: stream.batches(start, stop, *_host_slice(config)),
        eval_set=lambda phase: EvalSet(config, data, workdir),
        start_lines=lambda: _start_lines(config, data, workdir),
    )


def _in_order(config: Config, task: HeadTask, examples: EncodedExamples) -> Iterator[HostBatch]:
    batch_size = config.eval.batch_size or config.train.batch_size
    shapes = dict.fromkeys(task.lengths(config.train.phases[0]), (batch_size,))
    return iter(SequentialBatches(examples, shapes, *_host_slice(config)))


def _host_slice(config: Config) -> tuple[int, int]:
    return sharding.host_slice(sharding.make_mesh(config.mesh))


def _train_and_score(run: Run, data: TaskData) -> dict[str, float]:
    """The scores of the last or the best evaluation, and those of the test files."""
    state = run.train()
    tested = _predict(run, data, state.params)
    lines = map(json.loads, (run.workdir / 'metrics.jsonl').read_text().splitlines())
    evals = [line for line in lines if line['split'] == 'eval']
    key = data.processor.main_score
    best = max(evals, key=lambda line: -math.inf if line[key] is None else line[key])
    scores = {
        name: value
        for name, value in (best if run.config.train.best else evals[-1]).items()
        if isinstance(value, int | float) and name != 'padding_fraction'
    }
    return scores | tested


def _predict(run: Run, data: TaskData, params: Any) -> dict[str, float]:
    """Writes the predictions for the test files, and returns the scores of those with labels.

    The parameters are those of the last evaluation or of the best. In the second case the
    predictions for the held-out file are written too, because each evaluation wrote its own.
    """
    splits, scores = list(data.tests), dict[str, float]()
    if run.config.train.best and data.processor.writes_eval:
        splits.append(data.eval)
    if run.config.train.best and splits:
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), params
        )
        params = load_params(run.workdir, abstract)
    for split in splits:
        rows = _in_order(run.config, data.processor.task, split.rows)
        predictions = predict(run.config, run.task, params, rows)
        recorded = _record(data.processor, split, predictions, run.workdir)
        if split is not data.eval:
            scores |= {f'{split.name}_{key}': value for key, value in recorded.items()}
        LOG.info('predictions for %d rows of %s written', len(split.rows), split.name)
    return scores


def _record(
    processor: Processor, split: Split, predictions: Predictions, workdir: epath.Path
) -> dict[str, float]:
    """Writes the predictions and returns their scores."""
    decoded = processor.decode(split, predictions)
    if (processor.writes_eval or split.name != EVAL) and jax.process_index() == 0:
        processor.write(split, decoded, workdir)
    return processor.score(split, decoded) if split.is_scored else {}


def _named(config: Config, task: str) -> Config:
    return dataclasses.replace(config, data=dataclasses.replace(config.data, task=task))


def _start_lines(config: Config, data: TaskData, workdir: epath.Path) -> dict[str, str]:
    phase, name = config.train.phases[0], config.data.task
    names = data.processor.facts.labels
    labels = ', '.join(names[:20]) + (' ...' if len(names) > 20 else '')
    return {
        'workdir': str(workdir),
        'task': f'{name}, {len(names)} labels: {labels}' if labels else name,
        'rows': f'{len(data.train):,} to train on, {len(data.eval.rows):,} held out',
        'counted': str(data.summary) or 'nothing odd',
        'steps': f'{phase.steps}, each of {phase.batch_size} rows, at most {phase.max_seq_length} '
        'tokens long',
        'seed': f'{config.train.seed}, {config.train.seeds} in all',
    }

"""Fine-tuning: one run of the loop per task and seed, and a table of their scores."""

import dataclasses
import json
import logging
import math
from collections.abc import Iterator
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
from bert_jax.training.checkpoint import load_params
from bert_jax.training.loop import predict, train
from bert_jax.training.metrics import log_lines
from bert_jax.training.workdir import claim, same_on_all_hosts

LOG = logging.getLogger('bert_jax.finetuning.runs')
# Of a checkpoint's configuration; how it is computed is the run's.
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


def run(config: Config, workdir: epath.Path) -> None:
    """All tasks of config.data.task, each with config.train.seeds seeds; where there are several,
    each in a folder of its own. Runs that are done are not done again."""
    wanted = tasks(config, workdir)
    config, vocabulary = start_from(config)
    jobs, scores = {}, {}
    for name, folder in wanted.items():  # what is wrong with the last one's files is said now
        data = dataclasses.replace(config.data, task=name)
        named = dataclasses.replace(config, data=data)
        job = load_task_data(name, named, vocabulary)
        jobs[name] = with_steps(named, job), job
        _check_seeds(named, folder)
    for name, folder in wanted.items():
        scores[name] = _run_task(name, *jobs.pop(name), vocabulary, folder)
    if len(wanted) > 1 and jax.process_index() == 0:
        results.write_table(workdir, scores)


def tasks(config: Config, workdir: epath.Path) -> dict[str, epath.Path]:
    """The tasks of config.data.task, and where the runs of each live."""
    names = task_names(config.data)
    return {name: workdir / name if len(names) > 1 else workdir for name in names}


def start_from(config: Config) -> tuple[Config, tokenizer.Tokenizer]:
    """The architecture and the vocabulary are those of init_from, where there is one.

    Raises ValueError for settings that fine-tuning does not read, or that init_from decides.
    """
    _refuse_unread(config)
    if config.init_from:
        values, vocabulary = _pretrained(config)
        data = dataclasses.replace(config.data, lowercase=vocabulary.lowercase)
    else:
        if not config.data.vocab_file:
            raise ValueError(
                'config.init_from is empty: give the checkpoint to fine-tune. (To train from '
                'nothing, give config.data.vocab_file)'
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
    phases = (Phase(1, data.max_seq_length, config.train.batch_size, 1),)  # until rows are counted
    training = dataclasses.replace(config.train, phases=phases, num_steps=0)
    optim = dataclasses.replace(config.optim, warmup_steps=0)
    validate(dataclasses.replace(config, model=model, data=data, train=training, optim=optim))
    return dataclasses.replace(config, model=model, data=data), vocabulary


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


def _check_seeds(config: Config, workdir: epath.Path) -> None:
    """Raises ValueError where a task's runs could not stand in one table."""
    several = config.train.seeds > 1
    if (workdir / 'config.json').exists() if several else any(workdir.glob('seed_*')):
        raise ValueError(
            f'{workdir} holds {"one run" if several else "runs of several seeds"}, and '
            f'config.train.seeds is {config.train.seeds}; use another --workdir'
        )
    for _, folder in runs(config, workdir) if several else ():
        path = folder / 'config.json'
        there = json.loads(path.read_text())['init_from'] if path.exists() else config.init_from
        if there != config.init_from:
            raise ValueError(
                f'{folder} started from config.init_from={there}, the next would start from '
                f'{config.init_from}; give the same one, or use another --workdir'
            )


def _run_task(
    name: str, config: Config, job: TaskData, vocabulary: tokenizer.Tokenizer, workdir: epath.Path
) -> list[dict[str, float]]:
    """The scores of each seed."""
    log_lines(_start_lines(name, config, job, workdir))
    scores: list[dict[str, float]] = []
    for seeded, folder in runs(config, workdir):
        seed = seeded.train.seed
        if (several := config.train.seeds) > 1:
            LOG.info('seed %d, %d of %d', seed, len(scores) + 1, several)
        scores.append({'seed': seed} | _run_seed(seeded, job, vocabulary, folder))
    if jax.process_index() == 0:
        results.write(workdir, name, job.processor.main_score, scores)
    return scores


def runs(config: Config, workdir: epath.Path) -> Iterator[tuple[Config, epath.Path]]:
    """A task's runs, one for each seed, and where each lives."""
    for i in range(config.train.seeds):
        seed = config.train.seed + i
        train = dataclasses.replace(config.train, seed=seed)
        data = dataclasses.replace(config.data, seed=config.data.seed + i)
        folder = workdir / f'seed_{seed}' if config.train.seeds > 1 else workdir
        yield dataclasses.replace(config, train=train, data=data), folder


def with_steps(config: Config, job: TaskData) -> Config:
    """Epochs as steps; an evaluation and a checkpoint at the end of each."""
    settings = config.train
    epoch = math.ceil(len(job.train) / settings.batch_size)
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


class HeldOut:
    """A host's slices of the held-out rows in order of their length, and their scores."""

    def __init__(self, config: Config, job: TaskData, workdir: epath.Path):
        self._config, self._job, self._workdir = config, job, workdir
        self.main_score = job.processor.main_score

    def __iter__(self) -> Iterator[HostBatch]:
        return _in_order(self._config, self._job, self._job.eval.rows)

    def score(self, predictions: Predictions) -> dict[str, float]:
        return _record(self._job.processor, self._job.eval, predictions, self._workdir)


def _in_order(config: Config, job: TaskData, examples: EncodedExamples) -> Iterator[HostBatch]:
    batch_size = config.eval.batch_size or config.train.batch_size
    shapes = dict.fromkeys(job.processor.task.lengths(config.train.phases[0]), (batch_size,))
    return iter(SequentialBatches(examples, shapes, *_host_slice(config)))


def _host_slice(config: Config) -> tuple[int, int]:
    return sharding.host_slice(sharding.make_mesh(config.mesh))


def described(config: Config, job: TaskData) -> dict[str, Any]:
    """What tells a run's data from others'."""
    of = config.data
    return {
        'name': ', '.join(filter(None, (of.task, of.dir, of.train_file, of.eval_file))),
        'fingerprint': job.train.fingerprint() + job.eval.rows.fingerprint(),
    }


def _run_seed(
    config: Config, job: TaskData, vocabulary: tokenizer.Tokenizer, workdir: epath.Path
) -> dict[str, float]:
    data = described(config, job) | {'lowercase': vocabulary.lowercase}
    data |= dataclasses.asdict(job.processor.facts)
    same_on_all_hosts(data['fingerprint'])
    claim(workdir, config, data, vocabulary.files)
    lengths = job.processor.task.lengths(config.train.phases[0])
    of = config.data
    stream = ShuffledBatches(
        job.train, lengths, config.train.batch_size, of.seed, of.group_by_length
    )

    def batches(start: int, stop: int) -> Iterator[HostBatch]:
        return stream.batches(start, stop, *_host_slice(config))

    def held_out(phase: Phase) -> HeldOut:
        return HeldOut(config, job, workdir)

    state = train(config, job.processor.task, batches, held_out, workdir)
    tested = _predict(config, job, state.params, workdir)
    return _scores(config, workdir, job.processor.main_score) | tested


def _predict(config: Config, job: TaskData, params: Any, workdir: epath.Path) -> dict[str, float]:
    """Of the parameters that are kept, for the test files, whose scores it returns where they have
    labels; for the held-out one too where the last evaluation, which wrote its own, may not be the
    best."""
    splits = list(job.tests)
    scores: dict[str, float] = {}
    if config.train.best and job.processor.writes_eval:
        splits.append(job.eval)
    if config.train.best and splits:
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), params
        )
        params = load_params(workdir, abstract)
    for split in splits:
        found = predict(config, job.processor.task, params, _in_order(config, job, split.rows))
        mine = _record(job.processor, split, found, workdir)
        if split is not job.eval:
            scores |= {f'{split.name}_{key}': value for key, value in mine.items()}
        LOG.info('predictions for %d rows of %s written', len(split.rows), split.name)
    return scores


def _record(
    processor: Processor, split: Split, predictions: Predictions, workdir: epath.Path
) -> dict[str, float]:
    decoded = processor.decode(split, predictions)
    written = processor.writes_eval or split.name != EVAL
    if written and jax.process_index() == 0:
        processor.write(split, decoded, workdir)
    return processor.score(split, decoded) if split.is_scored else {}


def _scores(config: Config, workdir: epath.Path, main: str) -> dict[str, float]:
    """Those of the last step, or of the best evaluation."""
    lines = map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines())
    evals = [line for line in lines if line['split'] == 'eval']
    best = max(evals, key=lambda line: -math.inf if line[main] is None else line[main])
    return {
        name: value
        for name, value in (best if config.train.best else evals[-1]).items()
        if isinstance(value, int | float) and name != 'padding_fraction'
    }


def _start_lines(name: str, config: Config, job: TaskData, workdir: epath.Path) -> dict[str, str]:
    phase = config.train.phases[0]
    names = job.processor.facts.labels
    labels = ', '.join(names[:20]) + (' ...' if len(names) > 20 else '')
    return {
        'workdir': str(workdir),
        'task': f'{name}, {len(names)} labels: {labels}' if labels else name,
        'rows': f'{len(job.train):,} to train on, {len(job.eval.rows):,} held out',
        'counted': str(job.summary) or 'nothing odd',
        'steps': f'{phase.steps}, each of {phase.batch_size} rows, at most {phase.max_seq_length} '
        'tokens long',
        'seeds': str(config.train.seeds),
    }

"""What a run would be made of, told from its configuration before it starts; nothing is written."""

import dataclasses
import pathlib
from typing import Any

import jax
import optax
from etils import epath

from bert_jax.config import Config
from bert_jax.data.store import format, preparation
from bert_jax.data.summary import Summary
from bert_jax.data.text import readers, staging
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference import model_dir
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.tasks.task import Task
from bert_jax.training import initialization, optimizer
from bert_jax.training.train_step import TrainState, abstract_state


class Skipped(Exception):
    """What a look needs is not there."""


@dataclasses.dataclass
class Outline:
    """What is known of the job; looks add to it what later ones need. runs: each one's folder,
    configuration and what workdirs.check wants to know of its data."""

    config: Config  # with a cache_dir for copies that don't stay; in the end as the run has it
    workdir: epath.Path
    cache: pathlib.Path  # the run's
    mesh: jax.sharding.Mesh | None = None
    divides: bool = False  # the batch over the mesh
    vocabulary: tokenizer.Tokenizer | None = None
    task: Task | None = None  # the first of several
    runs: list[tuple[epath.Path, Config, dict[str, Any]]] = dataclasses.field(default_factory=list)
    to_cache: int | None = 0  # bytes that the run will write there; None: nobody knows
    fingerprint: str = ''  # of a corpus that is prepared
    unknown: tuple[str, ...] = ('model.vocab_size',)  # keys that are not settled

    def state(self) -> tuple[Task, optax.GradientTransformation, jax.sharding.Mesh, TrainState]:
        """The training state in shapes, and what it is of. Raises Skipped where nobody can tell."""
        if self.mesh is None:
            raise Skipped('config.mesh does not fit')
        if self.task is None and self.config.data.task != 'pretrain':
            raise Skipped('the model is not known before what failed above is mended')
        task = self.task or PretrainTask(self.config.model)
        tx = optimizer.make_optimizer(self.config)
        return task, tx, self.mesh, abstract_state(task, tx, self.mesh)


def vocabulary(outline: Outline) -> str:
    data = outline.config.data
    if data.task != 'pretrain':
        from bert_jax.finetuning import runs  # its scores bring scikit-learn

        outline.config, outline.vocabulary = runs.start_from(outline.config)
    elif data.corpus.startswith('tokens:'):
        return "the store's"
    elif data.vocab_file:
        try:
            file = staging.localized(data).vocab_file
            outline.vocabulary = tokenizer.load(file, data.lowercase)
        except ValueError as error:
            raise ValueError(f'config.data.vocab_file={data.vocab_file}: {error}') from error
    else:
        return f'at most {outline.config.model.vocab_size:,} tokens, to be trained on the corpus'
    return f'{outline.vocabulary.vocab_size:,} tokens'


def corpus(outline: Outline) -> str:
    """Of a store, all of it is looked at; of text, the first document."""
    data = outline.config.data
    if data.task != 'pretrain':
        return _files(outline)
    preparation.check_holdout(data)
    if data.corpus.startswith('tokens:'):
        directory = epath.Path(data.corpus.removeprefix('tokens:'))
        preparation.check_tokens(data, directory)
        copied = staging.is_remote(directory)
        outline.to_cache = sum(file.stat().length for file in directory.glob('*/*.bin')) * copied
    else:
        source, summary = readers.source(data, fetch=False), Summary()
        first = next(source.read(summary), None)
        if first is None:
            raise ValueError(f'config.data.corpus={data.corpus!r} has no text: {summary}')
        copies = source.size if staging.is_remote(data.corpus) else 0
        # A token's two bytes stand for at least as many of the text, most of the time for more.
        outline.to_cache = source.characters + copies if source.characters else None
        found = f'to be prepared; it begins {first[0][:40]!r}'
        if data.vocab_file and outline.vocabulary is None:
            return found
        size = outline.config.model.vocab_size
        name, made_from = preparation.planned(staging.localized(data), size, source)
        directory = epath.Path(outline.cache / name)
        if not preparation.is_there(outline.cache / name, made_from):
            return found
        outline.to_cache = 0
    meta = format.read_meta(directory)
    outline.fingerprint = meta.fingerprint
    outline.vocabulary = tokenizer.load(directory, meta.lowercase)
    return f'{meta.counts["train"].tokens:,} tokens to train on, prepared ({meta.fingerprint})'


def _files(outline: Outline) -> str:
    from bert_jax.finetuning import runs
    from bert_jax.finetuning.datasets import load_task_data

    base, found = outline.config, []
    # To see whether the files can be read, any vocabulary will do.
    pieces = outline.vocabulary or tokenizer.wordpiece([*tokenizer.SPECIALS], True)
    for name, folder in runs.tasks(base, outline.workdir).items():
        config = dataclasses.replace(base, data=dataclasses.replace(base.data, task=name))
        job = load_task_data(name, config, pieces)
        rows = f'{len(job.train):,} rows to train on, {len(job.eval.rows):,} held out'
        found.append(f'{name}: {rows}, counted: {str(job.summary) or "nothing odd"}')
        if outline.vocabulary is None:
            continue
        config = runs.with_steps(config, job)
        data = runs.described(config, job)
        outline.runs += [(place, run, data) for run, place in runs.runs(config, folder)]
        if outline.task is None:
            outline.task, outline.config, outline.unknown = job.processor.task, config, ()
    return '; '.join(found)


def init_from(outline: Outline) -> str:
    config = outline.config
    if config.data.task == 'pretrain' and outline.vocabulary is not None:
        size = model_dir.check_vocabulary(config, outline.vocabulary)
        model = dataclasses.replace(config.model, vocab_size=size)
        outline.config, outline.unknown = dataclasses.replace(config, model=model), ()
    elif config.data.task == 'pretrain':
        outline.config = config.padded()  # of its size at most
    if not config.init_from:
        return 'none: fresh parameters'
    if config.data.task == 'pretrain' and outline.vocabulary is None:
        if config.data.vocab_file or config.data.corpus.startswith('tokens:'):
            raise Skipped('the vocabulary is not known')
        raise ValueError(
            f'config.init_from={config.init_from} has a vocabulary, and the corpus would get its '
            f'own; tokenise it with that one: --config.data.vocab_file={config.init_from}'
        )
    initialization.check(config.init_from, outline.state()[-1].params)
    return f'{config.init_from} fits'

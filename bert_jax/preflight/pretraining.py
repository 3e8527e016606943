"""Resolves a pretraining run from its configuration and its corpus."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
from etils import epath

from bert_jax.batch import HostBatch
from bert_jax.config import Config, Phase
from bert_jax.config.console import say
from bert_jax.data import row_shapes
from bert_jax.data.row_shapes import ROW_SHAPES
from bert_jax.data.store import baselines, checks, format, identity, preparation, unknown_text
from bert_jax.data.summary import Summary
from bert_jax.data.text import languages, readers, staging
from bert_jax.data.text.source import NotFetched, Source
from bert_jax.data.tokenizers import added_words, tokenizer
from bert_jax.inference import model_dir
from bert_jax.parallel.mesh import host_slice
from bert_jax.preflight import distillation, store_lines
from bert_jax.preflight.example_batch import example_batch
from bert_jax.preflight.init_from import new_names, start_from, vocab_size
from bert_jax.tasks.task import Task
from bert_jax.training import run_folders
from bert_jax.training.run import Resolver, Run, UnknownValue, part, without_start
from bert_jax.training.run_folders import saved_steps
from bert_jax.training.stages import EvalSet
from bert_jax.training.workdir import DATA, read_data


class Pretraining(Resolver):
    """One run on a prepared store, or on a corpus of text, which is prepared first."""

    @property
    def _is_store(self) -> bool:
        return self.config.data.corpus.startswith('tokens:')

    @property
    def _reads_own_run(self) -> bool:
        """True if the run itself has replaced init_from; see `resolve.with_converted_start`."""
        return run_folders.is_run(self.config.init_from, self.given, self.workdir)

    @part
    def start(self) -> Config:
        distillation.check_given(self.config)
        return start_from(self.config, None if self.start_over else self.workdir)

    @part
    def new_tokens(self) -> dict[int, tuple[int, ...]]:
        """Maps the id of each token that config.data.add_tokens adds to the ids of its former
        pieces."""
        config = self.config
        if not config.data.add_tokens or self._reads_own_run:
            return {}
        _, vocabulary = model_dir.read_config(config.init_from)
        assert vocabulary is not None  # otherwise start_from has raised an error
        data = self.start.data
        made = tokenizer.load(data.vocab_file, data.lowercase, data.strips_accents)
        return added_words.former(vocabulary, made)

    @part
    def file_vocabulary(self) -> tokenizer.Tokenizer | None:
        """The vocabulary of config.data.vocab_file, None if the key is not set or not read."""
        data = self.start.data
        if not data.vocab_file or self._is_store:
            return None
        try:
            file = staging.localized(data).vocab_file
            return tokenizer.load(file, data.lowercase, data.strips_accents)
        except ValueError as error:
            raise ValueError(f'config.data.vocab_file={data.vocab_file}: {error}') from error

    @part
    def source(self) -> Source:
        return languages.source(self.config.data, fetch=False)

    @part
    def eval_source(self) -> Source | None:
        return readers.eval_source(self.config.data, fetch=False)

    @part
    def store(self) -> epath.Path | None:
        """The folder of the prepared store, None if the corpus is not prepared yet."""
        data = self.start.data
        if self._is_store:
            directory = epath.Path(data.corpus.removeprefix('tokens:'))
            checks.check_tokens(data, directory)
            return directory
        self.file_vocabulary  # noqa: B018  (raises if the vocabulary is wrong)
        try:
            self.source  # noqa: B018
        except NotFetched:
            raise
        except ValueError as error:
            if (store := self._earlier_store()) is None:
                raise
            say(f'{error}. The run continues with the store that was made from it: {store}')
            return store
        store = self.cache / self._wanted.name
        return epath.Path(store) if self._wanted.is_prepared(store) else None

    @functools.cached_property
    def _wanted(self) -> preparation.Preparation:
        """The store that the run needs."""
        data, size = self.start.data, self.start.model.vocab_size
        if self.file_vocabulary is not None:
            data = staging.localized(data)
        documents = ROW_SHAPES[self.config.objective].min_documents
        return preparation.Preparation(data, self.source, size, documents, self.eval_source)

    def _earlier_store(self) -> epath.Path | None:
        """Returns the store of the run in the workdir; None if the cache does not have it, or if
        it is not of the same corpus."""
        found = identity.earlier_store(
            self.start.data, self._saved.get('made_from') or {}, self.cache
        )
        return None if found is None else epath.Path(found)

    @functools.cached_property
    def _saved(self) -> dict[str, Any]:
        """The description of the data of the run in the workdir; {} if there is none."""
        return read_data(self.workdir) if (self.workdir / DATA).exists() else {}

    @part
    def meta(self) -> format.StoreMeta | None:
        return None if self.store is None else format.read_meta(self.store)

    @part
    def baselines(self) -> dict[str, float]:
        """The accuracies of the counting baselines; {} if they are not known yet."""
        return {} if self.meta is None else self.meta.baselines

    @part
    def vocabulary(self) -> tokenizer.Tokenizer | None:
        """The vocabulary of the store, or else of the file; None if it has yet to be trained."""
        if (meta := self.known('meta')) is not None:
            return tokenizer.load(self.store, meta.lowercase)
        return self.known('file_vocabulary')

    @part
    def run_config(self) -> Config:
        """The configuration with the final model.vocab_size. If the vocabulary has not been trained
        yet, this is the largest possible size."""
        config = languages.with_names(self._parts, self.start)
        if self.vocabulary is not None:
            size = vocab_size(config, self.vocabulary)
            size = distillation.vocab_size(config, self.vocabulary, size)
            model = dataclasses.replace(config.model, vocab_size=size)
            return dataclasses.replace(config, model=model)
        if not config.init_from:
            return config.padded()
        if config.data.vocab_file or self._is_store:
            raise UnknownValue('the vocabulary is not known')
        raise ValueError(
            'the corpus would have another vocabulary than config.init_from; tokenize it with '
            f'the vocabulary of init_from: --config.data.vocab_file={config.init_from}'
        )

    @property
    def _parts(self) -> list[str]:
        """The languages and the pairs of languages of the corpus; [] for a single text."""
        meta = self.known('meta')
        return (self.known('named_languages') or []) if meta is None else list(meta.parts)

    @part
    def named_languages(self) -> list[str]:
        return languages.names_of(self.config.data)

    @part
    def task(self) -> Task:
        languages.check(self._parts, self.run_config)
        words = self.known('vocabulary')
        return distillation.task_of(self.run_config, words.vocab_size if words else 0)

    def batch_sizes(self) -> dict[str, int]:
        sizes = [phase.batch_size for phase in self.config.train.phases]
        return {f'train.phases[{i}]': size for i, size in enumerate(sizes)}

    def describe_vocabulary(self) -> str:
        if self._is_store:
            return 'that of the store'
        if self.file_vocabulary is not None:
            owner = 'init_from' if self.config.init_from else 'the teacher'
            of = '' if self.config.data.vocab_file else f', those of {owner}'
            return f'{self.file_vocabulary.vocab_size:,} tokens{of}'
        return f'at most {self.start.model.vocab_size:,} tokens, to be trained on the corpus'

    def describe_data(self) -> str:
        data = self.config.data
        checks.check_holdout(data)
        few = [] if self.known('start') is None else [*row_shapes.warnings(self.start)]
        if (meta := self.known('meta')) is not None:
            line = f'{meta.counts["train"].tokens:,} tokens to train on, prepared'
            lines = [f'{line} ({meta.fingerprint})', self._unknown(meta), *few]
            return '; '.join(filter(None, lines))
        summary = Summary()
        first = next(self.source.read(summary), None)
        if first is None:
            raise ValueError(f'config.data.corpus={data.corpus!r} has no text: {summary}')
        continues = bool(saved_steps(self.workdir)) and not self.start_over
        needed = ROW_SHAPES[self.config.objective].min_documents
        checks.check_documents(self.source, data, needed)
        vocabulary = self.file_vocabulary
        if vocabulary is None and continues and tokenizer.find(self.workdir):
            vocabulary = tokenizer.load(self.workdir, data.lowercase, data.strips_accents)
        warnings, begins = self._wanted.check_beginning(vocabulary)
        if continues:
            of_run = self._saved, self._wanted.made_from, self.workdir, self.cache
            checks.check_same_text(data, *of_run, begins)
        return '; '.join([f'to be prepared; it begins {first[0][:40]!r}', *few, *warnings])

    def _unknown(self, meta: format.StoreMeta) -> str:
        words = self.known('vocabulary')
        return unknown_text.check_store(meta, words) if words else ''

    def describe_teacher(self) -> str:
        config = self.run_config
        if config.objective != 'distill':
            return ''
        return distillation.describe(config, self.step, self.given.distill.teacher)

    def bytes_to_cache(self) -> int | None:
        store = self.store if self._is_store else self.known('store')
        if store is not None:
            arrays = store.glob('*/*.bin') if staging.is_remote(store) else ()
            return sum(file.stat().length for file in arrays)
        copies = self.source.size if staging.is_remote(self.config.data.corpus) else 0
        # A token takes two bytes, and nearly always has two characters or more.
        return self.source.characters + copies if self.source.characters else None

    def runs(self) -> list[Run]:
        config, part_of_host = self.run_config, host_slice(self.mesh)
        config = without_start(config) if self._reads_own_run else config
        hosts = dict(zip(('host', 'num_hosts'), part_of_host, strict=True))
        folder = pathlib.Path(os.fspath(self.known('store') or ''))

        def batches(start: int, stop: int) -> Iterator[HostBatch]:
            from bert_jax.data.pretraining import input_pipeline  # imports TensorFlow: seconds

            return input_pipeline.train_batches(folder, config, start=start, stop=stop, **hosts)

        def eval_set(phase: Phase) -> EvalSet:
            from bert_jax.data.pretraining import input_pipeline

            return input_pipeline.EvalBatches(folder, config, phase, **hosts)

        info: dict[str, Any] = {'name': config.data.corpus, 'fingerprint': ''}
        lines: dict[str, str] = {}
        if (meta := self.known('meta')) is not None:
            keys = ('fingerprint', 'lowercase', 'unigram_entropy', 'made_from', 'beginning')
            info |= {key: getattr(meta, key) for key in keys} | {'baselines': self.baselines}
            lines = {
                'vocabulary': store_lines.vocabulary(meta.vocab_size, config.model.vocab_size),
                'corpus': config.data.corpus,
                'train on': store_lines.split(meta.counts['train']),
                'held out': store_lines.held_out(meta.counts['eval'], config.data),
                'baselines': store_lines.baselines(meta.unigram_entropy, self.baselines),
            }
            lines['unknown'] = self._unknown(meta)
            lines['new tokens'] = new_names(config, self.vocabulary)
        lines['teacher'] = self.describe_teacher()
        lines = {name: line for name, line in lines.items() if line}
        info |= distillation.recorded(config)
        files = {} if self.vocabulary is None else self.vocabulary.files
        run = (config, self.task, self.workdir, info, files, batches, eval_set, lines, self.given)
        examples = functools.partial(example_batch, folder, config)
        return [Run(*run, examples, self.new_tokens)]

    def run(self) -> None:
        store = self.known('store')
        if store is None or staging.is_remote(store):
            store = preparation.prepare(self.start)
        prepared = Pretraining(self.config, self.workdir, self.cache, self.given)
        prepared.store = epath.Path(store)
        # A store that an older version wrote has no baselines.
        if not prepared.baselines and jax.process_index() == 0:
            prepared.baselines = baselines.count(pathlib.Path(store))
        prepared.runs()[0].train()

"""A pretraining run, resolved from its configuration and its corpus."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from etils import epath

from bert_jax.batch import HostBatch
from bert_jax.config import Config, Phase
from bert_jax.data.store import format, preparation
from bert_jax.data.summary import Summary
from bert_jax.data.text import readers, staging
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference import model_dir
from bert_jax.parallel.mesh import host_slice
from bert_jax.tasks.pretraining import OBJECTIVES, PretrainTask
from bert_jax.tasks.task import Task
from bert_jax.training.loop import EvalSet
from bert_jax.training.run import NotKnown, Resolver, Run, part


class Pretraining(Resolver):
    """One run on a corpus of text, which is prepared first, or on a prepared store."""

    @staticmethod
    def without_data(config: Config) -> tuple[Config, PretrainTask]:
        config = config.padded()
        return config, OBJECTIVES[config.objective](config.model)

    @property
    def _is_store(self) -> bool:
        return self.config.data.corpus.startswith('tokens:')

    @part
    def file_vocabulary(self) -> tokenizer.Tokenizer | None:
        """The vocabulary of config.data.vocab_file, None without that file."""
        data = self.config.data
        if not data.vocab_file or self._is_store:
            return None
        try:
            return tokenizer.load(staging.localized(data).vocab_file, data.lowercase)
        except ValueError as error:
            raise ValueError(f'config.data.vocab_file={data.vocab_file}: {error}') from error

    @part
    def source(self) -> readers.Source:
        return readers.source(self.config.data, fetch=False)

    @part
    def store(self) -> epath.Path | None:
        """The folder of the prepared store, None if the corpus is still to be prepared."""
        data = self.config.data
        if self._is_store:
            directory = epath.Path(data.corpus.removeprefix('tokens:'))
            preparation.check_tokens(data, directory)
            return directory
        if self.file_vocabulary is not None:
            data = staging.localized(data)
        name, made_from = preparation.planned(data, self.config.model.vocab_size, self.source)
        is_there = preparation.is_there(self.cache / name, made_from)
        return epath.Path(self.cache / name) if is_there else None

    @part
    def meta(self) -> format.StoreMeta | None:
        return None if self.store is None else format.read_meta(self.store)

    @part
    def vocabulary(self) -> tokenizer.Tokenizer | None:
        """The store's or else the file's; None if there is none yet."""
        if (meta := self.known('meta')) is not None:
            return tokenizer.load(self.store, meta.lowercase)
        return self.known('file_vocabulary')

    @part
    def run_config(self) -> Config:
        """With the length of the model's table: a vocabulary that is still to be trained has
        config.model.vocab_size tokens at most."""
        config = self.config
        if self.vocabulary is not None:
            size = model_dir.check_vocabulary(config, self.vocabulary)
            model = dataclasses.replace(config.model, vocab_size=size)
            return dataclasses.replace(config, model=model)
        if config.init_from and (config.data.vocab_file or self._is_store):
            raise NotKnown('the vocabulary is not known')
        if config.init_from:
            raise ValueError(
                f'config.init_from={config.init_from} has a vocabulary, and the corpus would get '
                'its own; tokenise it with that one: '
                f'--config.data.vocab_file={config.init_from}'
            )
        return config.padded()

    @part
    def task(self) -> Task:
        return OBJECTIVES[self.config.objective](self.run_config.model)

    def batch_sizes(self) -> dict[str, int]:
        phases = enumerate(self.config.train.phases)
        return {f'train.phases[{i}]': phase.batch_size for i, phase in phases}

    def describe_vocabulary(self) -> str:
        if self._is_store:
            return "the store's"
        if self.file_vocabulary is not None:
            return f'{self.file_vocabulary.vocab_size:,} tokens'
        return f'at most {self.config.model.vocab_size:,} tokens, to be trained on the corpus'

    def describe_data(self) -> str:
        data = self.config.data
        preparation.check_holdout(data)
        if (meta := self.known('meta')) is not None:
            tokens = meta.counts['train'].tokens
            return f'{tokens:,} tokens to train on, prepared ({meta.fingerprint})'
        summary = Summary()
        first = next(self.source.read(summary), None)
        if first is None:
            raise ValueError(f'config.data.corpus={data.corpus!r} has no text: {summary}')
        preparation.check_documents(self.source, data)
        return f'to be prepared; it begins {first[0][:40]!r}'

    def bytes_to_cache(self) -> int | None:
        store = self.store if self._is_store else self.known('store')
        if store is not None:
            arrays = store.glob('*/*.bin') if staging.is_remote(store) else ()
            return sum(file.stat().length for file in arrays)
        copies = self.source.size if staging.is_remote(self.config.data.corpus) else 0
        # A token's two bytes stand for at least two characters, nearly always for more.
        return self.source.characters + copies if self.source.characters else None

    def runs(self) -> list[Run]:
        config, part_of_host = self.run_config, host_slice(self.mesh)
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
            keys = ('fingerprint', 'lowercase', 'unigram_entropy', 'made_from')
            info |= {key: getattr(meta, key) for key in keys}
            counts = [
                f'{split} {c.documents:,} documents, {c.sentences:,} sentences, {c.tokens:,} tokens'
                for split, c in meta.counts.items()
            ]
            lines = {
                'vocabulary': f'{meta.vocab_size:,} tokens, {config.model.vocab_size:,} embeddings',
                'corpus': f'{config.data.corpus} ({meta.fingerprint}): {"; ".join(counts)}',
                'baseline': f'{meta.unigram_entropy:.3f} nats, the unigram entropy: MLM loss to '
                'beat',
            }
        files = {} if self.vocabulary is None else self.vocabulary.files
        return [Run(config, self.task, self.workdir, info, files, batches, eval_set, lines)]

    def run(self) -> None:
        store = self.known('store')
        if store is None or staging.is_remote(store):
            store = preparation.prepare(self.config)
        prepared = Pretraining(self.config, self.workdir, self.cache)
        prepared.store = epath.Path(store)
        prepared.runs()[0].train()

"""Resolves a pretraining run from its configuration and its corpus."""

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
from bert_jax.tasks.pretraining import OBJECTIVES
from bert_jax.tasks.task import Task
from bert_jax.training.loop import EvalSet
from bert_jax.training.run import NotKnown, Resolver, Run, part
from bert_jax.training.workdir import CONFIG


class Pretraining(Resolver):
    """One run on a prepared store, or on a corpus of text, which is prepared first."""

    @property
    def _is_store(self) -> bool:
        return self.config.data.corpus.startswith('tokens:')

    @part
    def file_vocabulary(self) -> tokenizer.Tokenizer | None:
        """The vocabulary of config.data.vocab_file, None if the key is not set or not read."""
        data = self.config.data
        if not data.vocab_file or self._is_store:
            return None
        try:
            file = staging.localized(data).vocab_file
            return tokenizer.load(file, data.lowercase, data.strips_accents)
        except ValueError as error:
            raise ValueError(f'config.data.vocab_file={data.vocab_file}: {error}') from error

    @part
    def source(self) -> readers.Source:
        return readers.source(self.config.data, fetch=False)

    @part
    def store(self) -> epath.Path | None:
        """The folder of the prepared store, None if the corpus is not prepared yet."""
        data = self.config.data
        if self._is_store:
            directory = epath.Path(data.corpus.removeprefix('tokens:'))
            preparation.check_tokens(data, directory)
            return directory
        if self.file_vocabulary is not None:
            data = staging.localized(data)
        wanted = preparation.Preparation(data, self.source, self.config.model.vocab_size)
        store = self.cache / wanted.name
        return epath.Path(store) if wanted.is_there(store) else None

    @part
    def meta(self) -> format.StoreMeta | None:
        return None if self.store is None else format.read_meta(self.store)

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
        config = self.config
        if self.vocabulary is not None:
            size = vocab_size(config, self.vocabulary)
            model = dataclasses.replace(config.model, vocab_size=size)
            return dataclasses.replace(config, model=model)
        if not config.init_from:
            return config.padded()
        if config.data.vocab_file or self._is_store:
            raise NotKnown('the vocabulary is not known')
        raise ValueError(
            'the corpus would have another vocabulary than config.init_from; tokenise it with '
            f'the vocabulary of init_from: --config.data.vocab_file={config.init_from}'
        )

    @part
    def task(self) -> Task:
        return OBJECTIVES[self.config.objective](self.run_config.model)

    def batch_sizes(self) -> dict[str, int]:
        sizes = [phase.batch_size for phase in self.config.train.phases]
        return {f'train.phases[{i}]': size for i, size in enumerate(sizes)}

    def describe_vocabulary(self) -> str:
        if self._is_store:
            return 'that of the store'
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
        # A token takes two bytes, and nearly always has two characters or more.
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
                'baseline': f'{meta.unigram_entropy:.3f} nats of MLM loss, the unigram entropy',
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


def vocab_size(config: Config, vocabulary: tokenizer.Tokenizer) -> int:
    """The padded number of token embeddings: that of `vocabulary` or, if larger, config.init_from.

    Raises ValueError if config.init_from was trained with another vocabulary, or with other
    settings that its parameters do not show, such as the activation.
    """
    start = config.init_from
    if not start:
        return config.data.padded(vocabulary.vocab_size)
    source = epath.Path(start).expanduser()
    for name, content in vocabulary.files.items():
        file = source / name
        if file.exists() and file.read_bytes() != content:
            raise ValueError(
                f'config.init_from={start} has another vocabulary than the corpus; tokenise the '
                f'corpus with the vocabulary of init_from: --config.data.vocab_file={file}'
            )
    if not (source / CONFIG).exists():
        return config.data.padded(vocabulary.vocab_size)
    trained, its_vocabulary = model_dir.read_config(source)
    compared = {
        f'model.{name}': (getattr(trained.model, name), getattr(config.model, name))
        for name in ('hidden_act', 'layer_norm_eps')
    }
    if its_vocabulary is not None:
        compared['data.lowercase'] = its_vocabulary.lowercase, vocabulary.lowercase
    for key, (theirs, ours) in compared.items():
        if theirs != ours:
            raise ValueError(
                f'config.init_from={start} was trained with {key}={theirs!r}, but {key} is '
                f'{ours!r} here: --config.{key}={theirs}'
            )
    return config.data.padded(max(trained.model.vocab_size, vocabulary.vocab_size))

"""A pretraining run, resolved from its configuration and its corpus."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
from etils import epath

from bert_jax.batch import HostBatch
from bert_jax.config import Config, Phase
from bert_jax.data.store import format, preparation
from bert_jax.data.summary import Summary
from bert_jax.data.text import readers, staging
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference import model_dir
from bert_jax.parallel import sharding
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.training.loop import EvalSet
from bert_jax.training.run import NotKnown, Resolver, Run, part


def without_data(config: Config) -> tuple[Config, PretrainTask]:
    """With a table of config.model.vocab_size tokens, padded."""
    config = config.padded()
    return config, PretrainTask(config.model)


class Pretraining(Resolver):
    """One run on a corpus of text, which is prepared first, or on a prepared store."""

    @part
    def file_vocabulary(self) -> tokenizer.Tokenizer | None:
        """The vocabulary of config.data.vocab_file, or None without that file."""
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
        """The folder of the prepared store, or None if the corpus is still to be prepared."""
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
        if (meta := self.known('meta')) is not None:
            return tokenizer.load(self.store, meta.lowercase)
        return self.known('file_vocabulary')

    @part
    def run_config(self) -> Config:
        """With the size of the model's table. A vocabulary that is not known yet has at most the
        tokens that config.model.vocab_size allows."""
        if self.vocabulary is None:
            self._check_start()
            return self.config.padded()
        size = model_dir.check_vocabulary(self.config, self.vocabulary)
        model = dataclasses.replace(self.config.model, vocab_size=size)
        return dataclasses.replace(self.config, model=model)

    @property
    def unsettled(self) -> tuple[str, ...]:
        return ('model.vocab_size',) if self.vocabulary is None else ()

    @part
    def task(self) -> PretrainTask:
        return PretrainTask(self.run_config.model)

    def batch_sizes(self) -> dict[str, int]:
        phases = enumerate(self.config.train.phases)
        return {f'train.phases[{i}]': phase.batch_size for i, phase in phases}

    def describe_vocabulary(self) -> str:
        if self._is_store:
            return "the store's"
        if self.file_vocabulary is None:
            size = self.config.model.vocab_size
            return f'at most {size:,} tokens, to be trained on the corpus'
        return f'{self.file_vocabulary.vocab_size:,} tokens'

    def describe_data(self) -> str:
        """All of a store is checked, and of text the first document."""
        data = self.config.data
        preparation.check_holdout(data)
        if (meta := self.known('meta')) is not None:
            tokens = meta.counts['train'].tokens
            return f'{tokens:,} tokens to train on, prepared ({meta.fingerprint})'
        summary = Summary()
        first = next(self.source.read(summary), None)
        if first is None:
            raise ValueError(f'config.data.corpus={data.corpus!r} has no text: {summary}')
        return f'to be prepared; it begins {first[0][:40]!r}'

    def bytes_to_cache(self) -> int | None:
        if (store := self.store if self._is_store else self.known('store')) is not None:
            arrays = store.glob('*/*.bin') if staging.is_remote(store) else ()
            return sum(file.stat().length for file in arrays)
        copies = self.source.size if staging.is_remote(self.config.data.corpus) else 0
        # A token's two bytes stand for at least two characters, nearly always for more.
        return self.source.characters + copies if self.source.characters else None

    def runs(self) -> list[Run]:
        info: dict[str, Any] = {'name': self.config.data.corpus, 'fingerprint': ''}
        if (meta := self.known('meta')) is not None:
            names = ('fingerprint', 'lowercase', 'unigram_entropy', 'made_from')
            info |= {name: getattr(meta, name) for name in names}
        files = self.vocabulary.files if self.vocabulary is not None else {}
        return [
            Run(
                self.run_config,
                self.task,
                self.workdir,
                info,
                files,
                self._batches,
                self._eval_set,
                self._start_lines,
            )
        ]

    def run(self) -> None:
        store = self.known('store')
        if store is None or staging.is_remote(store):
            store = preparation.prepare(self.config)
        prepared = Pretraining(self.config, self.workdir, self.cache)
        prepared.store = epath.Path(store)
        (run,) = prepared.runs()
        run.train()

    @property
    def _is_store(self) -> bool:
        return self.config.data.corpus.startswith('tokens:')

    def _check_start(self) -> None:
        """Raises ValueError if init_from, which has a vocabulary, would meet another one, and
        NotKnown if its shapes can't be compared."""
        config = self.config
        if not config.init_from:
            return
        if config.data.vocab_file or self._is_store:
            raise NotKnown('the vocabulary is not known until that is fixed')
        raise ValueError(
            f'config.init_from={config.init_from} has a vocabulary, and the corpus would get its '
            f'own; tokenise it with that one: --config.data.vocab_file={config.init_from}'
        )

    def _batches(self, start: int, stop: int) -> Iterator[HostBatch]:
        from bert_jax.data.pretraining import input_pipeline  # imports TensorFlow: seconds

        host, num_hosts = sharding.host_slice(self.mesh)
        span = {'start': start, 'stop': stop, 'host': host, 'num_hosts': num_hosts}
        return input_pipeline.train_batches(self._folder, self.run_config, **span)

    def _eval_set(self, phase: Phase) -> EvalSet:
        from bert_jax.data.pretraining.input_pipeline import EvalBatches

        host, num_hosts = sharding.host_slice(self.mesh)
        return EvalBatches(self._folder, self.run_config, phase, host=host, num_hosts=num_hosts)

    @property
    def _folder(self) -> pathlib.Path:
        assert self.store is not None, 'the corpus is not prepared'
        return pathlib.Path(os.fspath(self.store))

    def _start_lines(self) -> dict[str, str]:
        devices, meta = jax.devices(), self.meta
        assert meta is not None
        sizes = f'{meta.vocab_size:,} tokens; the model has {self.run_config.model.vocab_size:,}'
        counts = [
            f'{split} {c.documents:,} documents, {c.sentences:,} sentences, {c.tokens:,} tokens'
            for split, c in meta.counts.items()
        ]
        phases = [
            f'{phase.steps} steps of {phase.batch_size} x {phase.max_seq_length}'
            for phase in self.run_config.train.phases
        ]
        return {
            'workdir': str(self.workdir),
            'devices': f'{len(devices)} x {devices[0].device_kind}, {jax.process_count()} '
            'processes',
            'parameters': f'{sum(leaf.size for leaf in jax.tree.leaves(self.state.params)):,}',
            'vocabulary': sizes,
            'corpus': f'{self.config.data.corpus} ({meta.fingerprint}): ' + '; '.join(counts),
            'baseline': f'{meta.unigram_entropy:.3f} nats, the unigram entropy: MLM loss to beat',
            'phases': '; '.join(phases),
        }

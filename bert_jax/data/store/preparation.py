"""Preparation of a token store: the corpus is read, split into sentences, tokenized and written."""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from bert_jax.config import Config, DataConfig
from bert_jax.config.build_once import build_once
from bert_jax.config.console import say, working
from bert_jax.data import progress
from bert_jax.data.row_shapes import ROW_SHAPES
from bert_jax.data.store import baselines, beginning, checks, format, identity, unknown_text
from bert_jax.data.store.identity import LATER_OPTIONS, OPTIONS
from bert_jax.data.summary import Document, Summary
from bert_jax.data.text import languages, readers, sentences, staging
from bert_jax.data.text.source import Source
from bert_jax.data.tokenizers import tokenizer

RECIPE = 2  # increase it if changed code makes another store from the same text and options
DEFAULT_LANGUAGE = 'en'
SHORT, SHORT_SHARE = 12, 0.2  # tokens of a short document; the share of them that is reported
VOCAB_CHARS = 16 << 20  # the vocabulary is trained on about this many characters, held in memory


def prepare(config: Config) -> pathlib.Path:
    """The store of the corpus of `config.data`. It is prepared if it is not in the cache yet.

    If no vocabulary is given, one of at most `config.model.vocab_size` tokens is trained. Raises
    ValueError if the corpus or the vocabulary cannot be used.
    """
    data, cache = config.data, staging.cache_of(config.data)
    if data.corpus.startswith('tokens:'):
        directory = staging.local(data.corpus.removeprefix('tokens:'), cache, format.FILES)
        checks.check_tokens(data, directory)
        return directory
    wanted = Preparation.of(config)
    wanted.build(cache / wanted.name)
    return cache / wanted.name


@dataclasses.dataclass(frozen=True)
class Preparation:
    """A store that can be prepared from a source of documents.

    vocab_size: the size of a vocabulary that is trained, if `data` names none. min_documents: the
    number of documents that each split needs. eval_source: the held-out text; None holds out a
    share of `source`.
    """

    data: DataConfig
    source: Source
    vocab_size: int
    min_documents: int = 2
    eval_source: Source | None = None

    @classmethod
    def of(cls, config: Config) -> 'Preparation':
        """The store of the corpus of `config.data`."""
        data = staging.localized(config.data)
        return cls(
            data,
            languages.source(data),
            config.model.vocab_size,
            ROW_SHAPES[config.objective].min_documents,
            readers.eval_source(data),
        )

    @functools.cached_property
    def made_from(self) -> dict[str, Any]:
        """Everything that determines the content of the store, as JSON."""
        data = self.data
        vocabulary: Any = self.vocab_size
        later = {key: getattr(data, key) for key in LATER_OPTIONS}
        if loaded := self.given_vocabulary:
            vocabulary = identity.hashes(loaded.files)
            if loaded.revision > 1:  # the stores of revision 1 keep their names
                vocabulary['revision'] = loaded.revision
            later = {}  # the vocabulary's files contain these options
        made_from = {
            'store_version': format.VERSION,
            'recipe': RECIPE,
            **{key: getattr(data, key) for key in ('corpus', *OPTIONS)},
            'language': self.language,
            **{key: value for key, value in later.items() if value != getattr(DataConfig, key)},
            'vocabulary': vocabulary,
            'source': self.source.identity,
        }
        if self.eval_source is not None:
            own = {'eval_corpus': self.data.eval_corpus, 'eval_source': self.eval_source.identity}
            made_from |= {'holdout': 0.0, **own}
        return made_from

    @property
    def name(self) -> str:
        """The name of the store in the cache."""
        return identity.hash_json(self.made_from)

    def is_prepared(self, output: pathlib.Path) -> bool:
        """Returns whether `output` is this store. Raises ValueError if the store is damaged, or if
        the folder has something else."""
        if (output / format.META).exists() and format.read_meta(output).made_from == self.made_from:
            for split in format.SPLITS:
                format.check(output, split)
            return True
        if output.exists():
            raise ValueError(
                f'{output} exists and is not a store of this corpus and these options; '
                'remove it or choose another --output'
            )
        return False

    def check_beginning(self, vocabulary: tokenizer.Tokenizer | None) -> tuple[list[str], str]:
        """Warnings about the beginning of the text, and its hash (see `Beginning`), which is ''
        without a vocabulary. Raises ValueError for what `build` would refuse."""
        self._check_languages()
        summary, seen = Summary(), beginning.Beginning()
        if vocabulary is None:
            lines = beginning.first_lines(self.source.read(summary))
            warnings = beginning.long_words(lines, self.data), beginning.marks(lines, self.data)
            return [*filter(None, warnings), *beginning.file_counts(summary)], ''
        for name, part in self.source.by_name.items():
            if not seen.is_complete:
                for found in self._tokenized(name, part.read(summary), vocabulary, summary):
                    if seen.add(*found):
                        break
        unknown = unknown_text.check(summary, self.data.vocab_file, vocabulary)
        return [*filter(None, [unknown]), *beginning.file_counts(summary)], str(seen)

    def build(self, output: pathlib.Path) -> bool:
        """Prepares the store in `output`, unless it exists; returns whether it was prepared. One
        process prepares it, and the others wait."""
        doing = f'preparing {output}'
        if not build_once(output, self._write, doing, lambda: self.is_prepared(output)):
            return False
        say(f'The prepared corpus is in {output}')
        for what, count in format.read_meta(output).summary.items():
            say(progress.shortened(f'{what}: {count:,}'))
        return True

    def _write(self, directory: pathlib.Path) -> None:
        data, source, summary = self.data, self.source, Summary()
        self._check_languages()
        checks.check_documents(source, data, self.min_documents)
        vocabulary = self.given_vocabulary or self._train_vocabulary(summary)
        if warning := vocabulary.case_warning():
            say(f'{warning} (config.data.lowercase)')
        vocabulary.save(directory)
        size, first = vocabulary.vocab_size, beginning.Beginning()
        writers = {split: format.SplitWriter(directory / split, size) for split in format.SPLITS}
        short, parts = self._tokenize(writers, vocabulary, summary, first)
        identity.check_unchanged(data, source, self.eval_source)
        hashes = {split: writer.close() for split, writer in writers.items()}
        counts = {split: writer.counts() for split, writer in writers.items()}
        if not counts['train'].documents:
            self._refuse_empty('train on', summary)
        if data.holdout or self.eval_source is not None:
            for split, writer in writers.items():
                format.check_documents(split, writer.usable, self.min_documents)
        documents = sum(split.documents for split in counts.values())
        if short > SHORT_SHARE * documents:
            say(
                f'documents of fewer than {SHORT} tokens, which fill few rows: {short:,} of '
                f'{documents:,}. Check what ends a document in this text (config.data.documents)'
            )
        unk = vocabulary.special_pieces.unk
        unknown = sum(int(w.histogram[vocabulary.specials.unk]) for w in writers.values())
        summary.count(f'{unknown_text.WORDS}{unk}', number=unknown)
        if warning := unknown_text.check(summary, data.vocab_file, vocabulary):
            say(warning)
        meta = format.StoreMeta(
            version=format.VERSION,
            fingerprint=identity.hash_json([hashes, identity.hashes(vocabulary.files)]),
            vocab_size=vocabulary.vocab_size,
            lowercase=vocabulary.lowercase,
            token_dtype=str(format.token_dtype(vocabulary.vocab_size)),
            counts=counts,
            unigram_entropy=format.unigram_entropy(writers['train'].histogram),
            made_from=self.made_from,
            summary=summary.lines(),
            parts=parts,
            unknown_share=summary.lost_share,
            beginning=str(first),
        )
        format.write_meta(directory, meta)
        counted = baselines.count(directory) if counts['eval'].documents else {}
        format.write_meta(directory, dataclasses.replace(meta, baselines=counted))

    def _tokenize(
        self,
        writers: Mapping[str, format.SplitWriter],
        vocabulary: tokenizer.Tokenizer,
        summary: Summary,
        first: beginning.Beginning,
    ) -> tuple[int, dict[str, dict[str, int]]]:
        """Writes the documents of all parts to the splits, and adds them to `first`. Returns the
        number of short documents and, for each part with a name, its documents by split."""
        data, held_out = self.data, self.eval_source
        short, parts = 0, dict[str, dict[str, int]]()
        looked = False
        wanted = [(name, part, 'train') for name, part in self.source.by_name.items()]
        for name, part, split in wanted + ([('', held_out, 'eval')] if held_out else []):
            before = {split: writer.documents for split, writer in writers.items()}
            documents = progress.tracked(part.read(summary), 'tokenizing', summary, part.size)
            for document, ids in self._tokenized(name, documents, vocabulary, summary):
                if split == 'train':
                    first.add(document, ids)
                short += sum(map(len, ids)) < SHORT and '-' not in name
                is_held_out = held_out is None and identity.hash_share(document) < data.holdout
                writers['eval' if is_held_out else split].add(ids)
                if not looked and summary.characters > unknown_text.EARLY:
                    looked = True
                    unknown_text.check(summary, data.vocab_file, vocabulary)
            if name:
                parts[name] = {s: w.documents - before[s] for s, w in writers.items()}
        return short, parts

    def _check_languages(self) -> None:
        """Raises ValueError for a language of the text that cannot be split or learned."""
        data = self.data
        parts = (languages.of_part(part, self.language) for part in self.source.by_name)
        for name in itertools.chain.from_iterable(parts):
            sentences.check_language(dataclasses.replace(data, language=name))
            if not data.vocab_file:
                tokenizer.check_training(data.tokenizer, data.lowercase, data.strips_accents, name)

    def _tokenized(
        self,
        name: str,
        documents: Iterator[Document],
        vocabulary: tokenizer.Tokenizer,
        summary: Summary,
    ) -> Iterator[tuple[Document, list[np.ndarray]]]:
        """The documents of a part, each with the ids of its sentences."""
        names = languages.of_part(name, self.language)
        vocabularies = [vocabulary.for_language(language) for language in names]
        seen = unknown_text.Unknown(vocabulary, summary).add
        if len(names) > 1:
            return sentences.tokenized_pairs(documents, vocabularies, summary, seen)
        data = dataclasses.replace(self.data, language=names[0])
        return sentences.tokenized(documents, data, vocabularies[0], summary, seen)

    @functools.cached_property
    def language(self) -> str:
        """The language of text that does not name one."""
        own = self.given_vocabulary.language if self.given_vocabulary else ''
        return self.data.language or own or DEFAULT_LANGUAGE

    @functools.cached_property
    def given_vocabulary(self) -> tokenizer.Tokenizer | None:
        """The vocabulary of config.data.vocab_file; None if one is trained."""
        data = self.data
        if not data.vocab_file:
            return None
        loaded = tokenizer.load(data.vocab_file, data.lowercase, data.strips_accents)
        return loaded.for_language(data.language) if data.language else loaded

    def _train_vocabulary(self, summary: Summary) -> tokenizer.Tokenizer:
        """A vocabulary trained on every n-th document, where n gives about VOCAB_CHARS of text."""
        read, data = Summary(), self.data
        texts, names, size = list[str](), list[str](), 0
        wanted = languages.vocabulary_characters(self.source.by_name, VOCAB_CHARS)
        for part, source in self.source.by_name.items():
            stride, most = max(1, round(source.characters / wanted[part])), size + wanted[part]
            documents = progress.tracked(source.read(read), 'reading text', read, source.size)
            for document in itertools.islice(documents, None, None, stride):
                texts += document
                own = languages.of_part(part, self.language)
                names += itertools.islice(itertools.cycle(own), len(document))
                size += sum(map(len, document))
                if size >= most:
                    break
            documents.close()
        summary.count('characters the vocabulary was trained on', number=size)
        if not size:
            self._refuse_empty('train a vocabulary on', read)
        beginning.long_words(texts, data)  # raises before the training, which takes long
        say(f'training a vocabulary on {size:,} characters of text')
        if warning := beginning.marks(texts, data):
            say(warning)
        kind, accents = data.tokenizer, data.strips_accents
        with working('training a vocabulary', in_files=False):
            return tokenizer.train(texts, self.vocab_size, data.lowercase, kind, accents, names)

    def _refuse_empty(self, purpose: str, read: Summary) -> NoReturn:
        raise ValueError(
            f'config.data.corpus={self.data.corpus!r} has no text to {purpose}; read and left out: '
            f'{str(read) or "nothing"}'
        )

"""The prepared corpus on disk: flat arrays of tokens and offsets, memory-mapped when read.

    store.json                  StoreMeta: sizes, the corpus and options, what was left out
    vocab.txt | tokenizer.model | ... (see data/README.md, "Vocabularies")
    train/ eval/                each with
        tokens.bin              uint16 (uint32 for a vocabulary of more than 65,536 tokens), with
                                GUARD zeros at both ends
        sentences.bin           int64[sentences + 1], the index in tokens.bin where each one starts
        documents.bin           int64[documents + 1], the first sentence of each document

A store is written to a temporary folder beside it, which is renamed when it is complete.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from etils import epath

from bert_jax.config.console import plural

VERSION = 1
META = 'store.json'
GUARD = 1024  # tokens, so that a fixed window around a sentence stays inside the array
SPLITS = ('train', 'eval')
FILES = ('*.*', '*/*.bin')  # patterns
ARRAYS = ('tokens', 'sentences', 'documents')


@dataclasses.dataclass(frozen=True)
class Counts:
    documents: int
    sentences: int
    tokens: int


@dataclasses.dataclass(frozen=True)
class StoreMeta:
    version: int
    fingerprint: str  # hash of all arrays and the vocabulary
    vocab_size: int
    lowercase: bool
    token_dtype: str
    counts: dict[str, Counts]  # per split
    unigram_entropy: float  # of the train split, in nats per token
    made_from: dict[str, Any]  # the corpus and the options of the preparation
    summary: dict[str, int]  # counts of what was read and what was left out
    # The accuracies of the baselines, see `baselines`; older stores do not have them.
    baselines: dict[str, float] = dataclasses.field(default_factory=dict)
    # The number of documents of each language or pair of languages by split, in the order in which
    # they stand in the arrays; empty for the text of one language.
    parts: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    # The share of the characters that became unknown tokens; older stores do not have it.
    unknown_share: float | None = None
    beginning: str = ''  # see `beginning.Beginning`; older stores do not have it


@dataclasses.dataclass(frozen=True)
class Store:
    """A split as memory-mapped arrays: tokens uint16|uint32[tokens + 2 GUARD], sentences
    int64[sentences + 1], documents int64[documents + 1]."""

    tokens: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray


def token_dtype(vocab_size: int) -> np.dtype:
    return np.dtype('uint16' if vocab_size <= 1 << 16 else 'uint32')


def read_meta(directory: epath.PathLike) -> StoreMeta:
    """The content of store.json. Raises ValueError if it is missing, damaged or of another
    version."""
    path = epath.Path(directory) / META
    if not path.exists():
        raise ValueError(
            f'{directory} is not a prepared store (it has no store.json); make one with '
            'bert_jax prepare'
        )
    try:
        values = json.loads(path.read_text())
        if values['version'] != VERSION:
            raise ValueError(
                f'{path} has version {values["version"]}, this code reads {VERSION}; '
                f'remove {directory} and prepare the corpus again'
            )
        values['counts'] = {split: Counts(**counts) for split, counts in values['counts'].items()}
        return StoreMeta(**values)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(
            f'{path} is damaged ({error}); remove {directory} and prepare the corpus again'
        ) from error


def check(directory: epath.PathLike, split: str) -> dict[str, str]:
    """The dtypes of a split's arrays. Raises ValueError if a file is missing or does not have the
    length that store.json gives."""
    directory = epath.Path(directory)
    meta = read_meta(directory)
    counts = meta.counts[split]
    sizes = {
        'tokens': (meta.token_dtype, counts.tokens + 2 * GUARD),
        'sentences': ('int64', counts.sentences + 1),
        'documents': ('int64', counts.documents + 1),
    }
    for name, (dtype, size) in sizes.items():
        path = directory / split / f'{name}.bin'
        expected = size * np.dtype(dtype).itemsize
        found = path.stat().length if path.exists() else 'no file'
        if found != expected:
            raise ValueError(
                f'{path}: expected {expected} bytes, found {found}; remove {directory} and '
                'prepare the corpus again'
            )
    return {name: dtype for name, (dtype, _) in sizes.items()}


def check_documents(split: str, usable: int, needed: int) -> None:
    """Raises ValueError if a split has fewer than `needed` documents of two tokens or more."""
    if usable < needed:
        documents = plural(needed, 'document')
        raise ValueError(
            f'{purpose(needed)} needs at least {documents} of two tokens or more in each '
            f'split; {split} has {usable}. Give more text, or change what separates documents '
            '(config.data.documents) or how many are held out (config.data.holdout)'
        )


def purpose(needed: int) -> str:
    """The name, for messages, of what needs this number of documents."""
    return 'an objective with pairs of texts' if needed > 1 else 'pretraining'


def open_store(directory: str | pathlib.Path, split: str) -> Store:
    """A split of a store. Raises ValueError as `check` does."""
    folder = pathlib.Path(directory) / split
    dtypes = check(directory, split)
    return Store(**{n: np.memmap(folder / f'{n}.bin', d, mode='r') for n, d in dtypes.items()})


def open_parts(directory: str | pathlib.Path, split: str) -> dict[str, Store]:
    """The parts of a split by name. If it has no parts, the split itself has the name ''.

    The tokens of all parts are one array. Raises ValueError as `check` does.
    """
    store, first = open_store(directory, split), 0
    parts = {}
    for name, counts in read_meta(directory).parts.items():
        documents = store.documents[first : first + counts[split] + 1]
        begin, end = int(documents[0]), int(documents[-1])
        parts[name] = Store(store.tokens, store.sentences[begin : end + 1], documents - begin)
        first += counts[split]
    return parts or {'': store}


class SplitWriter:
    """Writes the files of a split, a document at a time."""

    def __init__(self, directory: pathlib.Path, vocab_size: int):
        directory.mkdir(parents=True)
        self.dtype = token_dtype(vocab_size)
        self.tokens = self.sentences = self.documents = 0
        self.usable = 0  # documents of two tokens or more
        self.histogram = np.zeros(vocab_size, np.int64)
        self._files: dict[str, BinaryIO] = {n: (directory / f'{n}.bin').open('wb') for n in ARRAYS}
        self._hashes = {name: hashlib.sha256() for name in ARRAYS}
        self._write('tokens', np.zeros(GUARD, self.dtype))

    def _write(self, name: str, array: np.ndarray) -> None:
        data = array.tobytes()
        self._files[name].write(data)
        self._hashes[name].update(data)

    def add(self, sentences: Sequence[np.ndarray]) -> None:
        """Appends a document, given the token ids of its sentences, none of which is empty."""
        ids = np.concatenate(sentences)
        lengths = np.array([len(sentence) for sentence in sentences])
        starts = GUARD + self.tokens + np.cumsum(lengths) - lengths
        self._write('documents', np.array([self.sentences], np.int64))
        self._write('sentences', starts.astype(np.int64))
        self._write('tokens', ids.astype(self.dtype))
        np.add.at(self.histogram, ids, 1)  # bincount would take time for the whole vocabulary
        self.tokens += len(ids)
        self.sentences += len(sentences)
        self.documents += 1
        self.usable += len(ids) > 1

    def close(self) -> str:
        """Completes the files and returns the hashes of their content."""
        self._write('sentences', np.array([GUARD + self.tokens], np.int64))
        self._write('documents', np.array([self.sentences], np.int64))
        self._write('tokens', np.zeros(GUARD, self.dtype))
        for file in self._files.values():
            file.close()
        return ' '.join(digest.hexdigest() for digest in self._hashes.values())

    def counts(self) -> Counts:
        return Counts(self.documents, self.sentences, self.tokens)


def unigram_entropy(histogram: np.ndarray) -> float:
    """The loss, in nats per token, of a model that knows only the frequencies of the tokens.

    histogram: int64[vocab], the count of each token.
    """
    p = histogram[histogram > 0] / max(histogram.sum(), 1)
    return float(-(p * np.log(p)).sum())


def write_meta(directory: pathlib.Path, meta: StoreMeta) -> None:
    (directory / META).write_text(json.dumps(dataclasses.asdict(meta), indent=2) + '\n')

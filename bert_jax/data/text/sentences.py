"""Documents as token ids: they are split into sentences, which are encoded on all cores.

Prose is split by sentencex (Wikimedia's rules for some 250 languages), which is written in Rust. It
splits 50 MB a second on one core, ten times as much as the tokenizer encodes on two, so it needs no
pool of processes. Its time grows with the square of the length of a paragraph, and it does not
split after a quotation mark that is never closed, so very long lines are cut first.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import sentencex

from bert_jax.config import DataConfig
from bert_jax.data.summary import Document, Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer

MAX_LINE = 1 << 16  # characters
MAX_SENTENCE = 512  # tokens; longer ones are cut, so that no chunk is much longer than a row
BATCH_CHARS = 1 << 20  # characters that are split and encoded together; this limits the memory
T = TypeVar('T')
LANGUAGE = re.compile(r'[a-z]{2,3}(-[a-z]+)*')


def check_language(data: DataConfig) -> None:
    """Raises ValueError if the language does not have the form of an ISO 639 code."""
    if data.sentences == 'split' and not LANGUAGE.fullmatch(data.language):
        raise ValueError(
            f'config.data.language is {data.language!r}; expected an ISO 639 code such as en or de'
        )


def tokenized(
    documents: Iterable[Document],
    data: DataConfig,
    vocabulary: Tokenizer,
    summary: Summary,
    seen: Callable[[str, np.ndarray], None] = lambda *_: None,
) -> Iterator[tuple[Document, list[np.ndarray]]]:
    """Each document that has text, in order, with its sentences' ids, int32[tokens] each.

    `summary` counts what is cut or left out. seen: receives each sentence and its ids.
    """
    for batch in _batches(documents, lambda document: sum(map(len, document))):
        space = vocabulary.space
        texts = [list(_sentences(document, data, summary, space)) for document in batch]
        encoded = _encoded(itertools.chain.from_iterable(texts), vocabulary)
        for document, sentences in zip(batch, texts, strict=True):
            ids = list[np.ndarray]()
            for text in sentences:
                of_text = next(encoded)
                seen(text, of_text)
                ids += _cut(of_text, text, summary)
            if len(ids) == 1:
                summary.count('documents of one sentence', repr(sentences[0][:60]))
            if ids:
                yield document, ids
            else:
                summary.count('empty documents, left out')


def tokenized_pairs(
    documents: Iterable[Document],
    vocabularies: Sequence[Tokenizer],
    summary: Summary,
    seen: Callable[[str, np.ndarray], None] = lambda *_: None,
) -> Iterator[tuple[Document, list[np.ndarray]]]:
    """Each pair of sentences with the ids of both, int32[tokens] each; vocabularies: one for each
    side. `summary` counts the pairs that are left out. seen: receives each sentence and its ids."""
    for batch in _batches(documents, lambda pair: sum(map(len, pair))):
        one, other = (
            _encoded([pair[side] for pair in batch], vocabulary)
            for side, vocabulary in enumerate(vocabularies)
        )
        for pair, *ids in zip(batch, one, other, strict=True):
            for text, of_text in zip(pair, ids, strict=True):
                seen(text, of_text)
            if not all(map(len, ids)):
                summary.count('pairs with a sentence without a token, left out', repr(pair[0][:40]))
            elif max(map(len, ids)) > MAX_SENTENCE:
                what = f'pairs with a sentence over {MAX_SENTENCE} tokens, left out'
                summary.count(what, repr(pair[0][:40]))
            else:
                yield pair, ids


def _sentences(
    document: Document, data: DataConfig, summary: Summary, space: str = ''
) -> Iterator[str]:
    """The sentences of a document. space: see `Tokenizer`; sentences that follow a space in their
    line begin with it."""
    for line in document:
        if len(line) > MAX_LINE:
            summary.count(f'lines over {MAX_LINE:,} characters, cut', repr(line[:60]))
        for part in _parts(line):
            if data.sentences == 'line':
                yield part
            else:
                end = ''
                for sentence in sentencex.segment(data.language, part):
                    follows = end.isspace() or (end and sentence[:1].isspace())
                    if text := sentence.strip():
                        yield space + text if follows else text
                    end = sentence[-1:]


def _parts(line: str) -> Iterator[str]:
    """Parts of a line of at most MAX_LINE characters each, cut between words if possible."""
    while len(line) > MAX_LINE:
        end = line.rfind(' ', MAX_LINE // 2, MAX_LINE) + 1 or MAX_LINE
        yield line[:end].strip()
        line = line[end:]
    yield line


def _encoded(texts: Iterable[str], vocabulary: Tokenizer) -> Iterator[np.ndarray]:
    for batch in _batches(texts, len):
        yield from (np.array(ids, np.int32) for ids in vocabulary.encode_batch(batch))


def _cut(ids: np.ndarray, text: str, summary: Summary) -> list[np.ndarray]:
    """Pieces of at most MAX_SENTENCE tokens; no piece for a sentence without tokens."""
    if not len(ids):
        summary.count('sentences without a token, left out', repr(text[:40]))
    if len(ids) > MAX_SENTENCE:
        summary.count(f'sentences over {MAX_SENTENCE} tokens, cut', repr(text[:60]))
    return [ids[i : i + MAX_SENTENCE] for i in range(0, len(ids), MAX_SENTENCE)]


def _batches(items: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in lists of about BATCH_CHARS characters."""
    batch: list[T] = []
    total = 0
    for item in items:
        batch.append(item)
        total += size(item)
        if total >= BATCH_CHARS:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch

"""Checks of the beginning of a corpus. They come before its preparation, which may take hours."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from bert_jax.config import DataConfig
from bert_jax.data.store.unknown_text import EARLY, TOO_LONG, check_marks, judged
from bert_jax.data.summary import Document, Summary
from bert_jax.data.tokenizers import wordpiece_vocabulary

SHOWN = ('files with ', 'text files ', 'lines of invalid UTF-8')  # counts that --check prints


class Beginning:
    """A hash of the token ids of the first documents of a corpus, with EARLY characters or more.

    If it differs between two corpora that were tokenized in the same way, their stores differ.
    """

    def __init__(self) -> None:
        self._hash, self._characters = hashlib.sha256(), 0

    @property
    def is_complete(self) -> bool:
        """True once the hash covers enough text. From then on, `add` ignores further documents."""
        return self._characters >= EARLY

    def add(self, document: Document, ids: Sequence[np.ndarray]) -> bool:
        """Adds a document, unless the hash is complete. Returns whether it is complete now."""
        if not self.is_complete:
            self._characters += sum(map(len, document))
            for sentence in ids:
                self._hash.update(np.append(sentence, -1).astype('<i4').tobytes())
        return self.is_complete

    def __str__(self) -> str:
        return self._hash.hexdigest()[:16]


def first_lines(documents: Iterable[Document]) -> list[str]:
    """The lines of the first documents, with EARLY characters or more."""
    lines, characters = list[str](), 0
    for document in documents:
        lines += document
        characters += sum(map(len, document))
        if characters >= EARLY:
            break
    return lines


def long_words(lines: Sequence[str], data: DataConfig) -> str:
    """A warning if a vocabulary trained on the text would lose a part of it, because its words are
    too long for WordPiece; otherwise ''. Raises ValueError if more than half would be lost."""
    if data.tokenizer != 'wordpiece':
        return ''
    long = [word for line in lines for word in TOO_LONG.findall(line)]
    lost = wordpiece_vocabulary.undivided(long, data.lowercase, data.strips_accents) if long else 0
    characters = sum(len(line) - line.count(' ') for line in lines)
    return judged(lost / max(characters, 1), '', None, in_long_words=True)


def marks(lines: Iterable[str], data: DataConfig) -> str:
    """The warning of `check_marks`, if a trained vocabulary removes accents; otherwise ''."""
    strips = data.lowercase if data.strips_accents is None else data.strips_accents
    return check_marks(lines) if strips and data.tokenizer == 'wordpiece' else ''


def file_counts(summary: Summary) -> list[str]:
    """The counts of a summary that are about the kinds of files in a corpus."""
    return [what for what in summary.lines() if what.startswith(SHOWN)]

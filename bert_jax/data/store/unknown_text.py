"""The share of a text that is lost: it becomes the unknown token, or its marks are removed."""

import collections
import re
import unicodedata
from collections.abc import Iterable

import numpy as np

from bert_jax.data.store.format import StoreMeta
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.base import Tokenizer
from bert_jax.data.tokenizers.specials import BERT
from bert_jax.data.tokenizers.wordpiece_vocabulary import LONGEST

REFUSED, REPORTED = 0.5, 0.05  # shares of the characters
# The first check comes after this many characters, so that a wrong vocabulary is found early.
EARLY = 1 << 20
TOO_LONG = re.compile(rf'\S{{{LONGEST + 1},}}')
WORDS = 'words outside the vocabulary, read as '  # the count in a store's summary
LAST_ARABIC = '\u08ff'  # the last character of the Arabic blocks
MARKS = re.compile('^##|▁|</w>')  # the marks of words in the tokens of several kinds


class Unknown:
    """Counts in `summary` how many characters of a text become unknown tokens."""

    def __init__(self, vocabulary: Tokenizer, summary: Summary):
        self._unk, self._summary = vocabulary.specials.unk, summary
        self._lengths = np.array([len(MARKS.sub('', piece)) for piece in vocabulary.pieces])
        self._lengths[self._unk] = 0

    def add(self, text: str, ids: np.ndarray) -> None:
        """Counts a sentence. Its lost characters are those that are in no known token."""
        characters = len(text) - text.count(' ')
        self._summary.characters += characters
        if self._unk in ids:
            lost = max(characters - int(self._lengths[ids].sum()), 0)
            long = sum(map(len, TOO_LONG.findall(text)))
            self._summary.lost += lost
            self._summary.lost_in_long_words += min(lost, long)


def check(summary: Summary, vocab_file: str, vocabulary: Tokenizer) -> str:
    """A warning if a part of the text becomes unknown tokens; otherwise ''.

    vocab_file: the vocabulary that the user gives; '' if it was trained on the text. Raises
    ValueError if more than half of the text is lost.
    """
    given = f'the vocabulary {vocab_file}' if vocab_file else ''
    in_long_words = summary.lost_in_long_words > summary.lost / 2
    return judged(summary.lost_share, given, vocabulary, in_long_words)


def check_store(meta: StoreMeta, vocabulary: Tokenizer) -> str:
    """Returns the warning of `check` for a prepared store, and raises the same error."""
    share = meta.unknown_share
    if share is None:  # a store of an older version, which counted tokens instead of characters
        count = sum(n for what, n in meta.summary.items() if what.startswith(WORDS))
        share = count / max(sum(counts.tokens for counts in meta.counts.values()), 1)
    given = '' if isinstance(meta.made_from.get('vocabulary'), int) else 'the vocabulary'
    return judged(share, given, vocabulary, in_long_words=False)


def judged(share: float, given: str, vocabulary: Tokenizer | None, in_long_words: bool) -> str:
    """Returns a warning for a share of lost text; '' if the share is small. Raises ValueError if it
    is large.

    given: the name of the vocabulary, if it was not trained on the text, otherwise ''. vocabulary:
    None if it has yet to be trained.
    """
    if share < REPORTED:
        return ''
    unk = vocabulary.special_pieces.unk if vocabulary else BERT.unk
    line = f'{share:.0%} of the characters of the text are in words that become {unk}, '
    if in_long_words or not given:
        instead = f' instead of {given}' if given else ''
        line += (
            f'because they are longer than {LONGEST} characters. Use a kind of vocabulary that '
            'divides every text: --tokenizer=sentencepiece or byte_bpe (config.data.tokenizer)'
            f'{instead}, or put spaces between the words, or between the characters'
        )
    elif vocabulary and not _divides_words(vocabulary):
        line += (
            f'because {given} has no tokens for the inside of words (##...), so it was made for '
            'another tokenizer. Put spaces between the tokens of the text, as that tokenizer does, '
            'or leave the vocabulary out, so that one is trained on the text'
        )
    else:
        line += (
            f'because {given} does not have their characters. Leave it out, so that a '
            'vocabulary is trained on the text, or give one of this language and script'
        )
    if share > REFUSED:
        raise ValueError(f'{line}. A model cannot learn this text')
    return line


def _divides_words(vocabulary: Tokenizer) -> bool:
    """Returns whether the vocabulary can divide a word into several tokens."""
    return vocabulary.kind != 'wordpiece' or bool(vocabulary.is_continuation.any())


def check_marks(lines: Iterable[str]) -> str:
    """A warning if the removal of accents takes away a part of the text; otherwise ''.

    Marks of the Latin, Greek, Cyrillic, Hebrew and Arabic scripts do not count. In the scripts
    after them in Unicode, such as Devanagari, Thai and kana, marks are vowels or change letters.
    """
    counts, total = collections.Counter[str](), 0
    for line in lines:
        total += len(line)
        if not line.isascii():
            counts.update(line)
    marked = {char: n for char, n in counts.items() if _has_mark(char)}
    share = sum(marked.values()) / max(total, 1)
    if share < REPORTED:
        return ''
    most = max(marked, key=marked.__getitem__)
    return (
        f'{share:.0%} of the characters of the text have marks, such as {most!r}, that are removed '
        'because the text is lowercased; in their script they are vowels or parts of letters. To '
        'keep them: --config.data.strip_accents=false (of prepare: --strip_accents=false)'
    )


def _has_mark(char: str) -> bool:
    parts = unicodedata.normalize('NFD', char)
    return any(unicodedata.category(part) == 'Mn' and part > LAST_ARABIC for part in parts)

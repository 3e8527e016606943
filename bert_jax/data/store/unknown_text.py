"""The share of a text that becomes the unknown token, from which a model learns nothing."""

import re

import numpy as np

from bert_jax.data.store.format import StoreMeta
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.base import Tokenizer

REFUSED, REPORTED = 0.5, 0.05  # shares of the characters
# The first check comes after this many characters, so that a wrong vocabulary is found early.
EARLY = 1 << 20
LONGEST = 100  # characters of the longest word that WordPiece divides
TOO_LONG = re.compile(rf'\S{{{LONGEST + 1},}}')
WORDS = 'words outside the vocabulary, read as '  # the count in a store's summary
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


def check(summary: Summary, vocab_file: str, unk: str) -> str:
    """A warning if a part of the text becomes unknown tokens; otherwise ''.

    vocab_file: the vocabulary that the user gives; '' if it was trained on the text. Raises
    ValueError if more than half of the text is lost.
    """
    given = f'config.data.vocab_file={vocab_file}' if vocab_file else ''
    in_long_words = summary.lost_in_long_words > summary.lost / 2
    return judged(summary.lost_share, given, unk, in_long_words)


def check_store(meta: StoreMeta, unk: str) -> str:
    """Returns the warning of `check` for a prepared store, and raises the same error."""
    share = meta.unknown_share
    if share is None:  # a store of an older version, which counted tokens instead of characters
        count = sum(n for what, n in meta.summary.items() if what.startswith(WORDS))
        share = count / max(sum(counts.tokens for counts in meta.counts.values()), 1)
    given = '' if isinstance(meta.made_from.get('vocabulary'), int) else 'the vocabulary'
    return judged(share, given, unk, in_long_words=False)


def judged(share: float, vocabulary: str, unk: str, in_long_words: bool) -> str:
    """Returns a warning for a share of lost text; '' if the share is small. Raises ValueError if it
    is large.

    vocabulary: the name of a vocabulary that was not trained on the text, otherwise ''.
    """
    if share < REPORTED:
        return ''
    line = f'{share:.0%} of the characters of the text are in words that become {unk}, '
    other = 'Use a kind that divides every text: --tokenizer=sentencepiece or byte_bpe'
    keys = ' (config.data.tokenizer)'
    if in_long_words:
        line += f'because they are longer than {LONGEST} characters. {other}{keys}'
        if vocabulary:
            line += f' instead of {vocabulary}'
        line += ', or put spaces between the words, or between the characters'
    elif vocabulary:
        line += (
            f'because {vocabulary} does not have their characters. Leave it out, so that a '
            'vocabulary is trained on the text, or give one of this language and script'
        )
    else:
        line += (
            f'as WordPiece does with words of more than {LONGEST} characters. {other}{keys}, or '
            'put spaces between the words'
        )
    if share > REFUSED:
        raise ValueError(f'{line}. A model cannot learn this text')
    return line

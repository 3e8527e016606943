"""Splits text into words with the rules of Moses, for XLM and FlauBERT.

See facebookresearch/XLM, tools/tokenize.sh and tools/lowercase_and_remove_accent.py, and
getalp/Flaubert, tools/tokenize.sh. The rules are in the library `sacremoses`. It is written in
Python and splits about 40,000 words a second, so several processes work on long batches. Such a
process imports this module and its parent packages, and no other module of bert_jax.
"""

import dataclasses
import functools
import unicodedata
from collections.abc import Sequence
from typing import Any

PARALLEL_CHARS = 200_000  # a batch of more characters is split in several processes
BATCH = 100  # the number of texts that a process receives at once
# XLM splits these languages with other programs, or changes the letters of their text.
OTHER_RULES = ('zh', 'ja', 'th', 'ro')


@dataclasses.dataclass(frozen=True)
class Rules:
    """The rules by which a text is split into words.

    kind: 'xlm_bpe' or 'flaubert_bpe'. lowercase: whether text is lowercased; If it is, XLM also
    removes accents, and FlauBERT does not. language: an ISO 639 code.
    """

    kind: str
    lowercase: bool
    language: str = 'en'

    def __post_init__(self) -> None:
        """Raises ValueError for a language with other rules, or if sacremoses is missing."""
        if self.language in OTHER_RULES:
            raise ValueError(
                f'config.data.language is {self.language!r}, for which XLM needs other programs '
                f'than Moses; bert_jax has no XLM vocabularies for {", ".join(OTHER_RULES)}'
            )
        _moses(self.language)

    def words(self, text: str) -> list[str]:
        """The words of a text; they contain no white space."""
        normalize, tokenize = _moses(self.language)
        if self.kind == 'flaubert_bpe':
            text = text.replace('``', '"').replace("''", '"')
            text = unicodedata.normalize('NFC', text)
            text = text.lower() if self.lowercase else text
        text = ''.join(char for char in normalize(text) if unicodedata.category(char)[0] != 'C')
        words = tokenize(text, return_str=False, escape=False)
        if self.kind == 'xlm_bpe' and self.lowercase:
            plain = unicodedata.normalize('NFD', ' '.join(words).lower())
            words = ''.join(c for c in plain if unicodedata.category(c) != 'Mn').lower().split(' ')
        return [word for word in words if word]


@functools.cache
def _moses(language: str) -> tuple[Any, Any]:
    """The functions of sacremoses that normalize punctuation and that split text."""
    try:
        import sacremoses
    except ImportError as error:
        raise ValueError(
            'the vocabularies of XLM and FlauBERT need the package sacremoses: '
            'pip install sacremoses'
        ) from error
    normalizer = sacremoses.MosesPunctNormalizer(language, pre_replace_unicode_punct=True)
    return normalizer.normalize, sacremoses.MosesTokenizer(lang=language).tokenize


def split(texts: Sequence[str], rules: Rules) -> list[str]:
    """The words of each text, joined by spaces, computed on all cores if it takes long."""
    if sum(map(len, texts)) < PARALLEL_CHARS:
        return [_joined(text, rules) for text in texts]
    import joblib  # sacremoses needs it, too

    run = joblib.Parallel(n_jobs=-1, batch_size=BATCH)
    return run(joblib.delayed(_joined)(text, rules) for text in texts)


def _joined(text: str, rules: Rules) -> str:
    return ' '.join(rules.words(text))

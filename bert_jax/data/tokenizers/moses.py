"""Splits text into words with the rules of Moses, for XLM and FlauBERT.

See facebookresearch/XLM, tools/tokenize.sh and tools/lowercase_and_remove_accent.py, and
getalp/Flaubert, tools/tokenize.sh. The rules are in the library `sacremoses`. It is written in
Python and splits about 40,000 words a second, so several processes work on long batches. Such a
process runs this file as a script, which reads and writes JSON and imports nothing else from
bert_jax.
"""

import dataclasses
import functools
import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PARALLEL_CHARS = 200_000  # a batch of more characters is split in several processes
# Moses' replace-unicode-punctuation.perl.
WIDE = dict(zip('，、：？）！（；１０３２５６９７８４～％∶', ',,:?)!(;1032569784~%:', strict=True))
QUOTES = {**dict.fromkeys('”“《》」「', '"'), '’': "'", '…': '...', '━': '-'}
BRACKETS = {'〈': '<', '〉': '>', '【': '[', '】': ']'}
PUNCTUATION = str.maketrans(WIDE | QUOTES | BRACKETS)
FULL_STOP = re.compile(r'[。．]\s*')
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
        text = normalize(FULL_STOP.sub('. ', text.translate(PUNCTUATION)))
        text = ''.join(char for char in text if not unicodedata.category(char).startswith('C'))
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
    normalizer = sacremoses.MosesPunctNormalizer(lang=language)
    return normalizer.normalize, sacremoses.MosesTokenizer(lang=language).tokenize


def split(texts: Sequence[str], rules: Rules) -> list[str]:
    """The words of each text, joined by spaces, computed on all cores if it takes long."""
    processes = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 1
    if sum(map(len, texts)) < PARALLEL_CHARS or processes < 2:
        return [' '.join(rules.words(text)) for text in texts]
    size = -(-len(texts) // processes)
    parts = [texts[i : i + size] for i in range(0, len(texts), size)]
    with ThreadPoolExecutor(processes) as pool:
        found = pool.map(functools.partial(_split_in_process, rules=rules), parts)
        return [words for part in found for words in part]


def _split_in_process(texts: Sequence[str], rules: Rules) -> list[str]:
    done = subprocess.run(
        [sys.executable, '-P', __file__],
        input=json.dumps([dataclasses.asdict(rules), list(texts)]),
        env=os.environ | {'PYTHONPATH': os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f'a process that splits text into words failed:\n{done.stderr[-2000:]}')
    return json.loads(done.stdout)


if __name__ == '__main__':
    options, given = json.load(sys.stdin)
    print(json.dumps([' '.join(Rules(**options).words(text)) for text in given]))

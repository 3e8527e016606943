"""Made-up prose for stores, and the content of a store."""

import functools
import json

import numpy as np

from bert_jax.data.tokenizers import tokenizer

LETTERS = [chr(c) for c in range(33, 127)]
WORDS = ['many', 'words', 'in', 'line']
PIECES = [*tokenizer.SPECIALS, *LETTERS, *('##' + c for c in LETTERS), *WORDS]


@functools.lru_cache(1 << 20)
def _word(rank):
    syllables = [a + b for a in 'bcdfglmnprst' for b in ('a', 'e', 'io', 'un')]
    return syllables[rank % 48] + (_word(rank // 48) if rank >= 48 else '')


def prose(characters, seed=0):
    """Documents of ten sentences. The words follow Zipf's law, so new words occur until the end."""
    rng = np.random.default_rng(seed)
    size = 0
    while size < characters:
        text = [_word(rank) for rank in np.minimum(rng.zipf(1.3, 120), 1 << 20).tolist()]
        sentences = [' '.join(text[i : i + 12]).capitalize() + '.' for i in range(0, 120, 12)]
        document = ' '.join(sentences[:5]) + '\n' + ' '.join(sentences[5:])
        size += len(document)
        yield document


def write_prose(path, characters):
    with path.open('w') as file:
        for document in prose(characters):
            file.write(document + '\n\n')
    return path


def content(directory):
    """The content of each file of a store; store.json without the keys that name the source."""
    files = {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob('*'))
        if path.is_file() and path.name != 'store.json'
    }
    meta = json.loads((directory / 'store.json').read_text())
    return files, {key: meta[key] for key in ('fingerprint', 'counts', 'unigram_entropy')}

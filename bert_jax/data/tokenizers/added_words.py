"""Adds words to a vocabulary, for text with special words (config.data.add_tokens)."""

import pathlib

from bert_jax.data.tokenizers import tokenizer

FILE = 'vocab.txt'


def read(value: str) -> list[str]:
    """The words of config.data.add_tokens: a file with a word on each line, or words between
    commas. Raises ValueError if there are none."""
    path = pathlib.Path(value).expanduser()
    parts = path.read_text('utf-8').split('\n') if path.is_file() else value.split(',')
    words = list(dict.fromkeys(word.strip() for word in parts if word.strip()))
    if not words:
        raise ValueError(f'config.data.add_tokens={value} has no words')
    return words


def pieces(vocabulary: tokenizer.Tokenizer, words: list[str]) -> list[list[int]]:
    """The ids of the pieces into which the vocabulary splits each word before it is added. Raises
    ValueError if a word cannot be added."""
    if FILE not in vocabulary.files:
        known = ', '.join(vocabulary.files)
        raise ValueError(
            f'config.data.add_tokens works with a WordPiece vocabulary ({FILE}); this is {known}'
        )
    ids = vocabulary.encode_batch(words)
    for word, old in zip(words, ids, strict=True):
        if len(old) == 1 and old != [vocabulary.specials.unk]:
            raise ValueError(f'config.data.add_tokens: {word!r} is in the vocabulary already')
        if vocabulary.lowercase and word != word.lower():
            raise ValueError(
                f'config.data.add_tokens: {word!r} has capital letters, but text is lowercased'
            )
    return ids


def save(vocabulary: tokenizer.Tokenizer, words: list[str], folder: pathlib.Path) -> None:
    """Writes the vocabulary with the words at its end. Raises ValueError if a word would never be
    one token, because text is split at spaces and punctuation first."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary.save(folder)
    lines = vocabulary.files[FILE].removesuffix(b'\n') + b'\n'
    (folder / FILE).write_bytes(lines + ''.join(f'{word}\n' for word in words).encode())
    larger = tokenizer.load(folder, vocabulary.lowercase, vocabulary.strip_accents)
    for i, (word, ids) in enumerate(zip(words, larger.encode_batch(words), strict=True)):
        if ids != [vocabulary.vocab_size + i]:
            raise ValueError(
                f'config.data.add_tokens: {word!r} cannot be one token, because text is split at '
                'spaces, punctuation and accents first'
            )

"""Loads and trains tokenizers. All kinds of vocabularies have one interface, `Tokenizer`."""

import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from etils import epath

from bert_jax.data.tokenizers import (
    added_tokens,
    byte_bpe,
    fairseq_sentencepiece,
    moses,
    sentencepiece_model,
    tokenizer_json,
    word_bpe,
    wordpiece_vocabulary,
)
from bert_jax.data.tokenizers.base import MARKER
from bert_jax.data.tokenizers.base import Tokenizer as Tokenizer
from bert_jax.data.tokenizers.byte_bpe import ByteBPE as ByteBPE
from bert_jax.data.tokenizers.sentencepiece_model import SentencePiece as SentencePiece
from bert_jax.data.tokenizers.specials import BERT
from bert_jax.data.tokenizers.wordpiece_vocabulary import WordPiece as WordPiece

# The kinds that the file MARKER in a folder may name, and the functions that read such a folder.
# The options in the file are their other arguments.
KINDS: dict[str, Callable[..., Tokenizer]] = {
    'wordpiece': lambda folder, **options: wordpiece_vocabulary.read(
        folder / wordpiece_vocabulary.VOCABULARY, **options
    ),
    'sentencepiece': sentencepiece_model.read_folder,
    'byte_bpe': byte_bpe.read,
    **{kind: functools.partial(word_bpe.read, kind=kind) for kind in word_bpe.KINDS},
    **{
        kind: functools.partial(fairseq_sentencepiece.read, kind=kind)
        for kind in fairseq_sentencepiece.FIRST
    },
    'tokenizer_json': tokenizer_json.read,
    added_tokens.KIND: lambda folder, **options: added_tokens.read(folder, KINDS, **options),
}
# The names that the vocabulary file of a folder without MARKER may have, and their readers. The
# first file that exists is read.
READERS: dict[str, Callable[[epath.Path, bool, bool | None], Tokenizer]] = {
    'vocab.txt': wordpiece_vocabulary.read,
    'tokenizer.model': sentencepiece_model.read,
    'spiece.model': sentencepiece_model.read,
    'vocab.json': lambda path, lowercase, _: byte_bpe.read(path.parent, lowercase=lowercase),
    'tokenizer.json': lambda path, *_: tokenizer_json.read(path.parent),
}
FILES = (*READERS, byte_bpe.MERGES, MARKER)  # all files that a vocabulary may have
# The functions that train a vocabulary, by the value of config.data.tokenizer.
TRAINERS: dict[str, Callable[..., Tokenizer]] = {
    'wordpiece': wordpiece_vocabulary.train,
    'byte_bpe': byte_bpe.train,
    'sentencepiece': sentencepiece_model.train,
    **{kind: functools.partial(word_bpe.train, kind=kind) for kind in word_bpe.KINDS},
}
SPECIALS = BERT.all()
# Longer words are cut before a vocabulary is trained, because the time grows with the square of a
# word's length.
LONG_WORD = re.compile(r'(\S{1000})(?=\S)')


def find(directory: epath.PathLike) -> epath.Path | None:
    """The file of a folder that says which vocabulary it has, None if there is none."""
    paths = [epath.Path(directory) / name for name in (MARKER, *READERS)]
    return next((path for path in paths if path.exists()), None)


def load(
    path: epath.PathLike, lowercase: bool = True, strip_accents: bool | None = None
) -> Tokenizer:
    """The vocabulary in a file or in a folder, both local or behind a URL.

    A file of another name than FILES is a SentencePiece model if it ends in .model, and a list of
    WordPiece tokens otherwise. lowercase, strip_accents: whether text is lowercased and accents are
    removed, if the vocabulary does not say it itself (in its file MARKER). Raises ValueError if
    there is no vocabulary, if it lacks a special token, or if it has nothing else.
    """
    loaded = _load(epath.Path(path), lowercase, strip_accents)
    if not len(loaded.ordinary_ids):
        raise ValueError(f'vocabulary {path} has no tokens besides the special ones')
    return loaded


def _load(path: epath.Path, lowercase: bool, strip_accents: bool | None) -> Tokenizer:
    file = find(path) if path.is_dir() else path
    if file is None:
        *others, last = READERS
        raise ValueError(f'{path} has no {", ".join(others)} or {last}')
    if not file.exists():
        raise ValueError(f'vocabulary {file} does not exist')
    stated = file.parent / MARKER
    if file.name in FILES and stated.exists():
        return _load_stated(stated)
    if file.name == byte_bpe.MERGES:
        file = file.parent / byte_bpe.VOCABULARY
    default = sentencepiece_model.read if file.suffix == '.model' else wordpiece_vocabulary.read
    return READERS.get(file.name, default)(file, lowercase, strip_accents)


def _load_stated(path: epath.Path) -> Tokenizer:
    """The vocabulary in the folder of the file MARKER."""
    try:
        options: dict[str, Any] = json.loads(path.read_text('utf-8'))
        kind = options.pop('kind')
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{path} does not describe a vocabulary ({error!r})') from error
    if kind not in KINDS:
        raise ValueError(f'{path}: kind is {kind!r}, expected one of {", ".join(KINDS)}')
    try:
        return KINDS[kind](path.parent, **options)
    except TypeError as error:
        raise ValueError(f'{path} has a wrong option ({error})') from error


def check_training(
    kind: str, lowercase: bool, strip_accents: bool | None = None, language: str = 'en'
) -> None:
    """Raises ValueError if no vocabulary can be trained with these options, before text is read."""
    if kind in ('byte_bpe', *word_bpe.KINDS):
        byte_bpe.check_accents(kind, lowercase, strip_accents)
    if kind in word_bpe.KINDS:
        moses.Rules(kind, lowercase, 'fr' if kind == 'flaubert_bpe' else language)


def train(
    texts: Sequence[str],
    vocab_size: int,
    lowercase: bool,
    kind: str = 'wordpiece',
    strip_accents: bool | None = None,
    language: str | Sequence[str] = 'en',
) -> Tokenizer:
    """A vocabulary of at most `vocab_size` tokens that is learned from `texts`.

    kind: an entry of TRAINERS. language: the language of all texts, or of each one; only XLM's kind
    depends on it. The same texts give the same vocabulary, in the same order, in every
    process. Raises ValueError if there is no text, or if `vocab_size` is too small.
    """
    texts = [LONG_WORD.sub(r'\1 ', text) for text in texts]
    options = {'language': language} if kind in word_bpe.KINDS else {}
    return TRAINERS[kind](texts, vocab_size, lowercase, strip_accents, **options)

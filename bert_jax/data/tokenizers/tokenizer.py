"""Text to token ids, with one interface for every kind of vocabulary."""

import functools
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from etils import epath

from bert_jax.data.tokenizers import sentencepiece_model, wordpiece_vocabulary
from bert_jax.data.tokenizers.backend import Backend
from bert_jax.data.tokenizers.specials import BERT, Specials

# The files that may hold the vocabulary of a folder, the first that exists, and their readers.
READERS: dict[str, Callable[[epath.Path, bool], Backend]] = {
    wordpiece_vocabulary.FILE: wordpiece_vocabulary.read,
    sentencepiece_model.FILE: sentencepiece_model.read,
    'spiece.model': sentencepiece_model.read,
}
FILES = tuple(READERS)
SPECIALS = BERT.all()


class Tokenizer:
    """A vocabulary and the algorithm that splits text into its tokens, without special tokens.

    encode_batch, encode_offsets, decode, pieces, is_continuation, files: those of its Backend.
    specials, special_pieces: the ids and the strings of the special tokens by role. mask_markers:
    the strings that stand for the mask token in a text that a user types: the vocabulary's own and,
    for every vocabulary, BERT's. lowercase: whether text is lowercased.
    """

    def __init__(self, backend: Backend, lowercase: bool):
        self.pieces, self.lowercase = backend.pieces, lowercase
        self.vocab_size = len(self.pieces)
        self.encode_batch, self.encode_offsets = backend.encode_batch, backend.encode_offsets
        self.decode, self.files = backend.decode, backend.files
        self.is_continuation = backend.is_continuation
        self.specials = specials = backend.specials
        self.special_pieces: Specials[str] = Specials(
            **{role: self.pieces[i] for role, i in specials.by_role().items()}
        )
        self.mask_markers = tuple(dict.fromkeys((self.special_pieces.mask, BERT.mask)))
        self.pad_id, self.unk_id, self.mask_id = specials.pad, specials.unk, specials.mask
        self.cls_id, self.sep_id = specials.cls, specials.sep

    @functools.cached_property
    def ordinary_ids(self) -> np.ndarray:
        """int32[n]: the ids that may replace a masked token: no special tokens, no placeholders."""
        special = set(self.specials.all())
        return np.array(
            [
                i
                for i, piece in enumerate(self.pieces)
                if i not in special and not _is_placeholder(piece)
            ],
            np.int32,
        )

    @functools.cached_property
    def capitalised(self) -> list[str]:
        """The ordinary pieces that have capital letters."""
        ordinary = [self.pieces[i] for i in self.ordinary_ids]
        return [piece for piece in ordinary if piece != piece.lower()]

    def case_warning(self) -> str:
        """A sentence if the case of the vocabulary and `lowercase` do not fit together, or ''."""
        if self.lowercase and self.capitalised:
            return (
                f'{len(self.capitalised):,} tokens of the vocabulary have capital letters and are '
                'never used: text is lowercased'
            )
        if not self.lowercase and not self.capitalised:
            return (
                'no token of the vocabulary has a capital letter, but text is not lowercased: '
                f'capital letters become {self.special_pieces.unk}'
            )
        return ''

    def save(self, directory: pathlib.Path) -> None:
        """Writes the vocabulary. `load` reads it from the directory."""
        for name, content in self.files.items():
            (directory / name).write_bytes(content)


def _is_placeholder(piece: str) -> bool:
    return piece.startswith('[unused') or (piece.startswith('<') and piece.endswith('>'))


def find(directory: epath.PathLike) -> epath.Path | None:
    """The vocabulary file of a folder, None if there is none."""
    paths = [epath.Path(directory) / name for name in FILES]
    return next((path for path in paths if path.exists()), None)


def load(path: epath.PathLike, lowercase: bool = True) -> Tokenizer:
    """The vocabulary in a file or in a folder, both local or behind a URL.

    A file of another name than FILES is a SentencePiece model if it ends in .model, and a list of
    WordPiece tokens otherwise. Raises ValueError if it is neither, or if it lacks a special token.
    """
    path = epath.Path(path)
    file = find(path) if path.is_dir() else path
    if file is None:
        raise ValueError(f'{path} has no {", ".join(FILES[:-1])} or {FILES[-1]}')
    if not file.exists():
        raise ValueError(f'vocabulary {file} does not exist')
    default = sentencepiece_model.read if file.suffix == '.model' else wordpiece_vocabulary.read
    return Tokenizer(READERS.get(file.name, default)(file, lowercase), lowercase)


def wordpiece(
    pieces: Sequence[str], lowercase: bool, source: object = 'the vocabulary'
) -> Tokenizer:
    """BERT's WordPiece tokenizer over `pieces`; a token's id is its index."""
    return Tokenizer(wordpiece_vocabulary.WordPiece([*pieces], lowercase, source), lowercase)


def train(texts: Sequence[str], vocab_size: int, lowercase: bool) -> Tokenizer:
    """A tokenizer with a WordPiece vocabulary that is learned from `texts`."""
    return wordpiece(wordpiece_vocabulary.train(texts, vocab_size, lowercase), lowercase)

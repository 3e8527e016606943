"""The interface of tokenizers, and its implementation with the library `tokenizers`."""

import abc
import functools
import pathlib
import unicodedata
from collections.abc import Sequence

import numpy as np
import tokenizers

from bert_jax.data.tokenizers.specials import BERT, Specials

Span = tuple[int, int]  # [start, end) in characters


class Tokenizer(abc.ABC):
    """A vocabulary and the algorithm that splits text into its tokens, without special tokens.

    pieces: the tokens by id. specials, special_pieces: the ids and the strings of the special
    tokens by role. is_continuation: bool[vocab], true if a token does not begin a word. files: the
    content of the files, by name, from which `tokenizer.load` reads the vocabulary. lowercase:
    whether text is lowercased. mask_markers: the strings that a user may type for the mask token.
    revision: increased if changed code gives other ids with the same files.
    """

    revision = 1

    def __init__(
        self,
        pieces: list[str],
        specials: Specials[int],
        is_continuation: np.ndarray,
        files: dict[str, bytes],
        lowercase: bool,
    ):
        self.pieces, self.vocab_size, self.specials = pieces, len(pieces), specials
        self.is_continuation, self.files, self.lowercase = is_continuation, files, lowercase
        self.special_pieces: Specials[str] = Specials(
            **{role: pieces[i] for role, i in specials.by_role().items()}
        )
        self.mask_markers = tuple(dict.fromkeys((self.special_pieces.mask, BERT.mask)))

    @abc.abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, computed on all cores."""

    @abc.abstractmethod
    def encode_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], list[Span]]]:
        """The ids of `encode_batch` and, for each token, the characters of the text that it covers.

        A token of white space has an empty span. Spans are in order and lie inside the text.
        """

    @abc.abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids."""

    @functools.cached_property
    def ordinary_ids(self) -> np.ndarray:
        """int32[n]: the ids that may replace a masked token, without special tokens and
        placeholders."""
        special = set(self.specials.all())
        ids = [i for i, p in enumerate(self.pieces) if i not in special and not _is_placeholder(p)]
        return np.array(ids, np.int32)

    @functools.cached_property
    def capitalised(self) -> list[str]:
        """The ordinary pieces that have capital letters."""
        ordinary = [self.pieces[i] for i in self.ordinary_ids]
        return [piece for piece in ordinary if piece != piece.lower()]

    def case_warning(self) -> str:
        """A warning if the case of the vocabulary does not fit `lowercase`, otherwise ''."""
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
        """Writes the vocabulary. `tokenizer.load` reads it from the directory."""
        for name, content in self.files.items():
            (directory / name).write_bytes(content)


class FastTokenizer(Tokenizer):
    """A Tokenizer on top of `model`, a tokenizer of Hugging Face without added tokens."""

    model: tokenizers.Tokenizer

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self.model.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], list[Span]]]:
        encodings = self.model.encode_batch(list(texts), add_special_tokens=False)
        return [
            (e.ids, e.offsets if text.isascii() else trimmed(text, e.offsets))
            for text, e in zip(texts, encodings, strict=True)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        return self.model.decode(list(ids))


def trimmed(text: str, spans: Sequence[Span]) -> list[Span]:
    """The spans without the white space at their ends, and with the accents that follow a token.

    A normalizer that removes accents keeps only the 'e' of 'e\\u0301'.
    """
    result = []
    for i, (start, end) in enumerate(spans):
        next_start = spans[i + 1][0] if i + 1 < len(spans) else len(text)
        surface = text[start:end]
        end = start + len(surface.rstrip())
        start = min(start + len(surface) - len(surface.lstrip()), end)
        while start < end < next_start and unicodedata.category(text[end]) == 'Mn':
            end += 1
        result.append((start, end))
    return result


def _is_placeholder(piece: str) -> bool:
    return piece.startswith('[unused') or (piece.startswith('<') and piece.endswith('>'))

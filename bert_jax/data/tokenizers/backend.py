"""The interface of a kind of vocabulary, and its implementation with the library `tokenizers`."""

import unicodedata
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import tokenizers

from bert_jax.data.tokenizers.specials import Specials

Span = tuple[int, int]  # [start, end) in characters


class Backend(Protocol):
    """A vocabulary and the algorithm that splits text into its tokens, without special tokens.

    pieces: the tokens by id. is_continuation: bool[vocab], true if a token does not begin a word.
    files: the files that a folder needs to load the vocabulary again, by name.
    """

    pieces: list[str]
    specials: Specials[int]
    is_continuation: np.ndarray
    files: dict[str, bytes]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, computed on all cores."""

    def encode_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], list[Span]]]:
        """The same ids and, for each token, the characters of the text that it stands for.

        A token of white space has an empty span. Spans are in order and lie inside the text.
        """

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids."""


class FastBackend:
    """A Backend on top of a `tokenizers.Tokenizer` that has no added tokens."""

    def __init__(
        self,
        model: tokenizers.Tokenizer,
        pieces: list[str],
        specials: Specials[int],
        is_continuation: np.ndarray,
        files: dict[str, bytes],
    ):
        self.model, self.pieces, self.specials = model, pieces, specials
        self.is_continuation, self.files = is_continuation, files

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

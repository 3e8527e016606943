"""The interface of tokenizers."""

import abc
import functools
import json
import pathlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bert_jax.config.files import MARKER as MARKER
from bert_jax.data.tokenizers.specials import BERT, Specials

Span = tuple[int, int]  # [start, end) in characters


def marker(
    kind: str, specials: Mapping[str, str] | None = None, /, **options: Any
) -> dict[str, bytes]:
    """The content of the file MARKER, by its name. specials: the special tokens by role that the
    reader of the file does not find by their usual names."""
    if specials:
        options['specials'] = dict(specials)
    return {MARKER: (json.dumps({'kind': kind} | options, indent=2) + '\n').encode()}


class Tokenizer(abc.ABC):
    """A vocabulary and the algorithm that splits text into its tokens, without special tokens.

    pieces: the tokens by id. specials, special_pieces: the ids and the strings of the special
    tokens by role. is_continuation: bool[vocab], true if a token does not begin a word; the first
    token of a text begins a word in any case. ends_word: bool[vocab] for a vocabulary that marks
    the ends of words instead, so that a token begins a word if the token before it ends one; its
    is_continuation is false. None otherwise. files: the content of the files, by name, from which
    `tokenizer.load` reads the vocabulary. lowercase: whether text is lowercased. strip_accents:
    whether accents are removed; None means the default of the kind of vocabulary. mask_markers: the
    strings that a user may type for the mask token. kind: an entry of `tokenizer.KINDS`. revision:
    a number that increases when a change of the code gives other ids for the same files. space:
    what stands in front of a text that follows a space; '' if the space does not change its tokens.
    """

    kind: str
    revision = 1
    space = ''
    strip_accents: bool | None = None
    ends_word: np.ndarray | None = None

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

    def encode_words(self, words: Sequence[str]) -> list[list[int]]:
        """The token ids of each word, in the form that it has in a text after a space."""
        return self.encode_batch([self.space + word for word in words] if self.space else words)

    @abc.abstractmethod
    def encode_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], list[Span]]]:
        """The ids of `encode_batch` and, for each token, the characters of the text that it covers.

        A token of white space has an empty span. Spans are in order and lie inside the text.
        """

    @abc.abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids."""

    @property
    def language(self) -> str:
        """The language whose rules split text into words; '' if there are no such rules."""
        return ''

    def for_language(self, language: str) -> 'Tokenizer':
        """The tokenizer of texts in `language`, an ISO 639 code. Most kinds ignore the language."""
        return self

    def word_starts(self, ids: np.ndarray) -> np.ndarray:
        """bool[..., tokens], whether a word begins at each token of the texts.

        ids: int[..., tokens]; each row is the start of a text.
        """
        starts = ~self.is_continuation[ids]
        if self.ends_word is not None:
            starts[..., 1:] = self.ends_word[ids[..., :-1]]
        starts[..., :1] = True
        return starts

    def readable(self, token: int) -> str:
        """The token as readable text; the `pieces` of byte-level vocabularies are not readable."""
        return self.pieces[token]

    @functools.cached_property
    def mask_pattern(self) -> re.Pattern[str]:
        """Matches a mask marker and the white space before it, which belongs to the mask.

        Otherwise, a byte-level vocabulary would produce a token of white space before the mask,
        which did not occur in training.
        """
        return re.compile(rf'\s*(?:{"|".join(map(re.escape, self.mask_markers))})')

    @functools.cached_property
    def ordinary_ids(self) -> np.ndarray:
        """int32[n]: the ids that may replace a masked token, without special tokens and
        placeholders."""
        special = set(self.specials.all())
        ids = [i for i, p in enumerate(self.pieces) if i not in special and not _is_placeholder(p)]
        return np.array(ids, np.int32)

    @functools.cached_property
    def capitalized(self) -> list[str]:
        """The ordinary pieces that have capital letters."""
        ordinary = [self.pieces[i] for i in self.ordinary_ids]
        return [piece for piece in ordinary if piece != piece.lower()]

    def case_warning(self) -> str:
        """A warning if the case of the vocabulary does not fit `lowercase`, otherwise ''."""
        if self.lowercase and self.capitalized:
            return (
                f'{len(self.capitalized):,} tokens of the vocabulary have capital letters and are '
                'never used: text is lowercased'
            )
        if not self.lowercase and not self.capitalized:
            return (
                'no token of the vocabulary has a capital letter, but text is not lowercased: '
                f'capital letters become {self.special_pieces.unk}'
            )
        return ''

    def difference(self, other: 'Tokenizer') -> str:
        """Returns what differs in another vocabulary, so that texts have other ids; '' if they have
        the same ids."""
        names = sorted({*self.files, *other.files})
        found = [name for name in names if self.files.get(name) != other.files.get(name)]
        if self.lowercase != other.lowercase:
            found.append('lowercase')
        if not found:
            return ''
        sizes = f'{self.vocab_size:,} and {other.vocab_size:,} tokens'
        return f'{sizes}, with another {" and ".join(found)}'

    def save(self, directory: pathlib.Path) -> None:
        """Writes the vocabulary. `tokenizer.load` reads it from the directory."""
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (directory / name).write_bytes(content)


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

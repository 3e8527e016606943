"""Tokens that are found in a text before a vocabulary splits the rest of it."""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers
from tokenizers import models, normalizers

from bert_jax.data.tokenizers.base import MARKER, Span, Tokenizer, marker, trimmed

KIND = 'added_tokens'
# The range [start, end) of the text, and the id of the added token there; None for other text.
Part = tuple[int, int, int | None]


@dataclasses.dataclass(frozen=True)
class AddedToken:
    """A token that is found in text, as in Hugging Face tokenizers.

    lstrip, rstrip: whether white space on its left or right belongs to it. single_word: whether it
    is found only as a whole word. normalized: whether upper and lower case do not matter, if the
    vocabulary lowercases text.
    """

    content: str
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False


class WithAddedTokens(Tokenizer):
    """A vocabulary with added tokens, which are found in a text before `inner` splits the rest.

    inner: the vocabulary. added: the added tokens. Tokens that `inner` has already keep their ids.
    The other ones follow the last id of `inner`, in their order.
    """

    def __init__(self, inner: Tokenizer, added: Sequence[AddedToken]):
        self.inner, self.added, self.kind = inner, tuple(added), KIND
        self.revision, self.space = inner.revision, inner.space
        self.strip_accents = inner.strip_accents
        ids = {piece: i for i, piece in enumerate(inner.pieces)}
        for token in added:
            ids.setdefault(token.content, len(ids))
        self._ids = list(dict.fromkeys(ids[token.content] for token in added))
        more = len(ids) - len(inner.pieces)
        continues = np.concatenate([inner.is_continuation, np.zeros(more, bool)])
        continues[self._ids] = False
        plain = {'lowercase': inner.lowercase, 'strip_accents': inner.strip_accents}
        stated = (
            json.loads(inner.files[MARKER])
            if MARKER in inner.files
            else {'kind': inner.kind, **plain}
        )
        values = [dataclasses.asdict(token) for token in added]
        super().__init__(
            list(ids),
            inner.specials,
            continues,
            inner.files | marker(KIND, inner=stated, added=values),
            inner.lowercase,
        )
        if inner.ends_word is not None:
            self.ends_word = np.concatenate([inner.ends_word, np.ones(more, bool)])
            self.ends_word[self._ids] = True
        self._is_added = frozenset(self._ids)
        # This tokenizer has no other tokens. They are numbered in the order of `_ids`. If two begin
        # at the same place, it finds the longer one.
        self._finder = tokenizers.Tokenizer(models.BPE())
        if inner.lowercase:
            self._finder.normalizer = normalizers.Lowercase()
        self._finder.add_tokens([tokenizers.AddedToken(**flags) for flags in values])

    def _parts(self, texts: Sequence[str]) -> list[list[Part]]:
        """The parts of each text: added tokens, and the text between them."""
        result = []
        encodings = self._finder.encode_batch(list(texts), add_special_tokens=False)
        for text, encoding in zip(texts, encodings, strict=True):
            parts, end = list[Part](), 0
            for number, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True):
                if start > end:
                    parts.append((end, start, None))
                parts.append((start, stop, self._ids[number]))
                end = stop
            if end < len(text) or not text:
                parts.append((end, len(text), None))
            result.append(parts)
        return result

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        parts = self._parts(texts)
        encoded = iter(self.inner.encode_batch(self._between(texts, parts)))
        return [
            [i for *_, token in of_text for i in (next(encoded) if token is None else (token,))]
            for of_text in parts
        ]

    def encode_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], list[Span]]]:
        parts = self._parts(texts)
        encoded = iter(self.inner.encode_offsets(self._between(texts, parts)))
        result = []
        for text, of_text in zip(texts, parts, strict=True):
            ids, spans = list[int](), list[Span]()
            for start, end, token in of_text:
                more, places = ([token], [(0, end - start)]) if token is not None else next(encoded)
                ids += more
                spans += [(start + first, start + last) for first, last in places]
            result.append((ids, trimmed(text, spans)))
        return result

    def _between(self, texts: Sequence[str], parts: Sequence[Sequence[Part]]) -> list[str]:
        return [
            text[start:end]
            for text, of_text in zip(texts, parts, strict=True)
            for start, end, token in of_text
            if token is None
        ]

    def decode(self, ids: Sequence[int]) -> str:
        words, run = list[str](), list[int]()
        for i in ids:
            if i in self._is_added:
                words += [self.inner.decode(run), self.pieces[i]]
                run = []
            else:
                run.append(i)
        return ' '.join(filter(None, [*words, self.inner.decode(run)]))

    def readable(self, token: int) -> str:
        return self.pieces[token] if token in self._is_added else self.inner.readable(token)

    def for_language(self, language: str) -> 'Tokenizer':
        inner = self.inner.for_language(language)
        return self if inner is self.inner else WithAddedTokens(inner, self.added)

    @functools.cached_property
    def ordinary_ids(self) -> np.ndarray:
        return self.inner.ordinary_ids


def read(
    folder: Any, kinds: Mapping[str, Callable[..., Tokenizer]], inner: Mapping[str, Any], added: Any
) -> WithAddedTokens:
    """The vocabulary in a folder. kinds: `tokenizer.KINDS`. inner, added: the options of the
    file MARKER."""
    options = dict(inner)
    vocabulary = kinds[options.pop('kind')](folder, **options)
    return WithAddedTokens(vocabulary, [AddedToken(**token) for token in added])

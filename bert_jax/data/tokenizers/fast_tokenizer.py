"""Tokenizers on top of the library `tokenizers`."""

import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers

from bert_jax.data.tokenizers import byte_pieces, model_tokenizer
from bert_jax.data.tokenizers.base import Span, Tokenizer, trimmed
from bert_jax.data.tokenizers.specials import Specials


class FastTokenizer(Tokenizer):
    """A Tokenizer on top of `model`, a tokenizer of the library `tokenizers`.

    The description of the model says how its tokens are written: as bytes (see `byte_pieces`), with
    a prefix if they continue a word, or with a suffix if they end a word. has_space: whether a
    token may contain the white space before a word.
    """

    has_space = True

    def __init__(
        self,
        model: tokenizers.Tokenizer,
        pieces: list[str],
        specials: Specials[int],
        files: dict[str, bytes],
        lowercase: bool,
    ):
        self.model = model
        described = json.loads(model.to_str())
        self.has_bytes = '"ByteLevel"' in json.dumps(described['pre_tokenizer'])
        if self.has_bytes:
            self.space, self.revision = ' ', 2
        starts = {*specials.all(), *model.get_added_tokens_decoder()}
        continues = self._continues(described['model'], pieces)
        is_continuation = [i not in starts and continues(p) for i, p in enumerate(pieces)]
        super().__init__(pieces, specials, np.array(is_continuation), files, lowercase)
        if suffix := described['model'].get('end_of_word_suffix'):
            self.ends_word = np.array(
                [i in starts or p.endswith(suffix) for i, p in enumerate(pieces)]
            )

    def _continues(self, model: Mapping[str, Any], pieces: Sequence[str]) -> Callable[[str], bool]:
        """A function that says whether a piece continues a word."""
        if self.has_bytes:
            return byte_pieces.is_continuation
        if prefix := model.get('continuing_subword_prefix'):
            return lambda piece: piece.startswith(str(prefix))
        marks = any(piece.startswith(model_tokenizer.WORD_MARK) for piece in pieces)
        if marks and not model.get('end_of_word_suffix'):
            return model_tokenizer.is_continuation
        return lambda piece: False

    @functools.cached_property
    def ordinary_ids(self) -> np.ndarray:
        added = self.model.get_added_tokens_decoder()
        return np.array([i for i in super().ordinary_ids if int(i) not in added], np.int32)

    @functools.cached_property
    def capitalized(self) -> list[str]:
        if not self.has_bytes:
            return super().capitalized
        # Single bytes are in every vocabulary.
        ordinary = [self.pieces[i] for i in self.ordinary_ids if len(self.pieces[i]) > 1]
        return [p for p in ordinary if (text := byte_pieces.text(p)) != text.lower()]

    def case_warning(self) -> str:
        # The tokens of single bytes can represent every capital letter.
        return super().case_warning() if self.lowercase or not self.has_bytes else ''

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self.model.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], list[Span]]]:
        encodings = self.model.encode_batch(list(texts), add_special_tokens=False)
        return [
            (
                e.ids,
                e.offsets if text.isascii() and not self.has_space else trimmed(text, e.offsets),
            )
            for text, e in zip(texts, encodings, strict=True)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        return self.model.decode(list(ids))

    def readable(self, token: int) -> str:
        is_bytes = self.has_bytes and token not in self.specials.all()
        return self.decode([token]) if is_bytes else self.pieces[token]


def by_id(ids: Mapping[str, int], source: object) -> list[str]:
    """The tokens in the order of their ids. Raises ValueError unless the ids are 0, 1, 2, ..."""
    pieces = sorted(ids, key=ids.__getitem__)
    for i, piece in enumerate(pieces):
        if ids[piece] != i:
            raise ValueError(f'{source}: the token {piece!r} has the id {ids[piece]}, expected {i}')
    return pieces


def trained(model: tokenizers.Tokenizer, trainer: Any, texts: Sequence[str]) -> dict[str, Any]:
    """Trains the model on texts; returns its description in tokenizer.json."""
    parts: Iterable[Sequence[str]] = (texts[i : i + 1000] for i in range(0, len(texts), 1000))
    model.train_from_iterator(parts, trainer)
    return json.loads(model.to_str())['model']

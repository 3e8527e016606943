"""Tokenizers from a tokenizer.json, the format of the library `tokenizers`."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers
from etils import epath

from bert_jax.data.tokenizers import byte_bpe, sentencepiece_model
from bert_jax.data.tokenizers.base import FastTokenizer, marker
from bert_jax.data.tokenizers.byte_bpe import by_id
from bert_jax.data.tokenizers.specials import find_specials

FILE = 'tokenizer.json'
REMEDY = 'name them in tokenizer_config.json, and convert the folder with bert_jax convert'


class JsonTokenizer(FastTokenizer):
    """The tokenizer that a tokenizer.json describes.

    content: the file. Its added tokens are recognized in text. The special tokens of a role are
    not: their names in a text are ordinary text. specials: the special tokens by role, for roles
    whose token `find_specials` would not find. Raises ValueError naming `source` if the file is not
    a tokenizer or lacks a special token.
    """

    kind = 'tokenizer_json'
    has_space = True

    def __init__(
        self,
        content: bytes,
        specials: Mapping[str, str] | None = None,
        source: object = 'the tokenizer',
    ):
        self.model = from_json(content.decode(), source)
        pieces = by_id(self.model.get_vocab(with_added_tokens=True), source)
        roles = find_specials(pieces, source, REMEDY, specials)
        values = json.loads(content)
        special, added = set(roles.all()), values.get('added_tokens') or []
        if found := [x for x in added if x.get('special') and x['id'] not in special]:
            for token in found:  # of no role, so it is found in text
                token['special'] = False
            self.model = from_json(json.dumps(values), source)
        self.model.no_truncation()
        self.model.no_padding()
        self.model.post_processor = None
        self.model.encode_special_tokens = True  # as text
        found_first = {token['id'] for token in added}
        continues = _continues(values, pieces)
        if _has_byte_level(values):
            self.space, self.revision = ' ', 2
        if found:
            self.revision += 2
        starts = special | found_first
        is_continuation = [i not in starts and continues(p) for i, p in enumerate(pieces)]
        options: dict[str, Any] = {'specials': dict(specials)} if specials else {}
        files = {FILE: content, **marker(self.kind, **options)}
        super().__init__(pieces, roles, np.array(is_continuation), files, self._lowercases())
        if suffix := values['model'].get('end_of_word_suffix'):
            self.ends_word = np.array(
                [i in special or p.endswith(suffix) for i, p in enumerate(pieces)]
            )

    @functools.cached_property
    def ordinary_ids(self) -> np.ndarray:
        added = self.model.get_added_tokens_decoder()
        return np.array([i for i in super().ordinary_ids if int(i) not in added], np.int32)

    def _lowercases(self) -> bool:
        normalizer = self.model.normalizer
        return normalizer is not None and 'A' not in normalizer.normalize_str('A')

    def readable(self, token: int) -> str:
        ordinary = bool(self.space) and token not in self.specials.all()
        return self.decode([token]) if ordinary else self.pieces[token]


def from_json(content: str, source: object) -> tokenizers.Tokenizer:
    """The tokenizer that a file's content describes. Raises ValueError naming `source`."""
    try:
        return tokenizers.Tokenizer.from_str(content)
    except Exception as error:  # the library raises plain Exception
        raise ValueError(f'{source} is not a tokenizer.json ({error})') from error


def _has_byte_level(values: Mapping[str, Any]) -> bool:
    return '"ByteLevel"' in json.dumps(values.get('pre_tokenizer'))


def _continues(values: Mapping[str, Any], pieces: Sequence[str]) -> Callable[[str], bool]:
    """A function that says whether a piece continues a word."""
    if _has_byte_level(values):
        return byte_bpe.is_continuation
    if any(piece.startswith(sentencepiece_model.WORD_MARK) for piece in pieces):
        return sentencepiece_model.is_continuation
    prefix = values['model'].get('continuing_subword_prefix')
    return lambda piece: bool(prefix) and piece.startswith(prefix)


def read(folder: epath.Path, **options: Any) -> JsonTokenizer:
    """The tokenizer in a folder. Raises ValueError as JsonTokenizer does."""
    return JsonTokenizer((folder / FILE).read_bytes(), source=folder / FILE, **options)

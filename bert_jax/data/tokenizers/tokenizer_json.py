"""Tokenizers from a tokenizer.json, the format of the library `tokenizers`."""

import json
from collections.abc import Mapping
from typing import Any

import tokenizers
from etils import epath

from bert_jax.data.tokenizers.base import marker
from bert_jax.data.tokenizers.fast_tokenizer import FastTokenizer, by_id
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

    def __init__(
        self,
        content: bytes,
        specials: Mapping[str, str] | None = None,
        source: object = 'the tokenizer',
    ):
        model = from_json(content.decode(), source)
        pieces = by_id(model.get_vocab(with_added_tokens=True), source)
        roles = find_specials(pieces, source, REMEDY, specials)
        values = json.loads(content)
        added, special = values.get('added_tokens') or [], set(roles.all())
        if found := [x for x in added if x.get('special') and x['id'] not in special]:
            for token in found:  # of no role, so it is found in text
                token['special'] = False
            model = from_json(json.dumps(values), source)
        model.no_truncation()
        model.no_padding()
        model.post_processor = None
        model.encode_special_tokens = True  # as text
        lowers = model.normalizer is not None and 'A' not in model.normalizer.normalize_str('A')
        files = {FILE: content, **marker(self.kind, specials)}
        super().__init__(model, pieces, roles, files, lowers)
        if found:
            self.revision += 2


def from_json(content: str, source: object) -> tokenizers.Tokenizer:
    """The tokenizer that a file's content describes. Raises ValueError naming `source`."""
    try:
        return tokenizers.Tokenizer.from_str(content)
    except Exception as error:  # the library raises plain Exception
        raise ValueError(
            f'{source} is not a tokenizer.json that the library `tokenizers` reads ({error}); '
            'write it again, or remove it'
        ) from error


def read(folder: epath.Path, **options: Any) -> JsonTokenizer:
    """The tokenizer in a folder. Raises ValueError as JsonTokenizer does."""
    return JsonTokenizer((folder / FILE).read_bytes(), source=folder / FILE, **options)

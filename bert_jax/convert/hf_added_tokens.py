"""Reads the tokens that a Hugging Face folder adds to its vocabulary, and compares the ids of a
tokenizer.json with those of bert_jax."""

import json
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import tokenizers

from bert_jax.convert.hf_tokenizer_kind import ADDED, CONFIG, SPECIALS, WEIGHTS_ALONE, Folder
from bert_jax.data.tokenizers import tokenizer_json
from bert_jax.data.tokenizers.added_tokens import AddedToken
from bert_jax.data.tokenizers.tokenizer import Tokenizer

LISTS = ('additional_special_tokens', 'extra_special_tokens')
FLAGS = ('lstrip', 'rstrip', 'single_word', 'normalized')
# Texts whose ids are compared. No digit has a comma after it, because transformers does not have
# the rule of ALBERT and XLNet for this.
TEXTS = (
    'The quick brown fox, aged 20, jumps over 3 lazy dogs (twice); "why?" - don\'t ask!',
    'An UPPER-CASE naïve café, e-mail a.b@c.de: 50% of $1.25',
    'two  spaces and words withoutanyspacebetweenthemwhatsoever',
)
Found = dict[str, tuple[int | None, AddedToken, str]]  # by content: id, token, file


def read(folder: Folder) -> Found:
    """Returns the tokens that the files of a folder add, with their ids if a file has them."""
    found: Found = {}
    for name, number, entry in _entries(folder):
        values = {'content': entry} if isinstance(entry, str) else dict(entry)
        content = values.get('content')
        if not isinstance(content, str) or not content:
            continue
        special = values.get('special', name != ADDED)
        flags = {key: bool(values[key]) for key in FLAGS if key in values}
        token = AddedToken(content, **{'normalized': not special} | flags)
        before = found.get(content)
        if before is None:
            found[content] = number, token, name
        elif before[0] is None or 'normalized' in flags:
            number = before[0] if before[0] is not None else number
            found[content] = number, token if flags else before[1], before[2]
    return found


def _entries(folder: Folder) -> Iterator[tuple[str, int | None, Any]]:
    """Yields (file, id, token) for all added tokens in all files."""
    for token in folder.described.get('added_tokens') or ():
        yield tokenizer_json.FILE, token.get('id'), token
    for number, token in (folder.options.get('added_tokens_decoder') or {}).items():
        yield CONFIG, int(number), token
    for name in (CONFIG, SPECIALS):
        values = folder.read(name)
        for key in LISTS:
            listed = values.get(key) or ()
            for token in listed.values() if isinstance(listed, Mapping) else listed:
                yield name, None, token
    for content, number in folder.read(ADDED).items():
        yield ADDED, number if isinstance(number, int) else None, content


def beyond(
    directory: pathlib.Path, found: Found, vocabulary: Tokenizer, rows: int
) -> list[AddedToken]:
    """Returns the added tokens that have no role, such as [SEP]. Tokens of the vocabulary come
    first; the others are in the order of their ids.

    rows: the number of rows of the table of embeddings. Raises ValueError for an id that does not
    follow the last one, or that has no row.
    """
    ids = {piece: i for i, piece in enumerate(vocabulary.pieces)}
    roles = {*vocabulary.special_pieces.all()}
    known = [token for content, (_, token, _) in found.items() if content in ids]
    new = sorted(
        (x for x in found.items() if x[0] not in ids), key=lambda x: (x[1][0] is None, x[1][0] or 0)
    )
    for i, (content, (number, _, name)) in enumerate(new, len(ids)):
        if i >= rows:
            raise ValueError(
                f'{directory / name} adds {content!r}, but the table of embeddings has {rows} rows '
                f'and no row {i}. Call model.resize_token_embeddings(len(tokenizer)) in '
                f'transformers and save both, or remove the token. {WEIGHTS_ALONE}'
            )
        if number not in (None, i):
            raise ValueError(
                f'{directory / name}: the added token {content!r} has the id {number}; expected '
                f'{i}, which follows the vocabulary'
            )
    every = [*known, *(token for _, (_, token, _) in new)]
    return [token for token in every if token.content not in roles]


def completed(
    described: Mapping[str, Any],
    added: Sequence[AddedToken],
    options: Mapping[str, Any],
    lowercase: bool | None,
) -> dict[str, Any]:
    """Returns a tokenizer.json with all added tokens and with the settings of
    tokenizer_config.json, because transformers gives these precedence."""
    values = json.loads(json.dumps(described))
    listed = values.get('added_tokens') or []
    ids = {token['content']: token['id'] for token in listed}
    pieces = _pieces(values)
    following = len(pieces.keys() | ids.keys())
    for token in added:
        if token.content in ids:
            continue
        number = pieces.get(token.content)
        if number is None:
            number, following = following, following + 1
        flags = {key: getattr(token, key) for key in FLAGS}
        listed.append({'id': number, 'content': token.content, 'special': False, **flags})
    values['added_tokens'] = sorted(listed, key=lambda token: token['id'])
    normalizer, splitter = values.get('normalizer'), values.get('pre_tokenizer')
    if isinstance(normalizer, dict) and normalizer.get('type') == 'BertNormalizer':
        stated = {'strip_accents': options.get('strip_accents'), 'lowercase': lowercase}
        normalizer |= {key: x for key, x in stated.items() if x is not None}
    byte_level = isinstance(splitter, dict) and splitter.get('type') == 'ByteLevel'
    if byte_level and 'add_prefix_space' in options:
        splitter['add_prefix_space'] = bool(options['add_prefix_space'])
    return values


def _pieces(values: Mapping[str, Any]) -> dict[str, int]:
    vocab = values.get('model', {}).get('vocab', {})
    return vocab if isinstance(vocab, dict) else {x[0]: i for i, x in enumerate(vocab)}


def loads(described: Mapping[str, Any]) -> bool:
    """Returns whether the library `tokenizers` can read a tokenizer.json. It needs more keys than
    bert_jax."""
    try:
        tokenizer_json.from_json(json.dumps(described), tokenizer_json.FILE)
    except ValueError:
        return False
    return bool(described)


def without_truncation(described: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """The tokenizer of a tokenizer.json, without its truncation and its padding."""
    theirs = tokenizer_json.from_json(json.dumps(described), tokenizer_json.FILE)
    theirs.no_truncation()
    theirs.no_padding()
    return theirs


def difference(
    described: Mapping[str, Any], vocabulary: Tokenizer, added: Collection[AddedToken]
) -> str:
    """Returns a text that has other ids with a tokenizer.json than with the vocabulary; '' if all
    texts that are tried have the same ids. Some of these texts have added tokens."""
    theirs = without_truncation(described)
    texts = [*TEXTS]
    for token in added:
        texts += [f'the {token.content} fox', f'a{token.content}b']
    for text, ids in zip(texts, vocabulary.encode_batch(texts), strict=True):
        if theirs.encode(text, add_special_tokens=False).ids != ids:
            return text
    return ''

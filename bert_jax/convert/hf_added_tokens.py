"""Reads the tokens that a Hugging Face folder adds to its vocabulary, and compares the ids of a
tokenizer.json with those of bert_jax."""

import dataclasses
import json
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import tokenizers

from bert_jax.convert.hf_tokenizer_kind import ADDED, CONFIG, SPECIALS, WEIGHTS_ALONE, Folder
from bert_jax.data.tokenizers import tokenizer_json
from bert_jax.data.tokenizers.added_tokens import AddedToken
from bert_jax.data.tokenizers.tokenizer import Tokenizer, WordPiece

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
    folder: Folder, added: Sequence[AddedToken], settings: Mapping[str, bool | None]
) -> tokenizers.Tokenizer:
    """Returns the tokenizer of tokenizer.json with all added tokens, and with settings of
    tokenizer_config.json, because transformers gives these precedence.

    settings: attributes of the normalizer or of the part that splits text. None: not set.
    """
    made = folder.fast()
    listed = {token.content for token in made.get_added_tokens_decoder().values()}
    new = [dataclasses.asdict(token) for token in added if token.content not in listed]
    made.add_tokens([tokenizers.AddedToken(**values) for values in new])
    for part in (made.normalizer, made.pre_tokenizer):
        for key, value in settings.items():
            if value is not None and hasattr(part, key):
                setattr(part, key, value)
    return made


def difference(
    theirs: tokenizers.Tokenizer, vocabulary: Tokenizer, added: Collection[AddedToken]
) -> str:
    """Returns what a tokenizer.json does differently from the vocabulary; '' if nothing is found.

    The ids of some texts are compared, of which some have added tokens. For WordPiece, all settings
    are compared first.
    """
    if isinstance(vocabulary, WordPiece):
        ours = _sections(vocabulary.model)
        for section, value in _sections(theirs).items():
            if value != ours[section]:
                return f'has another {section}'
    texts = [*TEXTS]
    for token in added:
        texts += [f'the {token.content} fox', f'a{token.content}b']
    for text, ids in zip(texts, vocabulary.encode_batch(texts), strict=True):
        if theirs.encode(text, add_special_tokens=False).ids != ids:
            return f'gives other ids to a text: {text!r}'
    return ''


def _sections(model: tokenizers.Tokenizer) -> dict[str, Any]:
    """The sections of a tokenizer.json that determine the ids of ordinary text."""
    values = json.loads(model.to_str())
    normalizer = values['normalizer'] or {}
    if normalizer.get('strip_accents', '') is None:  # null means: if text is lowercased
        normalizer['strip_accents'] = normalizer['lowercase']
    return {section: values[section] for section in ('normalizer', 'pre_tokenizer', 'model')}

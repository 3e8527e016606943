"""The vocabulary of a Hugging Face folder, of every family."""

import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from etils import epath

from bert_jax.convert import hf_added_tokens
from bert_jax.convert.foreign import check_vocabulary
from bert_jax.convert.hf_tokenizer_files import write as write
from bert_jax.convert.hf_tokenizer_kind import CONFIG, SPECIALS, Folder, boolean, kind_of, refuse
from bert_jax.data.tokenizers import (
    fairseq_sentencepiece,
    sentencepiece_model,
    tokenizer,
    tokenizer_json,
    word_bpe,
)
from bert_jax.data.tokenizers.added_tokens import WithAddedTokens
from bert_jax.data.tokenizers.base import MARKER
from bert_jax.data.tokenizers.specials import NAMES, OPTIONAL
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.data.tokenizers.wordpiece_vocabulary import WordPiece

# The key that says whether text is lowercased, and its value if it is missing. None: not known.
CASE: dict[str, tuple[str, bool | None]] = {
    'wordpiece': ('do_lower_case', None),
    'sentencepiece': ('do_lower_case', None),
    'xlm_bpe': ('do_lowercase_and_remove_accent', True),
    'flaubert_bpe': ('do_lowercase', False),
}
# The keys of tokenizer_config.json that change token ids, and the only values that bert_jax
# supports. The normalizer in tokenizer.json calls tokenize_chinese_chars handle_chinese_chars.
EXPECTED: dict[str, dict[str, Any]] = {
    'wordpiece': {
        'do_basic_tokenize': True,
        'clean_text': True,
        'tokenize_chinese_chars': True,
        'handle_chinese_chars': True,
        'wordpieces_prefix': '##',
        'max_input_chars_per_word': 100,
    },
    'sentencepiece': {'remove_space': True},
}
# The roles of tokens that structure a row. Such tokens are never found in text.
RESERVED = {
    'sentencepiece': sentencepiece_model.STRUCTURE,
    **fairseq_sentencepiece.FIRST,
    **dict.fromkeys(word_bpe.KINDS, word_bpe.RESERVED),
}
ROLES = tuple(role for role in NAMES if role not in OPTIONAL)  # every vocabulary has these


def read(
    directory: pathlib.Path, lowercase: bool | None, vocab_size: int, model_type: str = ''
) -> tuple[Tokenizer | None, tuple[str, ...]]:
    """The folder's vocabulary, None if it has none, and lines to print about it.

    lowercase: whether text is lowercased, if no file says so. model_type: '' means that of
    config.json. Raises ValueError if bert_jax would compute other token ids than transformers or
    the authors' code, and for the reasons of `check_vocabulary`.
    """
    folder = Folder(directory)
    model_type = model_type or folder.read('config.json').get('model_type', 'bert')
    published = directory / fairseq_sentencepiece.PUBLISHED
    if not folder.described and not tokenizer.find(directory) and not published.exists():
        return None, ()
    kind = kind_of(folder, model_type)
    for key, value in EXPECTED.get(kind, {}).items():
        if folder.options.get(key) not in (None, value):
            refuse(directory / CONFIG, key, folder.options[key], value)
    stated = _lowercase(folder, kind, lowercase)
    if model_type == 'xlnet' and stated is None:
        stated = False
    if kind == 'wordpiece':
        vocabulary = _word_pieces(folder, stated is not False)
    else:
        vocabulary = _load(folder, kind, stated is not False)
    if kind not in CASE:
        stated = vocabulary.lowercase
        if lowercase not in (None, stated):
            raise ValueError(
                f'the tokenizer in {directory} {"lowercases" if stated else "does not lowercase"} '
                f'text; remove --{"" if lowercase else "no"}lowercase'
            )
    _check_special_tokens(folder, vocabulary)
    settings = folder.options if kind != tokenizer_json.JsonTokenizer.kind else {}
    case = stated if kind in CASE else None
    vocabulary, more = _with_added(folder, vocabulary, settings, case, vocab_size)
    return vocabulary, (*check_vocabulary(vocabulary, stated, vocab_size, directory), *more)


def _with_added(
    folder: Folder,
    vocabulary: Tokenizer,
    options: Mapping[str, Any],
    lowercase: bool | None,
    rows: int,
) -> tuple[Tokenizer, list[str]]:
    """Returns the vocabulary with the tokens that the folder adds, and lines to print.

    If tokenizer.json gives other ids than `vocabulary`, the result is that tokenizer. options,
    lowercase: settings that transformers prefers to those in tokenizer.json.
    """
    found, described = hf_added_tokens.read(folder), folder.described
    reserved = RESERVED.get(vocabulary.kind, ())
    every = hf_added_tokens.beyond(folder.directory, found, vocabulary, rows)
    tokens = [token for token in every if token.content not in reserved]
    notes = list[str]()
    if tokens:
        first, number = tokens[0].content, len(tokens)
        what = 'added token is' if number == 1 else 'added tokens are'
        such = '' if number == 1 else ', the first one'
        notes.append(f'{number} {what} found in text{such}: {first!r}')
    if not hf_added_tokens.loads(described):
        return (WithAddedTokens(vocabulary, tokens) if tokens else vocabulary), notes
    complete = hf_added_tokens.completed(described, tokens, options, lowercase)
    alone = vocabulary.kind == tokenizer_json.JsonTokenizer.kind
    if alone and complete != described:
        vocabulary = _json_tokenizer(folder, complete)
    elif not alone and (text := hf_added_tokens.difference(complete, vocabulary, tokens)):
        vocabulary = _json_tokenizer(folder, complete)
        if not tokens:
            notes.append(f'tokenizer.json is used, which gives other ids to a text: {text!r}')
    return vocabulary, notes


def _json_tokenizer(folder: Folder, values: Mapping[str, Any]) -> Tokenizer:
    """Returns the tokenizer of a tokenizer.json, with the special tokens that the folder names."""
    content = json.dumps(values, ensure_ascii=False).encode()
    source = folder.directory / tokenizer_json.FILE
    make = functools.partial(tokenizer_json.JsonTokenizer, content, source=source)
    names = _names(folder)
    try:
        return make(names or None)
    except ValueError:
        return make(_ends(folder) | names)


def _lowercase(folder: Folder, kind: str, given: bool | None) -> bool | None:
    """Returns whether text is lowercased; None if neither a file nor `given` says so. Raises
    ValueError if they contradict each other."""
    if kind not in CASE:
        return given
    key, default = CASE[kind]
    stated, normalizer = folder.boolean(key), folder.described.get('normalizer')
    if stated is None and kind == 'wordpiece' and isinstance(normalizer, dict):
        stated = boolean(normalizer, 'lowercase', folder.directory / tokenizer_json.FILE)
    if stated is None and given is None:
        return default
    if stated is not None and given not in (None, stated):
        raise ValueError(
            f'{folder.directory} says that its text is {"" if stated else "not "}lowercased, but '
            f'--{"" if given else "no"}lowercase is given; remove the flag, or correct '
            f'{key} in {CONFIG}'
        )
    return given if stated is None else stated


def _load(folder: Folder, kind: str, lowercase: bool) -> Tokenizer:
    """The vocabulary of a folder, of any kind except WordPiece."""
    path = epath.Path(folder.directory)
    if (path / MARKER).exists():
        return tokenizer.load(path)
    if kind == 'sentencepiece':
        strips = False if folder.boolean('keep_accents') else None
        return sentencepiece_model.read_folder(path, lowercase=lowercase, strip_accents=strips)
    make = functools.partial(tokenizer.KINDS[kind], path)
    if kind in word_bpe.KINDS:
        # transformers uses Moses with the rules of these languages by default.
        return make(lowercase=lowercase, language='fr' if kind == 'flaubert_bpe' else 'en')
    if kind == 'byte_bpe':
        make = functools.partial(
            make, add_prefix_space=bool(folder.options.get('add_prefix_space'))
        )
    names = _names(folder)
    try:
        vocabulary = make()
    except ValueError:
        ends = _ends(folder) if kind == tokenizer_json.JsonTokenizer.kind else {}
        return make(specials=ends | names)
    found = vocabulary.special_pieces.by_role()
    return vocabulary if names.items() <= found.items() else make(specials=names)


def _names(folder: Folder) -> dict[str, str]:
    """The special tokens that the folder names, by role in ROLES."""
    found = dict[str, str]()
    for name in (SPECIALS, CONFIG):
        values = folder.read(name)
        for role in ROLES:
            found.update((role, content) for content in _contents([values.get(f'{role}_token')]))
    return found


def _ends(folder: Folder) -> dict[str, str]:
    """The tokens with the roles cls and sep, by the names bos_token and eos_token of a folder."""
    found = dict[str, str]()
    for role, other in (('cls', 'bos'), ('sep', 'eos')):
        for name in (SPECIALS, CONFIG):
            contents = _contents([folder.read(name).get(f'{other}_token')])
            found.update((role, content) for content in contents)
    return found


def _word_pieces(folder: Folder, lowercase: bool) -> Tokenizer:
    """The vocabulary in the file that `tokenizer.find` finds, or else in tokenizer.json."""
    directory, described = folder.directory, folder.described
    strips = folder.boolean('strip_accents')
    strips = None if strips == lowercase else strips
    path = directory / tokenizer_json.FILE
    if not described:
        return tokenizer.load(directory, lowercase, strips)
    ours = json.loads(WordPiece([*tokenizer.SPECIALS], lowercase).model.to_str())
    ours['normalizer']['strip_accents'] = lowercase if strips is None else strips
    for section in ('normalizer', 'pre_tokenizer', 'model'):
        theirs = described.get(section)
        if not isinstance(theirs, dict):
            refuse(path, section, theirs, ours[section]['type'])
        for key in ('type', *sorted(theirs.keys() - {'lowercase', 'vocab'})):
            value, expected = theirs.get(key), ours[section].get(key)
            if value != expected and (value is not None or key == 'type'):
                refuse(path, f'{section}.{key}', value, expected)
    try:
        ids = described['model']['vocab']
        by_id = {number: piece for piece, number in ids.items()}
        pieces = [by_id[i] for i in range(len(ids))]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{path} is not a complete vocabulary: no {error}') from error
    if not (directory / 'vocab.txt').exists():
        return WordPiece(pieces, lowercase, path, strips)
    vocabulary = tokenizer.load(directory, lowercase, strips)
    if vocabulary.pieces != pieces:
        raise ValueError(
            f'{path} and {tokenizer.find(directory)} hold different vocabularies; remove the '
            'wrong one'
        )
    return vocabulary


def _contents(tokens: Any) -> list[str]:
    """The tokens in a list or an object, as strings; some are objects with a key `content`."""
    listed = tokens.values() if isinstance(tokens, dict) else tokens or ()
    contents = (token.get('content') if isinstance(token, dict) else token for token in listed)
    return [content for content in contents if isinstance(content, str)]


def _check_special_tokens(folder: Folder, vocabulary: Tokenizer) -> None:
    """Raises ValueError if the folder has other names for the special tokens."""
    special = vocabulary.special_pieces.by_role()
    for name in (CONFIG, SPECIALS) if vocabulary.kind not in word_bpe.KINDS else ():
        values = folder.read(name)
        for role in ROLES:
            content = _contents([values.get(f'{role}_token')])
            if content not in ([], [special[role]]):
                refuse(folder.directory / name, f'{role}_token', content[0], special[role])

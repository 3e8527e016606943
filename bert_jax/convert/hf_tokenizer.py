"""The vocabulary of a Hugging Face folder. It is read only if its text is prepared as in BERT."""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from bert_jax.convert.foreign import check_vocabulary, read_json
from bert_jax.data.tokenizers import tokenizer
from bert_jax.data.tokenizers.specials import NAMES
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.data.tokenizers.wordpiece_vocabulary import WordPiece
from bert_jax.inference.model_dir import Pretrained

CONFIG, SPECIALS, ADDED = 'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json'
# The tokenizers that split text as BERT's does. Their names may end in 'Fast'.
CLASSES = ('BertTokenizer', 'DistilBertTokenizer', 'PreTrainedTokenizer', 'TokenizersBackend')
# The keys of tokenizer_config.json that change token ids, and BERT's values. The normalizer in
# tokenizer.json calls tokenize_chinese_chars handle_chinese_chars.
EXPECTED = {
    'do_basic_tokenize': True,
    'clean_text': True,
    'tokenize_chinese_chars': True,
    'handle_chinese_chars': True,
    'wordpieces_prefix': '##',
    'max_input_chars_per_word': 100,
}
WEIGHTS_ALONE = 'Remove the vocabulary to convert the weights alone, for use with token ids'


def read(
    directory: pathlib.Path, lowercase: bool | None, vocab_size: int
) -> tuple[Tokenizer | None, tuple[str, ...]]:
    """The folder's vocabulary, None if it has none, and lines to print about it.

    lowercase: whether text is lowercased, if no file says so. Raises ValueError if text is not
    prepared as in BERT, and for the reasons of `check_vocabulary`.
    """
    tokenizer_json, options = _optional(directory, 'tokenizer.json'), _optional(directory, CONFIG)
    if not tokenizer_json and not tokenizer.find(directory):
        return None, ()
    # transformers looks for the class in tokenizer_config.json first.
    for name, values in ((CONFIG, options), ('config.json', _optional(directory, 'config.json'))):
        if kind := values.get('tokenizer_class'):
            if str(kind).removesuffix('Fast') not in CLASSES:
                _refuse(directory / name, 'tokenizer_class', kind, 'BertTokenizer')
            break
    normalizer = tokenizer_json.get('normalizer')
    stated = _boolean(options, 'do_lower_case', directory / CONFIG)
    if stated is None and isinstance(normalizer, dict):
        stated = _boolean(normalizer, 'lowercase', directory / 'tokenizer.json')
    if stated is not None and lowercase not in (None, stated):
        raise ValueError(
            f'{directory} says that its text is {"" if stated else "not "}lowercased, but '
            f'--{"" if lowercase else "no"}lowercase is given; remove the flag, or correct '
            f'do_lower_case in {CONFIG}'
        )
    stated = lowercase if stated is None else stated
    for key, value in {**EXPECTED, 'strip_accents': stated is not False}.items():
        if options.get(key) not in (None, value):
            _refuse(directory / CONFIG, key, options[key], value)
    vocabulary = _vocabulary(directory, tokenizer_json, stated is not False)
    notes = check_vocabulary(vocabulary, stated, vocab_size, directory)
    return vocabulary, (*notes, *_check_tokens(directory, vocabulary))


def _refuse(path: pathlib.Path, key: str, value: Any, expected: Any) -> NoReturn:
    raise ValueError(
        f'{path}: {key} is {value!r}; bert_jax has {expected!r} only. {WEIGHTS_ALONE}, or the key '
        'to prepare text as bert_jax does'
    )


def _optional(directory: pathlib.Path, name: str) -> dict[str, Any]:
    path = directory / name
    return read_json(path) if path.exists() else {}


def _boolean(values: Mapping[str, Any], key: str, path: pathlib.Path) -> bool | None:
    value = values.get(key)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f'{path}: {key} must be true or false, not {value!r}')
    return value


def _vocabulary(
    directory: pathlib.Path, tokenizer_json: Mapping[str, Any], lowercase: bool
) -> Tokenizer:
    """The vocabulary in the file that `tokenizer.find` finds, or else in tokenizer.json."""
    path = directory / 'tokenizer.json'
    if not tokenizer_json:
        return tokenizer.load(directory, lowercase)
    ours = json.loads(WordPiece([*tokenizer.SPECIALS], lowercase).model.to_str())
    ours['normalizer']['strip_accents'] = lowercase
    for section in ('normalizer', 'pre_tokenizer', 'model'):
        theirs = tokenizer_json.get(section)
        if not isinstance(theirs, dict):
            _refuse(path, section, theirs, ours[section]['type'])
        for key in ('type', *sorted(theirs.keys() - {'lowercase', 'vocab'})):
            value, expected = theirs.get(key), ours[section].get(key)
            if value != expected and (value is not None or key == 'type'):
                _refuse(path, f'{section}.{key}', value, expected)
    try:
        ids = tokenizer_json['model']['vocab']
        by_id = {number: piece for piece, number in ids.items()}
        pieces = [by_id[i] for i in range(len(ids))]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{path} is not a complete vocabulary: no {error}') from error
    if not tokenizer.find(directory):
        return tokenizer.WordPiece(pieces, lowercase, path)
    vocabulary = tokenizer.load(directory, lowercase)
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


def _added(directory: pathlib.Path) -> Iterator[tuple[str, str]]:
    """(file, token) of the tokens that transformers searches for before it splits text."""
    yield from ((ADDED, token) for token in _optional(directory, ADDED))
    for name, keys in (
        ('tokenizer.json', ('added_tokens',)),
        (CONFIG, ('added_tokens_decoder', 'additional_special_tokens', 'extra_special_tokens')),
        (CONFIG, ('never_split',)),
        (SPECIALS, ('additional_special_tokens', 'extra_special_tokens')),
    ):
        values = _optional(directory, name)
        yield from ((name, token) for key in keys for token in _contents(values.get(key)))


def _check_tokens(directory: pathlib.Path, vocabulary: Tokenizer) -> tuple[str, ...]:
    """Returns a note if there are tokens that transformers finds in text and bert_jax does not.

    Raises ValueError for special tokens with other names and for tokens outside the vocabulary.
    """
    special = vocabulary.special_pieces.by_role()
    for name in (CONFIG, SPECIALS):
        values = _optional(directory, name)
        for role in NAMES:
            content = _contents([values.get(f'{role}_token')])
            if content not in ([], [special[role]]):
                _refuse(directory / name, f'{role}_token', content[0], special[role])
    pieces, added = set(vocabulary.pieces), dict[str, str]()
    for name, token in _added(directory):
        if token not in pieces:
            raise ValueError(
                f'{directory / name} adds {token!r}, which the vocabulary does not have; bert_jax '
                f'has no tokens outside the vocabulary. {WEIGHTS_ALONE}'
            )
        if token not in special.values():
            added[token] = name
    if not added:
        return ()
    first = next(iter(added))
    return (
        f'{len(added)} added tokens, such as {first!r} in {added[first]}: transformers finds them '
        'in text, bert_jax splits text that spells them',
    )


def write(directory: pathlib.Path, source: Pretrained) -> list[str]:
    """Writes the vocabulary as transformers reads it; returns lines to print."""
    vocabulary = source.vocabulary
    if vocabulary is None:
        return []
    vocabulary.save(directory)
    if 'vocab.txt' not in vocabulary.files:
        return ['transformers has no BERT tokenizer for SentencePiece; tokenizer.model is copied']
    settings = {
        'tokenizer_class': 'BertTokenizer',
        'do_lower_case': vocabulary.lowercase,
        'model_max_length': source.config.max_position_embeddings,
        **{f'{role}_token': x for role, x in vocabulary.special_pieces.by_role().items()},
    }
    (directory / CONFIG).write_text(json.dumps(settings, indent=2) + '\n')
    return []

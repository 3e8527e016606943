"""The vocabulary of a folder of transformers, and whether it is prepared as BERT's is."""

import pathlib
from collections.abc import Mapping
from typing import Any

from bert_jax.convert.foreign import VOCABULARIES, fitting, read_json
from bert_jax.data.tokenizers import tokenizer
from bert_jax.data.tokenizers.specials import BERT

CLASSES = ('BertTokenizer', 'BertTokenizerFast', 'PreTrainedTokenizerFast', 'TokenizersBackend')
# Of a tokenizer.json: section, key, value, and whether the key has to be there.
EXPECTED = (
    ('model', 'type', 'WordPiece', True),
    ('model', 'continuing_subword_prefix', '##', False),
    ('model', 'unk_token', BERT.unk, False),
    ('model', 'max_input_chars_per_word', 100, False),
    ('normalizer', 'type', 'BertNormalizer', True),
    ('normalizer', 'clean_text', True, False),
    ('pre_tokenizer', 'type', 'BertPreTokenizer', True),
)
WEIGHTS_ALONE = 'Take the vocabulary away to convert the weights alone, for use with token ids'


def read(
    directory: pathlib.Path, lowercase: bool | None, vocab_size: int
) -> tuple[tokenizer.Tokenizer | None, tuple[str, ...]]:
    """The folder's vocabulary, None where it has none, and what is to be said about it.

    lowercase: whether text is, where no file says it. Raises ValueError where text is prepared in
    another way than BERT's, and as `fitting` does.
    """
    whole = directory / 'tokenizer.json'
    plain = any((directory / name).exists() for name in VOCABULARIES)
    if not whole.exists() and not plain:
        return None, ()
    options, said = _options(directory)
    pieces: list[str] = []
    if whole.exists():
        pieces, normalizer = _word_pieces(whole)
        if said is None:
            said = _boolean(normalizer, 'lowercase', whole)
        _check_text(normalizer, said is not False, whole)
    if said is not None:
        if lowercase not in (None, said):
            raise ValueError(
                f'{directory} says that its text is {"" if said else "not "}lowercased, '
                f'--{"" if lowercase else "no"}lowercase the opposite; leave the flag away, or '
                'correct do_lower_case in tokenizer_config.json'
            )
        lowercase = said
    _check_text(options, lowercase is not False, directory / 'tokenizer_config.json')

    def build(lowercase: bool) -> tokenizer.Tokenizer:
        if (directory / 'vocab.txt').exists() or not pieces:
            return tokenizer.load(directory, lowercase)
        return tokenizer.wordpiece(pieces, lowercase, str(whole))

    vocabulary, notes = fitting(build, lowercase, vocab_size, directory)
    if (directory / 'added_tokens.json').exists():
        added = read_json(directory / 'added_tokens.json')
        _check_added(added, vocabulary.pieces, directory / 'added_tokens.json')
    return vocabulary, notes


def _options(directory: pathlib.Path) -> tuple[dict[str, Any], bool | None]:
    """tokenizer_config.json, {} where there is none, and its do_lower_case."""
    path = directory / 'tokenizer_config.json'
    options = read_json(path) if path.exists() else {}
    # transformers looks for the class there first, then in config.json.
    for place, values in ((path, options), (directory / 'config.json', None)):
        kind = (read_json(place) if values is None else values).get('tokenizer_class')
        if kind and kind not in CLASSES:
            raise ValueError(
                f"{place}: tokenizer_class is {kind!r}; bert_jax has BERT's WordPiece only. "
                f'{WEIGHTS_ALONE}'
            )
        if kind:
            break
    return options, _boolean(options, 'do_lower_case', path)


def _boolean(values: Mapping[str, Any], key: str, path: pathlib.Path) -> bool | None:
    value = values.get(key)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f'{path}: {key} must be true or false, not {value!r}')
    return value


def _check_text(options: Mapping[str, Any], lowercase: bool, path: pathlib.Path) -> None:
    expected = {'strip_accents': lowercase, 'tokenize_chinese_chars': True}
    expected['handle_chinese_chars'] = True
    for key, value in expected.items():
        if options.get(key) not in (None, value):
            raise ValueError(
                f'{path}: {key} is {options[key]!r} where text is '
                f'{"" if lowercase else "not "}lowercased; bert_jax has {value!r} only. Take the '
                'key away to convert all the same, with text prepared in that way'
            )


def _word_pieces(path: pathlib.Path) -> tuple[list[str], dict[str, Any]]:
    """The vocabulary of a tokenizer.json, in order, and its normalizer."""
    values = read_json(path)
    for section, key, value, required in EXPECTED:
        settings = values.get(section)
        if not isinstance(settings, dict):
            raise ValueError(
                f"{path}: {section} is {settings!r}; BERT's has {key} {value!r}. {WEIGHTS_ALONE}"
            )
        found = settings.get(key, None if required else value)
        if found != value:
            raise ValueError(
                f'{path}: {section}.{key} is {found!r}; bert_jax has {value!r} only. '
                f'{WEIGHTS_ALONE}'
            )
    try:
        pieces = {number: piece for piece, number in values['model']['vocab'].items()}
        added = [token['content'] for token in values.get('added_tokens') or ()]
        ordered = [pieces[i] for i in range(len(values['model']['vocab']))]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{path} is not a whole vocabulary: no {error}') from error
    _check_added(added, ordered, path)
    return ordered, values['normalizer']


def _check_added(added: Any, pieces: list[str], path: pathlib.Path) -> None:
    """transformers looks for added tokens before it splits text; here there is no such step."""
    if outside := [token for token in added if token not in set(pieces)]:
        raise ValueError(
            f'{path} adds {outside[0]!r}, which the vocabulary does not have (of {len(outside)}); '
            f'bert_jax has no tokens beside it. {WEIGHTS_ALONE}'
        )

"""The vocabulary of a Hugging Face folder, of every family."""

import contextlib
import functools
import pathlib
from collections.abc import Callable
from typing import Any

from etils import epath

from bert_jax.convert import hf_added_tokens
from bert_jax.convert.foreign import check_vocabulary
from bert_jax.convert.hf_tokenizer_files import write as write
from bert_jax.convert.hf_tokenizer_kind import (
    CASE,
    CONFIG,
    LANGUAGES,
    SPECIALS,
    Folder,
    kind_of,
    refuse,
)
from bert_jax.data.tokenizers import (
    fairseq_sentencepiece,
    sentencepiece_model,
    tokenizer,
    tokenizer_json,
    word_bpe,
)
from bert_jax.data.tokenizers.added_tokens import WithAddedTokens
from bert_jax.data.tokenizers.base import MARKER
from bert_jax.data.tokenizers.fast_tokenizer import by_id
from bert_jax.data.tokenizers.specials import NAMES, OPTIONAL
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.data.tokenizers.wordpiece_vocabulary import WordPiece

# The keys of tokenizer_config.json that change token ids, and the only values that bert_jax
# supports without a tokenizer.json.
EXPECTED: dict[str, dict[str, Any]] = {
    'wordpiece': {
        'do_basic_tokenize': True,
        'clean_text': True,
        'tokenize_chinese_chars': True,
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
ENDS = {'cls': 'bos', 'sep': 'eos'}  # role -> its name in other families
JSON = tokenizer_json.JsonTokenizer.kind


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
    expected = {} if folder.described else EXPECTED.get(kind, {})
    for key, value in expected.items():
        if folder.options.get(key) not in (None, value):
            refuse(directory / CONFIG, key, folder.options[key], value)
    stated = _lowercase(folder, kind, lowercase)
    if model_type == 'xlnet' and stated is None:
        stated = False
    vocabulary = _load(folder, kind, stated is not False)
    if kind not in CASE:
        stated = vocabulary.lowercase
        _check_flag(folder, lowercase, stated, '')
    _check_special_tokens(folder, vocabulary)
    vocabulary, notes = _with_added(folder, vocabulary, stated, vocab_size)
    return vocabulary, (*check_vocabulary(vocabulary, stated, vocab_size, directory), *notes)


def _with_added(
    folder: Folder, vocabulary: Tokenizer, lowercase: bool | None, rows: int
) -> tuple[Tokenizer, list[str]]:
    """Returns the vocabulary with the tokens that the folder adds, and lines to print.

    If tokenizer.json gives other ids than `vocabulary`, the result is that tokenizer.
    """
    found, kind = hf_added_tokens.read(folder), vocabulary.kind
    every = hf_added_tokens.beyond(folder.directory, found, vocabulary, rows)
    tokens = [token for token in every if token.content not in RESERVED.get(kind, ())]
    notes = list[str]()
    if tokens:
        first, number = tokens[0].content, len(tokens)
        what = 'added token is' if number == 1 else 'added tokens are'
        such = '' if number == 1 else ', the first one'
        notes.append(f'{number} {what} found in text{such}: {first!r}')
    if not folder.described:
        return (WithAddedTokens(vocabulary, tokens) if tokens else vocabulary), notes
    # transformers prefers these settings, unless the class uses tokenizer.json as it is.
    settings = {
        'lowercase': lowercase,
        'strip_accents': folder.boolean('strip_accents'),
        'handle_chinese_chars': folder.boolean('tokenize_chinese_chars'),
        'add_prefix_space': folder.boolean('add_prefix_space'),
    }
    complete = hf_added_tokens.completed(folder, tokens, settings if kind != JSON else {})
    reason = hf_added_tokens.difference(complete, vocabulary, tokens)
    if not reason:
        return vocabulary, notes
    if not tokens:
        notes.append(f'tokenizer.json is used, which {reason}')
    content, path = complete.to_str().encode(), folder.directory / tokenizer_json.FILE
    make = functools.partial(tokenizer_json.JsonTokenizer, content, source=path)
    return _with_names(folder, make), notes


def _with_names(folder: Folder, make: Callable[..., Tokenizer]) -> Tokenizer:
    """Returns the vocabulary that `make` makes.

    `make` receives the special tokens that the folder names, unless it finds them itself. A folder
    without tokens of the roles cls and sep has bos and eos in their place.
    """
    named = folder.specials(SPECIALS) | folder.specials(CONFIG)
    names = {role: named[role] for role in ROLES if role in named}
    ends = {role: named[other] for role, other in ENDS.items() if other in named}
    for specials in (None, names):
        with contextlib.suppress(ValueError):
            vocabulary = make(specials=specials)
            if names.items() <= vocabulary.special_pieces.by_role().items():
                return vocabulary
    return make(specials=ends | names)


def _lowercase(folder: Folder, kind: str, given: bool | None) -> bool | None:
    """Returns whether text is lowercased; None if neither a file nor `given` says so. Raises
    ValueError if they contradict each other."""
    if kind not in CASE:
        return given
    key, default = CASE[kind]
    stated = folder.boolean(key)
    if stated is None and kind == 'wordpiece' and folder.described:
        stated = folder.fast().normalizer.lowercase
    if stated is None and given is None:
        return default
    _check_flag(folder, given, stated, f', or correct {key} in {CONFIG}')
    return given if stated is None else stated


def _check_flag(folder: Folder, given: bool | None, stated: bool | None, remedy: str) -> None:
    """Raises ValueError if the flag --lowercase contradicts the folder. given: the flag. stated:
    what the folder says. None: nothing. remedy: the end of the message."""
    if stated is not None and given not in (None, stated):
        raise ValueError(
            f'{folder.directory} says that its text is {"" if stated else "not "}lowercased, but '
            f'--{"" if given else "no"}lowercase is given; remove the flag{remedy}'
        )


def _load(folder: Folder, kind: str, lowercase: bool) -> Tokenizer:
    """The vocabulary of a folder, without the tokens that the folder adds."""
    path = epath.Path(folder.directory)
    if (path / MARKER).exists():
        return tokenizer.load(path)
    if kind == 'wordpiece':
        return _word_pieces(folder, lowercase)
    if kind == 'sentencepiece':
        strips = False if folder.boolean('keep_accents') else None
        return sentencepiece_model.read_folder(path, lowercase=lowercase, strip_accents=strips)
    make = functools.partial(tokenizer.KINDS[kind], path)
    if kind in word_bpe.KINDS:
        return make(lowercase=lowercase, language=LANGUAGES[kind])
    if kind == 'byte_bpe':
        prefix = bool(folder.boolean('add_prefix_space'))
        make = functools.partial(make, add_prefix_space=prefix)
    return _with_names(folder, make)


def _word_pieces(folder: Folder, lowercase: bool) -> Tokenizer:
    """The vocabulary in the file that `tokenizer.find` finds, or else in tokenizer.json."""
    directory, path = folder.directory, folder.directory / tokenizer_json.FILE
    strips = folder.boolean('strip_accents')
    strips = None if strips == lowercase else strips
    if not folder.described:
        return tokenizer.load(directory, lowercase, strips)
    pieces = by_id(folder.fast().get_vocab(with_added_tokens=False), path)
    if not (directory / 'vocab.txt').exists():
        return WordPiece(pieces, lowercase, path, strips)
    vocabulary = tokenizer.load(directory, lowercase, strips)
    if vocabulary.pieces != pieces:
        raise ValueError(
            f'{path} and {tokenizer.find(directory)} hold different vocabularies; remove the '
            'wrong one'
        )
    return vocabulary


def _check_special_tokens(folder: Folder, vocabulary: Tokenizer) -> None:
    """Raises ValueError if the folder has other names for the special tokens."""
    special = vocabulary.special_pieces.by_role()
    for name in (CONFIG, SPECIALS) if vocabulary.kind not in word_bpe.KINDS else ():
        for role, content in folder.specials(name).items():
            if role in ROLES and content != special[role]:
                refuse(folder.directory / name, f'{role}_token', content, special[role])

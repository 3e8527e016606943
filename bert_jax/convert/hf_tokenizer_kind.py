"""Recognizes the kind of the vocabulary of a Hugging Face folder."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any, NoReturn

import tokenizers

from bert_jax.convert.foreign import read_json
from bert_jax.data.tokenizers import (
    byte_bpe,
    fairseq_sentencepiece,
    model_tokenizer,
    sentencepiece_model,
    tokenizer_json,
    word_bpe,
    wordpiece_vocabulary,
)
from bert_jax.data.tokenizers.base import MARKER

CONFIG, SPECIALS, ADDED = 'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json'
# The class of tokenizers of each family in transformers, and the kind of its vocabulary. The names
# of classes may end in 'Fast'.
FAMILIES = {
    'bert': ('BertTokenizer', 'wordpiece'),
    'distilbert': ('DistilBertTokenizer', 'wordpiece'),
    'electra': ('ElectraTokenizer', 'wordpiece'),
    'roberta': ('RobertaTokenizer', 'byte_bpe'),
    'xlm-roberta': ('XLMRobertaTokenizer', 'xlm_roberta'),
    'camembert': ('CamembertTokenizer', 'camembert'),
    'albert': ('AlbertTokenizer', 'sentencepiece'),
    'xlnet': ('XLNetTokenizer', 'sentencepiece'),
    'xlm': ('XLMTokenizer', 'xlm_bpe'),
    'flaubert': ('FlaubertTokenizer', 'flaubert_bpe'),
}
CLASSES = dict(FAMILIES.values())
# These classes use tokenizer.json as it is.
GENERIC = ('PreTrainedTokenizer', 'TokenizersBackend')
# The files of each kind, of which one has to exist.
FILES = {
    'wordpiece': (wordpiece_vocabulary.VOCABULARY,),
    'sentencepiece': sentencepiece_model.MODELS,
    'byte_bpe': (byte_bpe.VOCABULARY,),
    **dict.fromkeys(word_bpe.KINDS, (byte_bpe.VOCABULARY,)),
    **dict.fromkeys(
        fairseq_sentencepiece.FIRST, (fairseq_sentencepiece.PUBLISHED, model_tokenizer.MODEL)
    ),
}
# The key that says whether text is lowercased, and its value if it is missing. None: not known.
CASE: dict[str, tuple[str, bool | None]] = {
    'wordpiece': ('do_lower_case', None),
    'sentencepiece': ('do_lower_case', None),
    'xlm_bpe': ('do_lowercase_and_remove_accent', True),
    'flaubert_bpe': ('do_lowercase', False),
}
# The languages whose rules of Moses transformers uses.
LANGUAGES = {'xlm_bpe': 'en', 'flaubert_bpe': 'fr'}
WEIGHTS_ALONE = 'Remove the vocabulary to convert the weights alone, for use with token ids'


@dataclasses.dataclass(frozen=True)
class Folder:
    """A Hugging Face folder, for its JSON files about the vocabulary."""

    directory: pathlib.Path

    def read(self, name: str) -> dict[str, Any]:
        """The content of a file of the folder; {} if it does not exist."""
        path = self.directory / name
        return read_json(path) if path.exists() else {}

    @functools.cached_property
    def described(self) -> dict[str, Any]:
        """The content of tokenizer.json. If the type of its model is missing, as in files of 2020
        such as that of bert-base-uncased, it is added."""
        values = self.read(tokenizer_json.FILE)
        model = values.get('model')
        if isinstance(model, dict) and model.get('type') is None:
            values['model'] = {**model, 'type': _model_type(model)}
        return values

    @functools.cached_property
    def options(self) -> dict[str, Any]:
        """The content of tokenizer_config.json."""
        return self.read(CONFIG)

    def boolean(self, key: str) -> bool | None:
        """An entry of `options`; None if it is missing. Raises ValueError if it is not a bool."""
        value = self.options.get(key)
        if value is not None and not isinstance(value, bool):
            path = self.directory / CONFIG
            raise ValueError(f'{path}: {key} must be true or false, not {value!r}')
        return value

    def fast(self) -> tokenizers.Tokenizer:
        """The tokenizer of tokenizer.json. Raises ValueError if the file does not describe one."""
        source = self.directory / tokenizer_json.FILE
        made = tokenizer_json.from_json(json.dumps(self.described), source)
        made.no_truncation()
        made.no_padding()
        return made

    def specials(self, name: str) -> dict[str, str]:
        """The special tokens that a file names, by role."""
        found = dict[str, str]()
        for key, token in self.read(name).items():
            content = token.get('content') if isinstance(token, dict) else token
            if key.endswith('_token') and isinstance(content, str):
                found[key.removesuffix('_token')] = content
        return found


def kind_of(folder: Folder, model_type: str) -> str:
    """The kind of the folder's vocabulary, a key of `tokenizer.KINDS`. Raises ValueError if the
    class of the tokenizer is not known, and if the folder does not have its files."""
    directory, described = folder.directory, folder.described
    if (directory / MARKER).exists():  # a folder that bert_jax wrote
        return str(read_json(directory / MARKER).get('kind'))
    # transformers looks for the class in tokenizer_config.json first.
    files = [file for file in (CONFIG, 'config.json') if folder.read(file).get('tokenizer_class')]
    found = str(folder.read(files[0])['tokenizer_class']) if files else ''
    stated = found.removesuffix('Fast')
    usual, kind = FAMILIES.get(model_type, FAMILIES['bert'])
    kind = CLASSES.get(stated, kind)
    has_files = any((directory / name).exists() for name in FILES[kind])
    if described:
        # A tokenizer.json is used as it is, also that of a class that bert_jax does not have. The
        # exceptions are known classes: WordPiece that splits text as BERT does, and others whose
        # own files are in the folder.
        is_bert = kind == 'wordpiece' and _splits_like_bert(described)
        is_known = stated in CLASSES or (model_type in FAMILIES and stated in ('', *GENERIC))
        own_files = has_files and kind != 'wordpiece' and stated not in GENERIC
        return kind if is_known and (is_bert or own_files) else tokenizer_json.JsonTokenizer.kind
    if stated not in ('', *CLASSES, *GENERIC):
        refuse(directory / files[0], 'tokenizer_class', found, ', '.join(CLASSES))
    if has_files or kind == 'wordpiece':
        return kind
    if stated not in CLASSES and (directory / wordpiece_vocabulary.VOCABULARY).exists():
        return 'wordpiece'
    raise ValueError(
        f'{directory} has no {" or ".join(FILES[kind])}, the vocabulary of a '
        f'{stated or usual}. {WEIGHTS_ALONE}'
    )


def _model_type(model: Mapping[str, Any]) -> str:
    """The type of the model in a tokenizer.json, found from the keys of the model."""
    if isinstance(model.get('vocab'), list):
        return 'Unigram'
    if 'merges' in model:
        return 'BPE'
    return 'WordPiece' if 'continuing_subword_prefix' in model else 'WordLevel'


def _splits_like_bert(described: Mapping[str, Any]) -> bool:
    """Returns whether a tokenizer.json splits text as BERT does."""
    parts = [described.get(section) for section in ('normalizer', 'pre_tokenizer', 'model')]
    types = [part.get('type') if isinstance(part, dict) else None for part in parts]
    return types == ['BertNormalizer', 'BertPreTokenizer', 'WordPiece']


def refuse(path: pathlib.Path, key: str, value: Any, expected: Any) -> NoReturn:
    raise ValueError(
        f'{path}: {key} is {value!r}; bert_jax supports only {expected!r}. {WEIGHTS_ALONE}, '
        'or remove the key to prepare text in the way of bert_jax'
    )

"""The languages of a model: their numbers in rows, and the language of a text.

XLM (Conneau and Lample, 2019) adds an embedding of its language to each token. A batch has the
numbers of languages in `token_type_ids`. The names of the languages, by these numbers, are in
config.model.languages.
"""

import dataclasses

from bert_jax.config import ModelConfig
from bert_jax.data.row_format import RowFormat, format_of
from bert_jax.data.tokenizers.tokenizer import Tokenizer

KEY = 'config.data.language'


def has_embeddings(model: ModelConfig) -> bool:
    """Returns whether the token types of a model are languages, as in XLM."""
    return model.model_type == 'xlm' and model.has_types


def check(language: str, model: ModelConfig, vocabulary: Tokenizer, key: str = KEY) -> None:
    """Raises ValueError if the texts for a model cannot be in `language`, or if its rows do not
    depend on the language. key: the key or the flag that set the language, for messages."""
    known = model.language_names
    if known and language not in known:
        raise ValueError(
            f'{key} is {language!r}; expected one of the languages of the model: {", ".join(known)}'
        )
    if not known and has_embeddings(model):
        raise ValueError(
            f'{key} is {language!r}, but the checkpoint does not name its '
            f'{model.type_vocab_size} languages. Add lang2id to the config.json of the published '
            'checkpoint, and convert it again'
        )
    if not known and not vocabulary.language:
        raise ValueError(
            f'{key} is {language!r}, but neither the model nor its vocabulary depends on the '
            'language of a text; remove it'
        )


def number(model: ModelConfig, language: str) -> int:
    """The token type of texts in `language`; '' is the first language of the model. It is 0 if the
    model has no embeddings of languages, or does not name them."""
    known = model.language_names
    return known.index(language) if language and known and has_embeddings(model) else 0


def row_format(model: ModelConfig, *languages: str) -> RowFormat:
    """The layout of the rows of texts. languages: the language of all texts of a row, or one for
    each of them."""
    form, types = format_of(model), tuple(number(model, language) for language in languages)
    return dataclasses.replace(form, types=types) if any(types) or len(types) > 1 else form

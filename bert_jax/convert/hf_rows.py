"""The special tokens that the tokenizer of a Hugging Face folder puts around texts."""

import dataclasses
import pathlib
from collections.abc import Collection
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.convert.hf_tokenizer_kind import CONFIG, SPECIALS, Folder
from bert_jax.data.tokenizers import tokenizer_json, word_bpe
from bert_jax.data.tokenizers.added_tokens import WithAddedTokens
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.inference.rows import ROW_FORMATS
from bert_jax.models.heads import TASK_HEADS

BOS = 'xlm-bos'  # the row format of XLM with the token bos in front
# The values of config.model.row_format that `_of_file` tries, in order.
CHOICES = ('', 'distilbert', 'bert', 'roberta')
# The row format of each kind of vocabulary, as its class of tokenizers makes it. AlbertTokenizer
# and XLNetTokenizer make the rows of their families.
BY_KIND = {
    'wordpiece': 'bert',
    'byte_bpe': 'roberta',
    'xlm_roberta': 'roberta',
    'camembert': 'roberta',
}


def with_rows(
    model: ModelConfig,
    directory: pathlib.Path,
    vocabulary: Tokenizer | None,
    heads: Collection[str],
) -> tuple[ModelConfig, list[str]]:
    """Returns the model with the row format of the tokenizer in a folder, and lines to print.

    transformers takes the special tokens around texts from the tokenizer, which may belong
    to another family than the model.
    """
    if vocabulary is None:
        return model, []
    name, line = _row_format(model, Folder(directory), vocabulary, heads)
    return dataclasses.replace(model, row_format=name), [line] if line else []


def _row_format(
    model: ModelConfig, folder: Folder, vocabulary: Tokenizer, heads: Collection[str]
) -> tuple[Any, str]:
    """Returns config.model.row_format, and a line to print or ''."""
    inner = vocabulary.inner if isinstance(vocabulary, WithAddedTokens) else vocabulary
    if inner.kind in word_bpe.KINDS:
        # transformers puts <s> in front, with which XLM was not pretrained.
        pieces, is_fine_tuned = vocabulary.special_pieces, bool({*TASK_HEADS} & {*heads})
        named = folder.specials(CONFIG) | folder.specials(SPECIALS)
        has_bos = pieces.bos != pieces.cls and named.get('bos', '<s>') == pieces.bos
        return (BOS if is_fine_tuned and has_bos else ''), ''
    alone = inner.kind == tokenizer_json.JsonTokenizer.kind
    if folder.described and (alone or folder.described.get('post_processor')):
        return _of_file(folder, model, vocabulary)
    found = BY_KIND.get(inner.kind, '')
    if found == 'bert' and not model.has_types:
        found = 'distilbert'
    same = not found or ROW_FORMATS[found] == ROW_FORMATS[model.model_type]
    return ('' if same else found), ''


def _of_file(folder: Folder, model: ModelConfig, vocabulary: Tokenizer) -> tuple[Any, str]:
    """The result of `_row_format` for a tokenizer.json."""
    theirs = folder.fast()
    plain = [theirs.encode(text, add_special_tokens=False).ids for text in 'ab']
    encodings = [theirs.encode('a'), theirs.encode('a', 'b')]
    rows = [(row.ids, row.type_ids if model.has_types else []) for row in encodings]
    for name in CHOICES:
        form = ROW_FORMATS[name or model.model_type]
        ours = [form.row(plain[:count], vocabulary.specials) for count in (1, 2)]
        if rows == [(ids, types if model.has_types else []) for ids, types in ours]:
            return name, ''
    tokens = ' '.join(theirs.id_to_token(i) or '?' for i in encodings[1].ids)
    return '', (
        f'tokenizer.json makes the row "{tokens}" of the texts "a" and "b"; bert_jax puts '
        'other special tokens around texts, so its predictions may differ'
    )

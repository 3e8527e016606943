"""Settings of a tokenizer that change token ids are followed, refused or reported."""

import json
import pathlib
from typing import Any

import pytest
from folders import PIECES, tokenizer_json

from bert_jax.convert import hf_tokenizer
from bert_jax.convert.hf_tokenizer_kind import Folder
from bert_jax.data.tokenizers import tokenizer


def change(folder: pathlib.Path, name: str = 'tokenizer_config.json', **values: Any) -> None:
    path = folder / name
    old = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(old | values))


def read(folder: pathlib.Path) -> tuple[tokenizer.Tokenizer, str]:
    vocabulary, notes = hf_tokenizer.read(folder, None, len(PIECES))
    assert vocabulary is not None and vocabulary.pieces == PIECES
    return vocabulary, ' '.join(notes)


@pytest.mark.parametrize('kind', ['DistilBertTokenizer', 'BertTokenizerFast'])
def test_tokenizers_that_do_the_same(theirs: pathlib.Path, kind: str) -> None:
    change(theirs, tokenizer_class=kind, do_basic_tokenize=True, mask_token={'content': '[MASK]'})
    assert 'added tokens' not in read(theirs)[1]


@pytest.mark.parametrize(
    ('section', 'values'),
    [
        ('normalizer', None),
        ('normalizer', {'clean_text': False}),
        ('normalizer', {'handle_chinese_chars': False}),
        ('normalizer', {'strip_accents': True}),
        ('pre_tokenizer', {'type': 'Whitespace'}),
        ('model', {'continuing_subword_prefix': '@@'}),
        ('model', {'max_input_chars_per_word': 200}),
        ('model', {'unk_token': 'a'}),
    ],
)
def test_every_setting_of_tokenizer_json(theirs: pathlib.Path, section: str, values: Any) -> None:
    """A file with other rules than those of BERT is used as it is."""
    tokenizer_json(theirs, **{section: {}})
    assert read(theirs)[0].kind == 'wordpiece'
    tokenizer_json(theirs, **{section: values})
    texts = ['a\x00b ab', 'abc东d é', 'a' * 150, "a-b don't"]
    found = Folder(theirs).fast()
    vocabulary, _ = read(theirs)
    assert vocabulary.kind == 'tokenizer_json'
    assert vocabulary.encode_batch(texts) == [
        found.encode(text, add_special_tokens=False).ids for text in texts
    ]


def test_characters_of_chinese_may_be_parts_of_words(theirs: pathlib.Path) -> None:
    """tokenizer_config.json counts more than tokenizer.json."""
    tokenizer_json(theirs, model={})
    change(theirs, tokenize_chinese_chars=False)
    vocabulary, notes = read(theirs)
    assert 'tokenizer.json is used, which has another normalizer' in notes
    assert len(vocabulary.encode_batch(['a东a'])[0]) == 1


@pytest.mark.parametrize(
    ('name', 'values'),
    [
        ('tokenizer_config.json', {'additional_special_tokens': ['<x>']}),
        ('tokenizer_config.json', {'extra_special_tokens': {'x_token': '<x>'}}),
        ('tokenizer_config.json', {'added_tokens_decoder': {'15': {'content': '<x>'}}}),
        ('special_tokens_map.json', {'additional_special_tokens': [{'content': '<x>'}]}),
        ('added_tokens.json', {'<x>': 15}),
    ],
)
def test_added_tokens(theirs: pathlib.Path, name: str, values: Any) -> None:
    change(theirs, name, **values)
    message = f"{name} adds '<x>', but the table of embeddings has 15 rows and no row 15"
    with pytest.raises(ValueError, match=message):
        read(theirs)
    path = theirs / name
    path.write_text(path.read_text().replace('<x>', 'a').replace('15', '5'))
    vocabulary, notes = read(theirs)
    assert "1 added token is found in text: 'a'" in notes
    assert vocabulary.encode_batch(['cac']) == [vocabulary.encode_batch(['c a c'])[0]]


def test_a_special_token_of_another_name(theirs: pathlib.Path) -> None:
    change(theirs, 'special_tokens_map.json', sep_token={'content': 'a'})
    with pytest.raises(ValueError, match=r"json: sep_token is 'a'; .* supports only '\[SEP\]'"):
        read(theirs)


def test_files_of_2020_do_not_say_the_type_of_the_model(theirs: pathlib.Path) -> None:
    tokenizer_json(theirs, model={'type': None})
    assert read(theirs)[0].kind == 'wordpiece'
    types = {
        'Unigram': {'unk_id': 0, 'vocab': [['a', 0.0]]},
        'BPE': {'continuing_subword_prefix': '', 'vocab': {}, 'merges': []},
        'WordLevel': {'unk_token': '[UNK]', 'vocab': {}},
    }
    for name, model in types.items():
        (theirs / 'tokenizer.json').write_text(json.dumps({'model': model}))
        assert Folder(theirs).described['model']['type'] == name


def test_two_vocabularies(theirs: pathlib.Path) -> None:
    words = (theirs / 'vocab.txt').read_text()
    tokenizer_json(theirs, model={})
    (theirs / 'vocab.txt').write_text(words)
    read(theirs)
    (theirs / 'vocab.txt').write_text(words.replace('\nh\n', '\nx\n'))
    with pytest.raises(ValueError, match='hold different vocabularies; remove the wrong one'):
        read(theirs)

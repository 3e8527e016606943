"""Properties that config.init_from has to share with the run that starts from it."""

import dataclasses
import pathlib
from typing import Any

import pytest

from bert_jax.config import Config, DataConfig, ModelConfig
from bert_jax.data.tokenizers import tokenizer
from bert_jax.preflight import init_from

PIECES = [*tokenizer.SPECIALS, 'a']


@pytest.mark.parametrize(
    ('there', 'message'),
    [
        (
            {'hidden_act': 'gelu_new'},
            r"act='gelu_new', but .* 'gelu'; set --config.model.hidden_",
        ),
        (
            {'layer_norm_eps': 1e-5},
            r'eps=1e-05, but .* 1e-12; set --config.model.layer_norm_',
        ),
        (
            {'lowercase': False},
            r'lowercase=False, but .* True; set --config.data.lowercase=',
        ),
        ({}, ''),
    ],
)
def test_what_differs_is_named(tmp_path: pathlib.Path, there: dict[str, Any], message: str) -> None:
    lowercase = there.pop('lowercase', True)
    source = Config(model=ModelConfig(vocab_size=8, **there), data=DataConfig(lowercase=lowercase))
    (tmp_path / 'config.json').write_text(source.to_json())
    tokenizer.WordPiece(PIECES, lowercase).save(tmp_path)
    config = Config(init_from=str(tmp_path), data=DataConfig(pad_vocab_to_multiple_of=128))
    vocabulary = tokenizer.WordPiece(PIECES, True)
    if message:
        with pytest.raises(ValueError, match=message):
            init_from.vocab_size(config, vocabulary)
    else:  # the table may have more rows than the vocabulary has tokens
        assert init_from.vocab_size(config, vocabulary) == 128
        unpadded = dataclasses.replace(config, data=DataConfig())
        assert init_from.vocab_size(unpadded, vocabulary) == 8
    (tmp_path / 'config.json').unlink()
    assert init_from.vocab_size(config, vocabulary) == 128
    assert init_from.vocab_size(Config(), vocabulary) == len(PIECES)

"""Generation settings of transformers are read, reported in a line, or refused."""

import json
import pathlib
import re
from typing import Any

import numpy as np
import pytest
from folders import MODEL, PIECES

from bert_jax.config import DataConfig, EvalConfig
from bert_jax.convert import encoder_decoder, generation_settings
from bert_jax.convert.families.bert import BERT
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference.model_dir import Pretrained

VOCABULARY = tokenizer.WordPiece(PIECES, lowercase=False)
CLS, SEP = VOCABULARY.specials.cls, VOCABULARY.specials.sep
SUMMARY = {'num_beams': 4, 'length_penalty': 2, 'early_stopping': True, 'no_repeat_ngram_size': 3}
OLD = {'num_beams': 1, 'max_length': 20, 'no_repeat_ngram_size': 0, 'repetition_penalty': 1.0}


def read(
    folder: pathlib.Path, given: dict[str, Any] | None, **values: Any
) -> generation_settings.Generation:
    if given is not None:
        (folder / generation_settings.FILE).write_text(json.dumps(given))
    return generation_settings.read(folder, values, MODEL, VOCABULARY)


def test_tensors_that_both_sides_share() -> None:
    """With tie_encoder_decoder, a file may hold them only once."""
    once, own = np.zeros(1), np.ones(1)
    tensors = {'encoder.a.weight': once, 'encoder.pooler.dense.bias': once, 'encoder.b.bias': once}
    found = encoder_decoder._with_copies(tensors | {'decoder.bert.b.bias': own}, BERT)
    assert found == tensors | {'decoder.bert.a.weight': once, 'decoder.bert.b.bias': own}


def test_a_decoder_of_2020_does_not_say_that_it_reads_the_source(tmp_path: pathlib.Path) -> None:
    side = {**BERT.values(MODEL), 'is_decoder': True}
    for changes in ({}, {'add_cross_attention': True}):
        values = {'decoder': side | changes}
        assert encoder_decoder._side(values, 'decoder', tmp_path) == (BERT, MODEL)
    with pytest.raises(ValueError, match=r'add_cross_attention is False; expected True'):
        encoder_decoder._side(
            {'decoder': side | {'add_cross_attention': False}}, 'decoder', tmp_path
        )


@pytest.mark.parametrize(
    ('given', 'values', 'settings', 'longest'),
    [
        ({}, {}, {}, 0),
        # The file overrides config.json, even if it has no settings.
        ({}, SUMMARY, {}, 0),
        (SUMMARY | {'max_length': 13, 'min_length': 5}, {}, SUMMARY | {'min_target_length': 5}, 12),
        ({'max_new_tokens': 9, 'max_length': 5, 'min_new_tokens': 2}, {}, {'min': 3}, 9),
        # In older folders, the settings of the whole model override those of the decoder.
        (None, SUMMARY | {'max_length': 13, 'decoder': OLD}, SUMMARY, 12),
        (None, {'decoder': OLD | {'num_beams': 3, 'max_length': 9}}, {'num_beams': 3}, 8),
        (None, {'decoder': OLD}, {}, 0),
        ({'decoder_start_token_id': CLS, 'eos_token_id': [SEP], 'num_beams': None}, {}, {}, 0),
    ],
)
def test_what_is_read(
    tmp_path: pathlib.Path,
    given: dict[str, Any] | None,
    values: dict[str, Any],
    settings: dict[str, Any],
    longest: int,
) -> None:
    settings = {'min_target_length' if key == 'min' else key: x for key, x in settings.items()}
    found = read(tmp_path, given, **values)
    assert found == (EvalConfig(**settings), longest, ())
    assert all(type(x) is type(getattr(EvalConfig(), k)) for k, x in vars(found.eval).items())


@pytest.mark.parametrize('name', generation_settings.NOT_COMPUTED)
def test_what_is_not_computed_is_named(tmp_path: pathlib.Path, name: str) -> None:
    neutral = generation_settings.NOT_COMPUTED[name]
    for value in (neutral, None, []):
        assert read(tmp_path, {name: value}).notes == ()
    other: Any = [7] if neutral is None else 1.5
    (line,) = read(tmp_path, {name: other}).notes
    assert f'does not compute, so its texts may differ from those of transformers: {name}=' in line
    (tmp_path / generation_settings.FILE).unlink()
    assert len(read(tmp_path, None, **{name: other}).notes) == 1


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'early_stopping': 'never'}, "does not compute.*early_stopping='never'"),
        ({'max_length': 99}, r'texts of 98 tokens, but the decoder has 16 positions'),
        ({'surprise': 1, 'use_cache': False}, r'unknown keys, which bert_jax ignores: surprise=1$'),
    ],
)
def test_what_is_said(tmp_path: pathlib.Path, given: dict[str, Any], message: str) -> None:
    found = read(tmp_path, given)
    (line,) = found.notes
    assert re.search(message, line)
    assert found.max_target_length <= MODEL.max_position_embeddings


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'num_beams': 0}, 'num_beams is 0; expected a positive integer'),
        ({'num_beams': 4.0}, 'num_beams must be int, not 4.0'),
        ({'num_beams': True}, 'num_beams must be int, not True'),
        ({'length_penalty': '2'}, "length_penalty must be float, not '2'"),
        ({'early_stopping': 'always'}, "early_stopping must be bool, not 'always'"),
        ({'no_repeat_ngram_size': -1}, 'no_repeat_ngram_size is -1; expected 0 or more'),
        ({'max_length': 1}, 'max_length is 1; expected an integer >= 2'),
        ({'max_new_tokens': 0}, 'max_new_tokens is 0; expected an integer >= 1'),
        ({'min_length': -1}, 'min_length is -1; expected an integer >= 0'),
        ({'decoder_start_token_id': 0}, r'decoder_start_token_id is 0; .* only 2, .*\[CLS\]'),
        ({'bos_token_id': 0}, 'bos_token_id is 0; bert_jax supports only 2'),
        (
            {'eos_token_id': [3, 4]},
            r'eos_token_id is \[3, 4\]; .* only 3, .*\[SEP\]., the last',
        ),
    ],
)
def test_what_is_refused(tmp_path: pathlib.Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f'{generation_settings.FILE}: {message}'):
        read(tmp_path, given)
    (tmp_path / generation_settings.FILE).unlink()
    with pytest.raises(ValueError, match=f'config.json: {message}'):
        read(tmp_path, None, **given)


def test_what_is_written_is_read_again(tmp_path: pathlib.Path) -> None:
    settings = EvalConfig(**SUMMARY, min_target_length=5)  # type: ignore[arg-type]
    data = DataConfig(max_target_length=12)
    source = Pretrained(MODEL, ('masked_lm', 'decoder'), {}, VOCABULARY, data, settings)
    generation_settings.write(tmp_path, source, {'eos_token_id': SEP})
    assert read(tmp_path, None) == (settings, 12, ())

"""The config.json of each family: values that are refused, and models that can be written."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import pytest
from folders import PIECES, assert_same, change_config, make
from kinds import tiny
from small_run import QUICK

from bert_jax.config import ModelConfig
from bert_jax.convert import hf, hf_weights
from bert_jax.convert.families import FAMILIES, family_of, heads_of_class
from bert_jax.convert.folders import convert_in, convert_out
from bert_jax.convert.foreign import read_model, why_unused
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference import model_dir
from bert_jax.inference.model_dir import Pretrained
from bert_jax.models.embeddings import sinusoids
from bert_jax.models.presets import PRESETS

# A preset of each family.
MODELS = {model.model_type: model for model in reversed(PRESETS.values())}


def values(kind: str, **changes: Any) -> dict[str, Any]:
    """A config.json with changes."""
    return FAMILIES[kind].values(MODELS[kind]) | changes


@pytest.mark.parametrize(
    ('kind', 'key', 'value'),
    [
        *((kind, key, 'other') for kind, family in FAMILIES.items() for key in family.fixed),
        *((kind, 'is_decoder', True) for kind in FAMILIES),
        ('bert', 'pruned_heads', {'1': [0]}),
        ('roberta', 'pad_token_id', None),
        ('distilbert', 'activation', 'silu'),
        ('albert', 'num_hidden_groups', 2),
        ('albert', 'embedding_size', -1),
        ('xlm', 'causal', True),
        ('xlm', 'lang2id', {'en': 1}),
        ('xlm', 'lang2id', {'en': 0, 'fr': 0}),
        ('xlm', 'id2lang', {'1': 'en'}),
        ('xlm', 'summary_activation', 'tanh'),
        ('modernbert', 'layer_types', ['sliding_attention'] * 22),
        ('modernbert', 'classifier_pooling', 'last'),
        ('modernbert', 'classifier_activation', 'silu'),
        ('modernbert', 'rope_scaling', {'rope_type': 'yarn'}),
        ('xlnet', 'd_head', 8),
        ('xlnet', 'ff_activation', 'silu'),
        *((kind, FAMILIES[kind].keys['vocab_size'], 0) for kind in FAMILIES),
    ],
)
def test_a_value_that_is_not_computed_is_refused(kind: str, key: str, value: Any) -> None:
    path = pathlib.Path('config.json')
    assert read_model(values(kind), path) == (FAMILIES[kind], MODELS[kind])
    with pytest.raises(ValueError, match=f'config.json: {key}'):
        read_model(values(kind, **{key: value}), path)


@pytest.mark.parametrize(
    ('kind', 'changes'),
    [
        ('bert', {'hidden_act': 'gelu_python', 'sentence_transformers': {'version': '4.0.1'}}),
        ('modernbert', {'attention_dropout': 0.1, 'mlp_dropout': 0.1, 'rope_scaling': None}),
        ('xlm', {'n_words': MODELS['xlm'].vocab_size, 'same_enc_dec': True, 'word_mask': 0.8}),
    ],
)
def test_values_in_published_files_that_change_nothing(kind: str, changes: dict[str, Any]) -> None:
    family, given = FAMILIES[kind], values(kind, **changes)
    trained = [key for key in changes if key in ('attention_dropout', 'mlp_dropout')]
    assert family.model(given) == MODELS[kind] and family.unknown(given) == trained


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'pre_norm': True}, 'pre_norm is True, but a model of the type .bert. has False'),
        ({'embedding_size': 32}, 'embedding_size is 32'),
        ({'model_type': 'xlm'}, 'masked_lm_transform is True, but .* has False'),
        ({'model_type': 'roberta'}, 'position_offset is 0, but .* has 2'),
        ({'model_type': 'distilbert'}, 'type_vocab_size is 2, but .* has 0'),
        ({'layer_norm_eps': 1e-5, 'model_type': 'albert'}, 'share_layers is False'),
    ],
)
def test_a_model_that_transformers_does_not_have(changes: dict[str, Any], message: str) -> None:
    model = dataclasses.replace(ModelConfig(), **changes)
    with pytest.raises(ValueError, match=message):
        FAMILIES[model.model_type].values(model)


@pytest.mark.parametrize(
    ('kind', 'name'),
    [
        ('xlnet', 'start_logits.dense.weight'),
        ('xlnet', 'end_logits.LayerNorm.bias'),
        ('xlnet', 'answer_class.dense_0.weight'),
        ('xlm', 'qa_outputs.start_logits.dense.weight'),
        ('flaubert', 'qa_outputs.answer_class.dense_1.weight'),
    ],
)
def test_answer_heads_with_beam_search_are_named(kind: str, name: str) -> None:
    reason = why_unused(name, FAMILIES[kind], (), pathlib.Path())
    assert 'beam search' in reason and 'fine-tune a new head with --config=finetune_squad' in reason


def test_bi_data_is_kept_beside_the_key_of_transformers() -> None:
    model = dataclasses.replace(MODELS['xlnet'], bi_data=True)
    written = FAMILIES['xlnet'].values(model)
    assert written['bi_data'] is False and FAMILIES['xlnet'].model(written) == model


@pytest.mark.parametrize(
    ('name', 'kind', 'heads'),
    [
        ('RobertaForSequenceClassification', 'xlm-roberta', ('pooler', 'classifier')),
        ('BertForTokenClassification', 'electra', ('tagger',)),
        ('XLMWithLMHeadModel', 'flaubert', ()),
        ('OwnForSequenceClassification', 'bert', ()),
    ],
)
def test_classes_of_another_family(name: str, kind: str, heads: tuple[str, ...]) -> None:
    assert heads_of_class(name, FAMILIES[kind]) == heads


@pytest.mark.parametrize(
    ('changes', 'line'),
    [
        ({}, 'a function to it first, such as Sigmoid'),
        ({'sentence_transformers': {'activation_fn': 'torch.nn.Tanh'}}, 'such as Tanh'),
        ({'sbert_ce_default_activation_function': 'torch.nn.Identity'}, ''),
        ({'problem_type': 'regression'}, ''),
    ],
)
def test_the_activation_of_a_single_output_is_said(changes: dict[str, Any], line: str) -> None:
    found = ' '.join(hf._notes_about_output(changes, 1, ('pooler', 'classifier')))
    assert line in found and bool(found) == bool(line)


def test_families_have_different_names() -> None:
    assert family_of({'architectures': ['FlaubertModel']}).model_type == 'flaubert'
    assert family_of({}).model_type == 'bert'
    for kind, family in FAMILIES.items():  # files of 2019 have no model_type and no class
        alike = ('roberta', 'xlm-roberta', 'camembert', 'electra', 'modernbert')
        old = {key: x for key, x in values(kind).items() if key != 'model_type'}
        assert family_of(old) is (FAMILIES['bert'] if kind in alike else family)
    with pytest.raises(
        ValueError, match=r"model_type is 'distil-bert'.*nearest name is 'distilbert'"
    ):
        family_of({'model_type': 'distil-bert'})
    with pytest.raises(ValueError, match=r"model_type is 'gpt2'; expected bert, .*xlnet$"):
        family_of({'model_type': 'gpt2'})


@pytest.mark.parametrize(
    'kind', sorted(set(FAMILIES) - {'xlm-roberta', 'camembert'})[:: 3 if QUICK else 1]
)
def test_conversion_and_back(
    tmp_path: pathlib.Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model is written in both formats and read again; unknown keys of config.json are
    reported."""
    model = dataclasses.replace(tiny(MODELS[kind]), vocab_size=15, position_offset=0)
    if model.model_type == 'roberta':  # the padding token of the test's vocabulary is 0
        model = dataclasses.replace(model, position_offset=1)
    source = make(tmp_path / 'ours', model, ('masked_lm',))
    convert_out('hf', source, tmp_path / 'theirs')
    change_config(tmp_path / 'theirs', surprise=1)
    capsys.readouterr()
    convert_in('hf', tmp_path / 'theirs', tmp_path / 'back')
    assert 'unknown keys, which bert_jax ignores: surprise=1' in capsys.readouterr().out
    assert_same(source, tmp_path / 'back')
    report = json.loads((tmp_path / 'back/conversion.json').read_text())
    assert report['unused'] == {} and report['missing'] == []


def test_positions_follow_the_id_of_padding(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """transformers computes positions from the id of padding, which is 0 in this vocabulary."""
    model = dataclasses.replace(tiny(PRESETS['roberta-base']), vocab_size=15)
    source = make(tmp_path / 'ours', model, ('masked_lm',))
    convert_out('hf', source, tmp_path / 'theirs')
    assert 'the table of positions starts at row 1' in capsys.readouterr().out
    written = json.loads((tmp_path / 'theirs/config.json').read_text())
    ids = {'pad_token_id': 0, 'bos_token_id': 2, 'eos_token_id': 3, 'max_position_embeddings': 33}
    assert {key: written[key] for key in ids} == ids
    convert_in('hf', tmp_path / 'theirs', tmp_path / 'back')
    one, other = model_dir.load(source), model_dir.load(tmp_path / 'back')
    assert (one.config.longest_row, other.config.longest_row) == (32, 32)
    path = 'encoder/embeddings/position_embeddings'
    np.testing.assert_array_equal(one.arrays()[path][2:], other.arrays()[path][1:])


@pytest.mark.parametrize('kind', ['absolute', 'sinusoidal'])
def test_positions_of_both_sides_of_an_encoder_decoder(kind: Any) -> None:
    model = dataclasses.replace(tiny(PRESETS['roberta-base']), position_embedding_type=kind)
    width, sides = model.hidden_size, ('encoder', 'decoder')
    positions = sinusoids(34, width) if kind == 'sinusoidal' else np.ones((34, width))
    arrays = {f'{side}/embeddings/word_embeddings': np.zeros((15, width)) for side in sides}
    if kind == 'absolute':
        arrays |= {f'{side}/embeddings/position_embeddings': positions for side in sides}
    vocabulary = tokenizer.WordPiece(PIECES, lowercase=False)  # the id of padding is 0
    config, notes = hf_weights.convert_positions(arrays, Pretrained(model, (), {}, vocabulary))
    assert (config.position_offset, config.max_position_embeddings) == (1, 33)
    assert config.position_embedding_type == 'absolute' and 'starts at row 1' in notes[-1]
    for side in sides:
        written = arrays[f'{side}/embeddings/position_embeddings']
        np.testing.assert_array_equal(written[1:], positions[2:])


def test_sinusoids_are_written_as_a_table(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = dataclasses.replace(
        tiny(PRESETS['xlm-mlm-en-2048']), vocab_size=15, position_embedding_type='sinusoidal'
    )
    convert_out('hf', make(tmp_path / 'ours', model, ('masked_lm',)), tmp_path / 'theirs')
    assert 'positions are written as a table' in capsys.readouterr().out
    convert_in('hf', tmp_path / 'theirs', tmp_path / 'back')

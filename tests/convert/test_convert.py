"""Conversions in both directions: every tensor is reported, and the values stay the same."""

import dataclasses
import json
import pathlib
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy
from folders import MODEL, assert_same, change_config, make, tensors, tokenizer_json, write

from bert_jax.config import ModelConfig
from bert_jax.convert import rules
from bert_jax.convert.families.bert import BERT
from bert_jax.convert.folders import convert_in, convert_out
from bert_jax.convert.tf1 import TF1
from bert_jax.inference import model_dir
from bert_jax.models.heads import PRETRAINING_HEADS
from bert_jax.models.inputs import EncoderInputs


@pytest.mark.parametrize('family', ['hf', 'tf1'])
def test_a_round_trip_gives_back_every_bit(
    tmp_path: pathlib.Path, ours: pathlib.Path, family: str
) -> None:
    convert_out(family, ours, tmp_path / 'theirs')
    convert_in(family, tmp_path / 'theirs', tmp_path / 'back', lowercase=False)
    assert_same(ours, tmp_path / 'back')


@pytest.mark.parametrize(
    'heads',
    [
        (),
        pytest.param(('pooler',), marks=pytest.mark.slow),
        pytest.param(('masked_lm',), marks=pytest.mark.slow),
        ('pooler', 'next_sentence'),
    ],
    ids=str,
)
def test_the_heads_there_are_come_through(tmp_path: pathlib.Path, heads: tuple[str, ...]) -> None:
    source = make(tmp_path / 'ours', heads=heads)
    convert_out('hf', source, tmp_path / 'theirs')
    convert_in('hf', tmp_path / 'theirs', tmp_path / 'back')
    assert_same(source, tmp_path / 'back')
    back = model_dir.load(tmp_path / 'back')
    outputs = back.model.apply({'params': back.params}, EncoderInputs.example())
    named = {'pooler': 'pooler_output', 'masked_lm': 'prediction_logits'}
    named['next_sentence'] = 'seq_relationship_logits'
    assert set(outputs) == {'last_hidden_state', *(named[head] for head in heads)}


def test_a_decoder_of_its_own(tmp_path: pathlib.Path, theirs: pathlib.Path) -> None:
    there = tensors(theirs)
    tied = there | {BERT.decoder: there[BERT.words], BERT.decoder_bias: there[BERT.bias]}
    write(theirs, tied)
    convert_in('hf', theirs, tmp_path / 'tied')
    assert model_dir.load(tmp_path / 'tied').config.tie_word_embeddings
    write(theirs, tied | {BERT.decoder: there[BERT.words] + 1})
    convert_in('hf', theirs, tmp_path / 'untied')
    untied = model_dir.load(tmp_path / 'untied')
    assert not untied.config.tie_word_embeddings
    np.testing.assert_array_equal(untied.arrays()['masked_lm_decoder'], there[BERT.words] + 1)
    convert_out('hf', tmp_path / 'untied', tmp_path / 'again')
    np.testing.assert_array_equal(tensors(tmp_path / 'again')[BERT.decoder], there[BERT.words] + 1)
    with pytest.raises(ValueError, match='no masked-LM decoder of its own'):
        convert_out('tf1', tmp_path / 'untied', tmp_path / 'tf1')
    assert not list(tmp_path.glob('*tf1*'))


def test_old_names_and_other_types(
    tmp_path: pathlib.Path, theirs: pathlib.Path, ours: pathlib.Path
) -> None:
    old = {}
    for name, tensor in tensors(theirs).items():
        name = name.replace('LayerNorm.weight', 'LayerNorm.gamma')
        old[name.replace('LayerNorm.bias', 'LayerNorm.beta')] = tensor.astype(np.float64)
    old['bert.embeddings.position_ids'] = np.arange(16)
    old['classifier.weight'] = np.zeros((2, 12), np.float32)
    write(theirs, old)
    convert_in('hf', theirs, tmp_path / 'back')
    assert_same(ours, tmp_path / 'back')
    report = json.loads((tmp_path / 'back/conversion.json').read_text())
    assert report['unused'].pop('bert.embeddings.position_ids') == 'a buffer, not a parameter'
    assert 'config.json names BertForPreTraining' in report['unused'].pop('classifier.weight')
    assert not report['unused']
    write(theirs, {name: tensor.astype(np.float16) for name, tensor in old.items()})
    convert_in('hf', theirs, tmp_path / 'half')
    arrays, halves = (model_dir.load(path).arrays() for path in (ours, tmp_path / 'half'))
    for name, array in arrays.items():
        assert halves[name].dtype == np.float32
        np.testing.assert_array_equal(halves[name], array.astype(np.float16).astype(np.float32))


def test_sharded(tmp_path: pathlib.Path, theirs: pathlib.Path, ours: pathlib.Path) -> None:
    there = tensors(theirs)
    (theirs / 'model.safetensors').unlink()
    names = sorted(there)
    shards = {'model-1-of-2.safetensors': names[:20], 'model-2-of-2.safetensors': names[20:]}
    for file, held in shards.items():
        safetensors.numpy.save_file({name: there[name] for name in held}, theirs / file)
    index = {'weight_map': {name: file for file, held in shards.items() for name in held}}
    (theirs / 'model.safetensors.index.json').write_text(json.dumps(index))
    convert_in('hf', theirs, tmp_path / 'back')
    assert_same(ours, tmp_path / 'back')
    (theirs / 'model-2-of-2.safetensors').unlink()
    with pytest.raises(ValueError, match=r'shard .*model-2-of-2.safetensors is missing'):
        convert_in('hf', theirs, tmp_path / 'no')
    safetensors.numpy.save_file({'other': there[names[0]]}, theirs / 'model-2-of-2.safetensors')
    with pytest.raises(ValueError, match=f'model-2-of-2.safetensors has no tensor {names[20]}'):
        convert_in('hf', theirs, tmp_path / 'no')


def test_missing_parameters(tmp_path: pathlib.Path, theirs: pathlib.Path) -> None:
    there = tensors(theirs)
    del there['cls.predictions.transform.dense.weight']
    write(theirs, there)
    with pytest.raises(ValueError, match=r'no tensor cls.predictions.transform.dense.weight;'):
        convert_in('hf', theirs, tmp_path / 'back')
    convert_in('hf', theirs, tmp_path / 'back', allow_missing=True)
    arrays = model_dir.load(tmp_path / 'back').arrays()
    assert 0 < arrays['masked_lm_transform/dense/kernel'].std() < 0.1  # fresh: 0.02
    report = json.loads((tmp_path / 'back/conversion.json').read_text())
    assert report['missing'] == ['cls.predictions.transform.dense.weight']


def test_what_is_there_of_a_layer_is_kept(
    tmp_path: pathlib.Path, theirs: pathlib.Path, ours: pathlib.Path
) -> None:
    there = tensors(theirs)
    del there['bert.encoder.layer.2.attention.self.key.weight']
    write(theirs, there)
    convert_in('hf', theirs, tmp_path / 'back', allow_missing=True)
    arrays, expected = (model_dir.load(path).arrays() for path in (tmp_path / 'back', ours))
    kernel = 'encoder/layers/attention/query_key_value/kernel'
    filled = arrays[kernel][2, :, :, 1].copy()
    assert 0 < filled.std() < 0.1 and np.isfinite(filled).all()
    arrays[kernel] = arrays[kernel].copy()
    arrays[kernel][2, :, :, 1] = expected[kernel][2, :, :, 1]
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)


def test_the_bias_of_a_decoder_of_its_own(tmp_path: pathlib.Path, theirs: pathlib.Path) -> None:
    there = tensors(theirs)
    own = {BERT.decoder: there[BERT.words] + 1, BERT.decoder_bias: there[BERT.bias] + 2}
    write(theirs, there | own)
    convert_in('hf', theirs, tmp_path / 'back')
    arrays = model_dir.load(tmp_path / 'back').arrays()
    np.testing.assert_array_equal(arrays['masked_lm_bias'], there[BERT.bias] + 2)
    report = json.loads((tmp_path / 'back/conversion.json').read_text())
    assert list(report['unused']) == [BERT.bias]


def test_whether_the_decoder_is_tied_is_read(tmp_path: pathlib.Path, theirs: pathlib.Path) -> None:
    change_config(theirs, tie_word_embeddings=False)
    there = {name: x for name, x in tensors(theirs).items() if name != BERT.decoder}
    write(theirs, there)
    with pytest.raises(ValueError, match=r'no tensor cls.predictions.decoder.weight'):
        convert_in('hf', theirs, tmp_path / 'no')
    write(theirs, there | {BERT.decoder: there[BERT.words]})
    convert_in('hf', theirs, tmp_path / 'untied')
    assert not model_dir.load(tmp_path / 'untied').config.tie_word_embeddings
    convert_out('hf', tmp_path / 'untied', tmp_path / 'again')
    convert_in('hf', tmp_path / 'again', tmp_path / 'back')
    assert_same(tmp_path / 'untied', tmp_path / 'back')


def test_tf1_keeps_activation_and_epsilon(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for act, eps in (('gelu_new', 1e-7), ('gelu', 1e-12)):
        model = dataclasses.replace(MODEL, hidden_act=act, layer_norm_eps=eps)
        source, target = make(tmp_path / f'{act}-ours', model, ()), tmp_path / f'{act}-tf1'
        convert_out('tf1', source, target)
        said = capsys.readouterr().out
        assert ('gelu by tanh' in said) == (act == 'gelu')
        assert ('layer_norm_eps 1e-07' in said) == (eps == 1e-7)
        assert json.loads((target / 'bert_config.json').read_text())['hidden_act'] == 'gelu'
        convert_in('tf1', target, tmp_path / f'{act}-back', lowercase=False)
        assert_same(source, tmp_path / f'{act}-back')


def test_bfloat16(tmp_path: pathlib.Path, theirs: pathlib.Path) -> None:
    write(theirs, {name: x.astype(jax.numpy.bfloat16) for name, x in tensors(theirs).items()})
    convert_in('hf', theirs, tmp_path / 'back')
    there = tensors(theirs)[BERT.bias].astype(np.float32)
    arrays = model_dir.load(tmp_path / 'back').arrays()
    np.testing.assert_array_equal(arrays['masked_lm_bias'], there)


@pytest.mark.slow
def test_the_command(tmp_path: pathlib.Path, theirs: pathlib.Path) -> None:
    arguments = ['--from=hf', f'--output={tmp_path / "back"}']

    def run(source: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, '-m', 'bert_jax.convert', *arguments, f'--input={source}'],
            check=False,
            capture_output=True,
            text=True,
            timeout=200,
        )

    for source, message in (('gs://b/x', 'copy it first'), (str(tmp_path / 'x'), 'not a folder')):
        wrong = run(source)
        assert wrong.returncode == 2 and message in wrong.stderr
        assert wrong.stderr.startswith('convert: ') and wrong.stderr.count('\n') == 1
    good = run(str(theirs))
    assert good.returncode == 0 and good.stdout.endswith(f'wrote {tmp_path / "back"}\n')


def test_tokenizer_json_alone(
    tmp_path: pathlib.Path, theirs: pathlib.Path, ours: pathlib.Path
) -> None:
    tokenizer_json(theirs, model={})
    (theirs / 'tokenizer_config.json').unlink()
    convert_in('hf', theirs, tmp_path / 'back')
    assert_same(ours, tmp_path / 'back')
    tokenizer_json(theirs, model={'type': 'BPE'})
    with pytest.raises(ValueError, match=r'json is not a tokenizer.json that the library'):
        convert_in('hf', theirs, tmp_path / 'no')


def test_names_of_training_checkpoints(
    tmp_path: pathlib.Path, theirs: pathlib.Path, ours: pathlib.Path
) -> None:
    there = tensors(theirs)
    write(theirs, {f'module.{name}': tensor for name, tensor in there.items()})
    convert_in('hf', theirs, tmp_path / 'wrapped')
    assert_same(ours, tmp_path / 'wrapped')
    torch = pytest.importorskip('torch', reason='reading pytorch_model.bin needs PyTorch')
    state = {f'model.{name}': torch.tensor(tensor) for name, tensor in there.items()}
    (theirs / 'model.safetensors').unlink()
    torch.save({'epoch': 3, 'state_dict': state}, theirs / 'pytorch_model.bin')
    convert_in('hf', theirs, tmp_path / 'nested')
    assert_same(ours, tmp_path / 'nested')


def test_a_tf1_checkpoint_of_another_name(tmp_path: pathlib.Path, ours: pathlib.Path) -> None:
    pytest.importorskip('tensorflow')
    folder = tmp_path / 'tf1'
    convert_out('tf1', ours, folder)
    for path in folder.glob('bert_model.ckpt.*'):
        path.rename(folder / path.name.replace('bert_model.ckpt', 'model.ckpt-20'))
    convert_in('tf1', folder, tmp_path / 'back', lowercase=False)
    assert_same(ours, tmp_path / 'back')
    (folder / 'model.ckpt-40.index').write_bytes(b'')
    with pytest.raises(ValueError, match=r'several checkpoints: model.ckpt-20, model.ckpt-40'):
        convert_in('tf1', folder, tmp_path / 'no', lowercase=False)


def test_the_real_names_of_a_published_tf1_checkpoint(shared_data: Any) -> None:
    tf = pytest.importorskip('tensorflow')
    folder = shared_data('weights/tf1-bert-base-index-only')
    there = tf.train.load_checkpoint(str(folder / 'bert_model.ckpt')).get_variable_to_shape_map()
    names = {name for rule in TF1['bert'] for name in rule.names(12)}
    assert set(there) <= names
    model = ModelConfig(vocab_size=there['bert/embeddings/word_embeddings'][0])
    model = dataclasses.replace(model, max_position_embeddings=512)
    abstract = jax.tree_util.tree_leaves_with_path(
        model_dir.abstract_params(model, PRETRAINING_HEADS)
    )
    shapes = {jax.tree_util.keystr(p, simple=True, separator='/'): x.shape for p, x in abstract}
    arrays, needed = rules.to_ours(
        {name: np.zeros(shape, np.float16) for name, shape in there.items()}, shapes, TF1['bert']
    )
    assert needed == there.keys() and arrays.keys() == shapes.keys()

"""Outputs, gradients and training have the numbers of transformers, on real weights, too.

`pytest -s tests/parity` prints the differences.
"""

import dataclasses
import json
import pathlib
from typing import Any

import curves
import jax
import numpy as np
import pytest
import reference
from reference import Both, torch
from small_run import QUICK

from bert_jax import predict
from bert_jax.config import MeshConfig
from bert_jax.convert.folders import convert_in, convert_out
from bert_jax.inference import model_dir
from bert_jax.inference.model_dir import Pretrained
from bert_jax.inference.trained_model import Bert
from bert_jax.models.heads import PRETRAINING_HEADS
from bert_jax.models.parameters import describe
from bert_jax.parallel.mesh import make_mesh
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.training.gradients import batch_gradients

pytestmark = pytest.mark.slow

SMALL = {
    'vocab_size': 211,
    'hidden_size': 60,
    'num_hidden_layers': 3,
    'num_attention_heads': 5,
    'intermediate_size': 100,
    'max_position_embeddings': 48,
}
SHAPES: dict[str, dict[str, Any]] = {
    'odd': SMALL,
    'gelu_new': SMALL | {'hidden_act': 'gelu_new', 'num_attention_heads': 1},
    'one type': SMALL | {'type_vocab_size': 1, 'hidden_act': 'relu'},
    'base': {},
    'large': {'hidden_size': 1024, 'num_hidden_layers': 24, 'num_attention_heads': 16}
    | {'intermediate_size': 4096},
}


@pytest.fixture
def small(tmp_path: pathlib.Path) -> Both:
    return reference.random_model(tmp_path, **SMALL)


@pytest.mark.parametrize('name', sorted(SHAPES.keys() - ({'base', 'large'} if QUICK else set())))
def test_outputs_of_random_models(tmp_path: pathlib.Path, name: str) -> None:
    model = reference.random_model(tmp_path, **SHAPES[name])
    inputs = reference.batch(model, rows=4, length=40)
    theirs = reference.their_outputs(model, inputs)
    found = reference.differences(model.ours.apply(inputs), theirs, inputs['attention_mask'])
    print(name, found)
    assert len(found) == 4 and reference.close(found), found


@pytest.mark.parametrize('folder', ['rxnfp-bert-pretrained', 'tf1-keras-bert-test-tiny'])
def test_golden_outputs_of_real_weights(
    tmp_path: pathlib.Path, shared_data: Any, folder: str
) -> None:
    source = shared_data(f'weights/{folder}')
    family = 'tf1' if folder.startswith('tf1') else 'hf'
    convert_in(family, source, tmp_path / 'ours', lowercase=family == 'tf1')
    golden = np.load(source / 'golden_hf.npz')
    inputs = {'input_ids': golden['input_ids']}
    mask = golden.get('attention_mask', np.ones_like(golden['input_ids']))
    ours = predict.load(tmp_path / 'ours').apply(inputs | {'attention_mask': mask})
    found = reference.differences(ours, {name: golden[name] for name in ours}, mask)
    print(folder, found)
    assert len(found) == 4 and reference.close(found), found


def test_minilm(tmp_path: pathlib.Path) -> None:
    source = reference.minilm()
    model = reference.both(source, tmp_path, 'BertModel')
    inputs = reference.batch(model, rows=8, length=100)
    theirs = reference.their_outputs(model, inputs)
    found = reference.differences(model.ours.apply(inputs), theirs, inputs['attention_mask'])
    print('MiniLM', found)
    assert model.ours.heads == ('pooler',) and len(found) == 2 and reference.close(found), found


def test_what_we_write_loads_without_a_word(tmp_path: pathlib.Path, small: Both) -> None:
    convert_out('hf', small.folder, tmp_path / 'back')
    model, info = reference.transformers.BertForPreTraining.from_pretrained(
        tmp_path / 'back', output_loading_info=True
    )
    assert not any(info.values()), info
    there = small.theirs.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, there[name]), name


def test_auto_classes_read_what_we_write(tmp_path: pathlib.Path, shared_data: Any) -> None:
    vocabulary = shared_data('vocab/bert-base-cased/vocab.txt')
    model = reference.random_model(tmp_path, **SMALL | {'vocab_size': 28996})
    (model.folder / 'vocab.txt').write_bytes(vocabulary.read_bytes())
    settings = json.loads((model.folder / 'config.json').read_text())
    settings['data']['lowercase'] = False
    (model.folder / 'config.json').write_text(json.dumps(settings))
    convert_out('hf', model.folder, tmp_path / 'back')
    encoder, info = reference.transformers.AutoModel.from_pretrained(
        tmp_path / 'back', output_loading_info=True
    )
    assert type(encoder).__name__ == 'BertModel' and not info['missing_keys'], info
    theirs = reference.transformers.AutoTokenizer.from_pretrained(tmp_path / 'back')
    assert theirs.model_max_length == SMALL['max_position_embeddings']
    texts = ['Ünïcödé Wörds, naïve café: ÅNGSTRÖM', "Paris is [MASK] nice, isn't it?", '中文']
    bert = predict.load(model.folder)
    assert bert.encoder.vocabulary is not None
    for text, row in zip(texts, bert.encoder.encode(texts), strict=True):
        assert theirs(text)['input_ids'] == row.input_ids, text
    pair = theirs('One text.', 'Another one.')
    (row,) = bert.encoder.encode([('One text.', 'Another one.')])
    assert pair['input_ids'] == row.input_ids and pair['token_type_ids'] == row.token_type_ids


def test_gradients(small: Both) -> None:
    """The gradients of the pretraining loss agree, with padding, segments and unused mask slots."""
    inputs = reference.batch(small, rows=6, length=32)
    random = np.random.default_rng(1)
    inputs['masked_lm_positions'] = np.sort(
        random.permuted(np.tile(np.arange(1, 16), (6, 1)), axis=1)
    )
    inputs['masked_lm_positions'] = inputs['masked_lm_positions'][:, :5].astype(np.int32)
    inputs['masked_lm_ids'] = random.integers(211, size=(6, 5)).astype(np.int32)
    inputs['masked_lm_weights'] = (np.arange(5) < random.integers(1, 6, (6, 1))).astype('float32')
    inputs['next_sentence_labels'] = random.integers(2, size=6).astype(np.int32)
    inputs['example_weights'] = np.ones(6, np.float32)
    loss = curves.their_loss(small.theirs, inputs)
    loss.backward()

    config = dataclasses.replace(
        small.ours.config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    task = PretrainTask(config)
    info = describe(jax.eval_shape(task.init, jax.random.key(0)))
    ours, _, gradients, _ = jax.jit(
        lambda p, b: batch_gradients(task, info, p, b, {'dropout': jax.random.key(0)}, 1)
    )(small.ours._params, inputs)
    np.testing.assert_allclose(ours, loss.item(), rtol=1e-6)
    mine = Pretrained(config, PRETRAINING_HEADS, gradients, None).arrays()
    theirs = reference.their_gradients(small, {name: x.shape for name, x in mine.items()})
    gaps = {
        name: float(np.linalg.norm(mine[name] - theirs[name]) / np.linalg.norm(theirs[name]))
        for name in mine
        if 'query_key_value/bias' not in name
    }
    # The key's bias has no influence: its gradient is noise, in both.
    bias = 'encoder/layers/attention/query_key_value/bias'
    gaps[bias] = float(
        np.linalg.norm((mine[bias] - theirs[bias])[:, :, [0, 2]])
        / np.linalg.norm(theirs[bias][:, :, [0, 2]])
    )
    worst = max(gaps, key=gaps.__getitem__)
    print('gradients: largest relative difference', gaps[worst], worst)
    assert len(gaps) == 26 and gaps[worst] < 1e-4, gaps


@pytest.mark.skipif(QUICK, reason='losses of steps are compared in test_adaptation')
def test_a_hundred_steps_of_training(tmp_path: pathlib.Path) -> None:
    """With the same start, batches of real text and optimizer, all losses are equal."""
    size = ('vocab_size', 'max_position_embeddings')
    shape = {name: value for name, value in SMALL.items() if name not in size}
    steps = 100
    ours, theirs = curves.curves(tmp_path, steps, shape)
    gap = np.abs(np.subtract(ours, theirs)).max()
    print(f'largest difference of the losses over {steps} steps', gap)
    assert theirs[0] - theirs[-1] > 1 and gap < 1e-3


def test_masked_tokens_of_real_weights(tmp_path: pathlib.Path, shared_data: Any) -> None:
    """Each real token of the golden inputs is masked, one at a time."""
    source = shared_data('weights/rxnfp-bert-pretrained')
    convert_in('hf', source, tmp_path / 'ours', lowercase=False)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    bert = Bert(model_dir.load(tmp_path / 'ours'), mesh)
    golden = np.load(source / 'golden_hf.npz')
    ids, mask = golden['input_ids'].astype(np.int32), golden['attention_mask'].astype(np.int32)
    assert bert.encoder.vocabulary is not None
    special = set(bert.encoder.vocabulary.specials.all())
    places = [(row, column) for row, column in np.argwhere(mask) if ids[row, column] not in special]
    masked = np.stack([ids[row] for row, _ in places])
    masked[np.arange(len(places)), [column for _, column in places]] = (
        bert.encoder.vocabulary.specials.mask
    )
    rows = np.array([row for row, _ in places])
    logits = bert.apply({'input_ids': masked, 'attention_mask': mask[rows]})['prediction_logits']
    right = [
        logits[i, column].argmax() == ids[row, column] for i, (row, column) in enumerate(places)
    ]
    print(f'masked-token accuracy {np.mean(right):.3f} of {len(right)}')
    assert np.mean(right) >= 0.90


@pytest.mark.parametrize(
    ('text', 'token'),
    [
        ('C c 1 c c ( Cl ) c c [MASK] 1 O C ( C ) C ( = O ) O', 'c'),
        ('C c 1 c c ( Cl ) c c c 1 O C ( C ) C ( = O ) [MASK]', 'O'),
    ],
)
def test_fill_mask_of_real_weights(
    tmp_path: pathlib.Path, shared_data: Any, text: str, token: str
) -> None:
    """A molecule of the golden inputs, its tokens apart (BERT's tokenizer knows no others)."""
    source = shared_data('weights/rxnfp-bert-pretrained')
    convert_in('hf', source, tmp_path / 'ours', lowercase=False)
    (((best, share), *_),) = predict.load(tmp_path / 'ours').fill_mask([text])[0]
    assert best == token and share > 0.9

"""A checkpoint whose vocabulary does not divide over the devices is padded where it is loaded."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest
import safetensors.numpy
import small_tasks
from etils import epath

from bert_jax import predict
from bert_jax.config import Config, DataConfig, MeshConfig, OptimConfig
from bert_jax.convert.folders import convert_out
from bert_jax.convert.foreign import full_config
from bert_jax.finetuning import predictions
from bert_jax.inference import model_dir
from bert_jax.parallel.mesh import make_mesh
from bert_jax.preflight import init_from
from bert_jax.preflight.resolve import resolve
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.training import random_streams, train_step
from bert_jax.training.initialization import initial_params

MODEL = dataclasses.replace(small_tasks.MODEL, num_attention_heads=8)
TABLE = 'encoder/embeddings/word_embeddings'
SIZE = len(small_tasks.PIECES)  # 20, and 24 when it is padded to a multiple of 8


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return small_tasks.pretrained_folder(tmp_path_factory.mktemp('source') / 'model', MODEL)


@pytest.mark.slow
def test_fine_tuning_with_a_split_table(tmp_path: pathlib.Path, source: pathlib.Path) -> None:
    """The run is refused with the key that helps. With this key the model is trained, resumed, used
    and converted. Without a learning rate, the converted table has the bits of the original."""
    held_out = small_tasks.write_texts(tmp_path / 'dev.jsonl', 20, 1)
    files = {
        'train_file': str(small_tasks.write_texts(tmp_path / 'train.jsonl', 40, 0)),
        'eval_file': str(held_out),
    }
    sections = {
        'model': {'num_attention_heads': 8},
        'mesh': {'data': 1, 'tensor': 8},
        'optim': {'learning_rate': 0.0},
    }
    config = small_tasks.configured(source, 'text', data=files, train={'epochs': 1.0}, **sections)
    with pytest.raises(ValueError, match=r"'vocab' of size 20 .*pad_vocab_to_multiple_of to a"):
        resolve(config, epath.Path(tmp_path / 'refused')).run()

    data = dataclasses.replace(config.data, pad_vocab_to_multiple_of=8)
    for num_steps in (2, 0):  # the second run resumes the first
        train = dataclasses.replace(config.train, num_steps=num_steps)
        stretch = dataclasses.replace(config, data=data, train=train)
        resolve(stretch, epath.Path(tmp_path / 'run')).run()
    table = model_dir.load(tmp_path / 'run').arrays()[TABLE]
    original = model_dir.load(source).arrays()[TABLE]
    assert table.shape == (24, 32) and (table[:SIZE] == original).all() and table[SIZE:].any()
    bert = predict.load(tmp_path / 'run')
    assert len(list(predictions.records(bert, [held_out]))) == 20

    convert_out('hf', tmp_path / 'run', tmp_path / 'hf')
    tensors = safetensors.numpy.load_file(tmp_path / 'hf' / 'model.safetensors')
    assert (tensors['bert.embeddings.word_embeddings.weight'] == original).all()
    assert json.loads((tmp_path / 'hf' / 'config.json').read_text())['vocab_size'] == SIZE


def test_continued_pretraining_with_a_split_table(source: pathlib.Path) -> None:
    """The saved rows have their bits; the added rows are those of a fresh model."""
    saved = model_dir.load(source)
    assert saved.vocabulary is not None
    config = Config(
        data=DataConfig(pad_vocab_to_multiple_of=8),
        optim=OptimConfig(warmup_steps=0),
        init_from=str(source),
    )
    size = init_from.vocab_size(config, saved.vocabulary)
    mesh = make_mesh(MeshConfig(data=1, tensor=8))
    task = PretrainTask(dataclasses.replace(MODEL, vocab_size=size))
    key = random_streams.root(0, 'threefry2x32')
    step = train_step.build_step(config, task, mesh)
    fresh = step.init(key).params
    loaded = initial_params(source, fresh, step.info)
    same = jax.tree.map(lambda a, b: a.sharding == b.sharding and a.shape == b.shape, fresh, loaded)
    assert all(jax.tree.leaves(same))
    arrays = dataclasses.replace(saved, params=loaded).arrays()
    drawn = dataclasses.replace(saved, params=fresh).arrays()
    for path, value in saved.arrays().items():
        np.testing.assert_array_equal(arrays[path][: len(value)], value)
        np.testing.assert_array_equal(arrays[path][len(value) :], drawn[path][len(value) :])
    assert [arrays[path].shape for path in (TABLE, 'masked_lm_bias')] == [(24, 32), (24,)]


def test_rows_without_a_token_are_never_predicted(
    tmp_path: pathlib.Path, source: pathlib.Path
) -> None:
    saved = model_dir.load(source)
    params = jax.device_get(saved.params)
    table = params['encoder']['embeddings']['word_embeddings']
    params['encoder']['embeddings']['word_embeddings'] = np.concatenate([table, table[:4]])
    params['masked_lm_bias'] = np.append(params['masked_lm_bias'], [9, 9, 9, 9]).astype('float32')
    config = full_config(dataclasses.replace(MODEL, vocab_size=24), lowercase=True)
    (tmp_path / 'padded').mkdir()
    model_dir.save(tmp_path / 'padded', config, params, saved.vocabulary)
    ((candidates,),) = predict.load(tmp_path / 'padded').fill_mask(['[MASK]'], top_k=30)
    assert {piece for piece, _ in candidates} == set(small_tasks.PIECES)

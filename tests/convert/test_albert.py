"""ALBERT's checkpoints of TensorFlow 1, and heads that transformers has no class for."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from folders import assert_same, make
from kinds import tiny
from small_run import QUICK

from bert_jax.convert.cached import origin_of
from bert_jax.convert.families import FAMILIES
from bert_jax.convert.folders import convert_in, convert_out
from bert_jax.convert.hf import _class_of
from bert_jax.inference import model_dir
from bert_jax.models.presets import PRESETS

MODEL = dataclasses.replace(tiny(PRESETS['albert-base']), vocab_size=15)
GROUP = 'bert/encoder/transformer/group_0/inner_group_0'
# The names of google-research/albert with the shapes of MODEL.
NAMES = {
    'bert/embeddings/word_embeddings': (15, 32),
    'bert/embeddings/position_embeddings': (32, 32),
    'bert/embeddings/token_type_embeddings': (2, 32),
    'bert/embeddings/LayerNorm/gamma': (32,),
    'bert/embeddings/LayerNorm/beta': (32,),
    'bert/encoder/embedding_hidden_mapping_in/kernel': (32, 64),
    'bert/encoder/embedding_hidden_mapping_in/bias': (64,),
    f'{GROUP}/attention_1/self/query/kernel': (64, 64),
    f'{GROUP}/attention_1/self/query/bias': (64,),
    f'{GROUP}/attention_1/self/key/kernel': (64, 64),
    f'{GROUP}/attention_1/self/key/bias': (64,),
    f'{GROUP}/attention_1/self/value/kernel': (64, 64),
    f'{GROUP}/attention_1/self/value/bias': (64,),
    f'{GROUP}/attention_1/output/dense/kernel': (64, 64),
    f'{GROUP}/attention_1/output/dense/bias': (64,),
    f'{GROUP}/LayerNorm/gamma': (64,),
    f'{GROUP}/LayerNorm/beta': (64,),
    f'{GROUP}/ffn_1/intermediate/dense/kernel': (64, 256),
    f'{GROUP}/ffn_1/intermediate/dense/bias': (256,),
    f'{GROUP}/ffn_1/intermediate/output/dense/kernel': (256, 64),
    f'{GROUP}/ffn_1/intermediate/output/dense/bias': (64,),
    f'{GROUP}/LayerNorm_1/gamma': (64,),
    f'{GROUP}/LayerNorm_1/beta': (64,),
    'bert/pooler/dense/kernel': (64, 64),
    'bert/pooler/dense/bias': (64,),
    'cls/predictions/transform/dense/kernel': (64, 32),
    'cls/predictions/transform/dense/bias': (32,),
    'cls/predictions/transform/LayerNorm/gamma': (32,),
    'cls/predictions/transform/LayerNorm/beta': (32,),
    'cls/predictions/output_bias': (15,),
    'cls/seq_relationship/output_weights': (2, 64),
    'cls/seq_relationship/output_bias': (2,),
}
# The keys of a published albert_config.json.
PUBLISHED = {
    'attention_probs_dropout_prob': 0,
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0,
    'embedding_size': 32,
    'hidden_size': 64,
    'initializer_range': 0.02,
    'intermediate_size': 256,
    'max_position_embeddings': 32,
    'num_attention_heads': 4,
    'num_hidden_layers': 2,
    'num_hidden_groups': 1,
    'net_structure_type': 0,
    'gap_size': 0,
    'num_memory_blocks': 0,
    'inner_group_num': 1,
    'down_scale_factor': 1,
    'type_vocab_size': 2,
    'vocab_size': 15,
}


def test_a_checkpoint_of_the_authors(tmp_path: pathlib.Path) -> None:
    """A folder with the published names is converted to bert_jax and back to the same tensors."""
    tf = pytest.importorskip('tensorflow')
    folder, random = tmp_path / 'albert', np.random.default_rng(0)
    folder.mkdir()
    there = {name: random.normal(size=shape).astype('float32') for name, shape in NAMES.items()}
    written = there | {f'{GROUP}/LayerNorm/gamma/adam_m': np.zeros(64, np.float32)}
    tf.raw_ops.SaveV2(
        prefix=str(folder / 'model.ckpt-best'),
        tensor_names=list(written),
        shape_and_slices=[''] * len(written),
        tensors=[tf.constant(tensor) for tensor in written.values()],
    )
    (folder / 'albert_config.json').write_text(json.dumps(PUBLISHED))
    assert origin_of(folder) == 'tf1'
    convert_in('tf1', folder, tmp_path / 'ours')
    ours = model_dir.load(tmp_path / 'ours')
    assert ours.config == dataclasses.replace(MODEL, hidden_act='gelu_new')
    assert set(ours.heads) == {'pooler', 'masked_lm', 'sentence_order'}
    report = json.loads((tmp_path / 'ours/conversion.json').read_text())
    assert report['missing'] == [] and list(report['unused']) == [*written][-1:]
    convert_out('tf1', tmp_path / 'ours', tmp_path / 'again')
    reader = tf.train.load_checkpoint(str(tmp_path / 'again/bert_model.ckpt'))
    assert reader.get_variable_to_shape_map().keys() == there.keys()
    for name, tensor in there.items():
        np.testing.assert_array_equal(reader.get_tensor(name), tensor)
    # The conversion by the names of transformers, whose matrices are [out, in], gives the same
    # parameters.
    convert_out('hf', tmp_path / 'ours', tmp_path / 'hf')
    convert_in('hf', tmp_path / 'hf', tmp_path / 'back')
    one, other = ours.arrays(), model_dir.load(tmp_path / 'back').arrays()
    for path, array in one.items():
        np.testing.assert_array_equal(array, other[path])


@pytest.mark.parametrize('act', ['gelu'] if QUICK else ['gelu', 'gelu_new', 'relu'])
def test_activations(tmp_path: pathlib.Path, act: str) -> None:
    pytest.importorskip('tensorflow')
    source = make(tmp_path / 'ours', dataclasses.replace(MODEL, hidden_act=act), ('masked_lm',))
    convert_out('tf1', source, tmp_path / 'theirs')
    convert_in('tf1', tmp_path / 'theirs', tmp_path / 'back', lowercase=False)
    assert_same(source, tmp_path / 'back')


@pytest.mark.parametrize('kind', FAMILIES)
def test_a_head_is_kept_in_preference_to_the_pooler(kind: str) -> None:
    family = FAMILIES[kind]
    for name, heads in family.classes.items():
        assert family.classes[_class_of(family, heads)] == heads, name
        others = {*heads} - {'pooler'}
        if others and 'classifier' not in others:
            assert others <= {*family.classes[_class_of(family, ('pooler', *others))]}, name


def test_a_line_names_what_is_left_out(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make(tmp_path / 'ours', MODEL, ('pooler', 'masked_lm'))
    convert_out('hf', source, tmp_path / 'theirs')
    said = ' '.join(capsys.readouterr().out.split())
    assert 'the pooler is left out: transformers has no albert with only pooler' in said
    convert_in('hf', tmp_path / 'theirs', tmp_path / 'back')
    assert model_dir.load(tmp_path / 'back').heads == ('masked_lm',)

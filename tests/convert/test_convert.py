"""Folders in and out: every tensor accounted for, bits kept, and what is wrong named."""

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
from flax import linen as nn

from bert_jax import pretrained
from bert_jax.config import ModelConfig
from bert_jax.convert import hf, rules
from bert_jax.convert.__main__ import convert_in, convert_out
from bert_jax.convert.foreign import REQUIRED, full_config
from bert_jax.data import tokenizer
from bert_jax.models.heads import HEADS, HeadedEncoder

PIECES = [*tokenizer.SPECIALS, *'abcdefgh', '##a', '##b']
MODEL = ModelConfig(
    vocab_size=len(PIECES),
    hidden_size=12,
    num_hidden_layers=3,
    num_attention_heads=3,
    intermediate_size=20,
    max_position_embeddings=16,
    hidden_act='gelu_new',
)


def make(
    folder: pathlib.Path, model: ModelConfig = MODEL, heads: tuple[str, ...] = HEADS
) -> pathlib.Path:
    """A folder of ours with random values everywhere (fresh parameters have zeros and ones)."""
    ids = np.zeros((1, 8), np.int32)
    params = nn.unbox(HeadedEncoder(model, heads).init(jax.random.key(0), ids, ids, ids))
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda x: random.normal(size=x.shape).astype('float32'), params['params'])
    folder.mkdir()
    vocabulary = tokenizer.wordpiece(PIECES, lowercase=False)
    pretrained.save(folder, full_config(model, lowercase=False), params, vocabulary)
    return folder


@pytest.fixture(scope='module')
def ours(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make(tmp_path_factory.mktemp('ours') / 'all')


@pytest.fixture
def theirs(tmp_path: pathlib.Path, ours: pathlib.Path) -> pathlib.Path:
    """A fresh folder of transformers' that tests may spoil."""
    convert_out('hf', ours, tmp_path / 'theirs')
    return tmp_path / 'theirs'


def tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(folder / 'model.safetensors')


def write(folder: pathlib.Path, values: dict[str, np.ndarray]) -> None:
    safetensors.numpy.save_file(
        {name: np.ascontiguousarray(value) for name, value in values.items()},
        folder / 'model.safetensors',
    )


def change_config(folder: pathlib.Path, **changes: Any) -> None:
    path = folder / 'config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def assert_same(a: pathlib.Path, b: pathlib.Path) -> None:
    one, other = pretrained.load(a), pretrained.load(b)
    assert one.heads == other.heads and one.config == other.config
    assert one.vocabulary and other.vocabulary
    assert one.vocabulary.pieces == other.vocabulary.pieces
    assert one.vocabulary.lowercase == other.vocabulary.lowercase
    arrays, others = one.arrays(), other.arrays()
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        assert array.tobytes() == others[name].tobytes(), name


@pytest.mark.parametrize('family', ['hf', 'tf1'])
def test_a_round_trip_gives_back_every_bit(
    tmp_path: pathlib.Path, ours: pathlib.Path, family: str
) -> None:
    convert_out(family, ours, tmp_path / 'theirs')
    convert_in(family, tmp_path / 'theirs', tmp_path / 'back', lowercase=False)
    assert_same(ours, tmp_path / 'back')


@pytest.mark.parametrize(
    'heads', [(), ('pooler',), ('masked_lm',), ('pooler', 'next_sentence')], ids=str
)
def test_the_heads_there_are_come_through(tmp_path: pathlib.Path, heads: tuple[str, ...]) -> None:
    source = make(tmp_path / 'ours', heads=heads)
    convert_out('hf', source, tmp_path / 'theirs')
    convert_in('hf', tmp_path / 'theirs', tmp_path / 'back')
    assert_same(source, tmp_path / 'back')
    outputs = pretrained.load(tmp_path / 'back').model.apply(
        {'params': pretrained.load(tmp_path / 'back').params}, *np.zeros((3, 1, 8), np.int32)
    )
    named = {'pooler': 'pooler_output', 'masked_lm': 'prediction_logits'}
    named['next_sentence'] = 'seq_relationship_logits'
    assert set(outputs) == {'last_hidden_state', *(named[head] for head in heads)}


def test_a_decoder_of_its_own(tmp_path: pathlib.Path, theirs: pathlib.Path) -> None:
    there = tensors(theirs)
    tied = there | {hf.DECODER: there[hf.WORDS], hf.DECODER_BIAS: there[hf.BIAS]}
    write(theirs, tied)
    convert_in('hf', theirs, tmp_path / 'tied')
    assert pretrained.load(tmp_path / 'tied').config.tie_word_embeddings
    write(theirs, tied | {hf.DECODER: there[hf.WORDS] + 1})
    convert_in('hf', theirs, tmp_path / 'untied')
    untied = pretrained.load(tmp_path / 'untied')
    assert not untied.config.tie_word_embeddings
    np.testing.assert_array_equal(untied.arrays()['masked_lm_decoder'], there[hf.WORDS] + 1)
    convert_out('hf', tmp_path / 'untied', tmp_path / 'again')
    np.testing.assert_array_equal(tensors(tmp_path / 'again')[hf.DECODER], there[hf.WORDS] + 1)
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
    assert report['unused'] == {
        'bert.embeddings.position_ids': 'a buffer, not a parameter',
        'classifier.weight': 'of a head that bert_jax does not have',
    }
    write(theirs, {name: tensor.astype(np.float16) for name, tensor in old.items()})
    convert_in('hf', theirs, tmp_path / 'half')
    arrays, halves = (pretrained.load(path).arrays() for path in (ours, tmp_path / 'half'))
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
    arrays = pretrained.load(tmp_path / 'back').arrays()
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
    arrays, expected = (pretrained.load(path).arrays() for path in (tmp_path / 'back', ours))
    kernel = 'encoder/layers/attention/query_key_value/kernel'
    filled = arrays[kernel][2, :, :, 1].copy()
    assert 0 < filled.std() < 0.1 and np.isfinite(filled).all()
    arrays[kernel] = arrays[kernel].copy()
    arrays[kernel][2, :, :, 1] = expected[kernel][2, :, :, 1]
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)


def test_the_bias_of_a_decoder_of_its_own(tmp_path: pathlib.Path, theirs: pathlib.Path) -> None:
    there = tensors(theirs)
    own = {hf.DECODER: there[hf.WORDS] + 1, hf.DECODER_BIAS: there[hf.BIAS] + 2}
    write(theirs, there | own)
    convert_in('hf', theirs, tmp_path / 'back')
    arrays = pretrained.load(tmp_path / 'back').arrays()
    np.testing.assert_array_equal(arrays['masked_lm_bias'], there[hf.BIAS] + 2)
    report = json.loads((tmp_path / 'back/conversion.json').read_text())
    assert list(report['unused']) == [hf.BIAS]


def test_whether_the_decoder_is_tied_is_read(tmp_path: pathlib.Path, theirs: pathlib.Path) -> None:
    change_config(theirs, tie_word_embeddings=False)
    there = {name: x for name, x in tensors(theirs).items() if name != hf.DECODER}
    write(theirs, there)
    with pytest.raises(ValueError, match=r'no tensor cls.predictions.decoder.weight'):
        convert_in('hf', theirs, tmp_path / 'no')
    write(theirs, there | {hf.DECODER: there[hf.WORDS]})
    convert_in('hf', theirs, tmp_path / 'untied')
    assert not pretrained.load(tmp_path / 'untied').config.tie_word_embeddings
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


def test_case_is_never_guessed_from_a_cased_vocabulary(
    tmp_path: pathlib.Path, theirs: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (theirs / 'tokenizer_config.json').unlink()
    convert_in('hf', theirs, tmp_path / 'assumed')
    assert 'text is lowercased: nothing there says so; --nolowercase' in capsys.readouterr().out
    cased = (theirs / 'vocab.txt').read_text().replace('\nh\n', '\nH\n')
    (theirs / 'vocab.txt').write_text(cased)
    with pytest.raises(ValueError, match="1 of 10 tokens have upper-case letters, such as 'H'"):
        convert_in('hf', theirs, tmp_path / 'no')
    convert_in('hf', theirs, tmp_path / 'told', lowercase=False)
    vocabulary = pretrained.load(tmp_path / 'told').vocabulary
    assert vocabulary is not None and not vocabulary.lowercase


def integers(folder: pathlib.Path) -> None:
    write(folder, tensors(folder) | {hf.BIAS: np.zeros(15, np.int8)})


def shards_in_a_list(folder: pathlib.Path) -> None:
    (folder / 'model.safetensors').unlink()
    (folder / 'model.safetensors.index.json').write_text('{"weight_map": ["a"]}')


def tokenizer_json(folder: pathlib.Path, **changes: Any) -> None:
    """In place of the vocabulary; with more tokens than the model where nothing is changed."""
    pieces = PIECES if changes else [*PIECES, 'x']
    values: dict[str, Any] = {
        'normalizer': {'type': 'BertNormalizer', 'lowercase': False},
        'pre_tokenizer': {'type': 'BertPreTokenizer'},
        'model': {'type': 'WordPiece', 'vocab': {piece: i for i, piece in enumerate(pieces)}},
    }
    (folder / 'tokenizer.json').write_text(json.dumps(values | changes))
    (folder / 'vocab.txt').unlink()


def truncate(folder: pathlib.Path) -> None:
    path = folder / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:-100])


def rename(folder: pathlib.Path) -> None:
    write(folder, {f'x.{name}': tensor for name, tensor in tensors(folder).items()})


def garbage(folder: pathlib.Path) -> None:
    (folder / 'model.safetensors').write_bytes(b'PK' + bytes(1000))


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda f: change_config(f, hidden_size=24), r'tensor bert.*is \[.*must be \['),
        (lambda f: change_config(f, num_hidden_layers=2), 'layer.2.*num_hidden_layers is 2'),
        (lambda f: change_config(f, num_hidden_layers=4), r'no tensor bert.encoder.layer.3.*more'),
        (lambda f: change_config(f, vocab_size=99), r'word_embeddings.weight is \[15, 12\].*99'),
        (lambda f: change_config(f, vocab_size=9), 'has 15 tokens, its configuration says 9'),
        (lambda f: change_config(f, num_attention_heads=5), 'multiple of num_attention_heads'),
        (lambda f: change_config(f, model_type='albert'), "model_type is 'albert'"),
        (lambda f: change_config(f, hidden_act='swish'), "hidden_act is 'swish'; known are gelu"),
        (lambda f: change_config(f, hidden_size='12'), "json: hidden_size must be int, not '12'"),
        (lambda f: change_config(f, num_hidden_layers=3.0), 'json: num_hidden_layers must be int'),
        (lambda f: change_config(f, hidden_dropout_prob=None), 'json: hidden_dropout_prob must be'),
        (lambda f: change_config(f, max_position_embeddings=4), 'json: max_position_embeddings is'),
        (lambda f: change_config(f, hidden_act=[]), r'hidden_act is \[\]'),
        (integers, 'cls.predictions.bias is of int8; expected floating point'),
        (shards_in_a_list, 'weight_map must be an object'),
        (tokenizer_json, 'has 16 tokens, its configuration says 15'),
        (lambda f: tokenizer_json(f, normalizer=None), 'json: normalizer is None'),
        (lambda f: tokenizer_json(f, pre_tokenizer={'type': 'Split'}), "type is 'Split'"),
        (lambda f: (f / 'added_tokens.json').write_text('{"<x>": 15}'), "adds '<x>'"),
        (lambda f: (f / 'config.json').write_text('{}'), 'has no vocab_size, hidden_size'),
        (lambda f: (f / 'config.json').write_text('{"a'), 'config.json is not JSON'),
        (lambda f: (f / 'config.json').unlink(), 'config.json does not exist'),
        (lambda f: (f / 'model.safetensors').unlink(), 'has no weights: none of'),
        (truncate, 'model.safetensors is not a whole safetensors file'),
        (garbage, 'model.safetensors is not a whole safetensors file'),
        (rename, 'holds no BERT encoder; it has x.bert'),
        (lambda f: (f / 'vocab.txt').write_text('a\nb\n'), r'has no \[PAD\]'),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_left(
    tmp_path: pathlib.Path, theirs: pathlib.Path, spoil: Any, message: str
) -> None:
    spoil(theirs)
    with pytest.raises(ValueError, match=message):
        convert_in('hf', theirs, tmp_path / 'back')
    assert [path.name for path in tmp_path.iterdir()] == ['theirs']


def test_an_existing_output_is_left_alone(tmp_path: pathlib.Path, ours: pathlib.Path) -> None:
    (tmp_path / 'there').mkdir()
    with pytest.raises(ValueError, match='there exists; remove it'):
        convert_out('hf', ours, tmp_path / 'there')
    assert not list((tmp_path / 'there').iterdir())


def test_pickles_are_never_run(tmp_path: pathlib.Path, theirs: pathlib.Path) -> None:
    torch = pytest.importorskip('torch', reason='reading pytorch_model.bin needs PyTorch')
    there = {name: torch.tensor(tensor) for name, tensor in tensors(theirs).items()}
    (theirs / 'model.safetensors').unlink()
    torch.save(there, theirs / 'pytorch_model.bin')
    convert_in('hf', theirs, tmp_path / 'back')
    assert pretrained.load(tmp_path / 'back').heads == HEADS

    class Malicious:
        def __reduce__(self) -> Any:
            return pathlib.Path.touch, (tmp_path / 'was_run',)

    torch.save(there | {'x': Malicious()}, theirs / 'pytorch_model.bin')
    with pytest.raises(ValueError, match='is not a checkpoint of plain tensors'):
        convert_in('hf', theirs, tmp_path / 'no')
    assert not (tmp_path / 'was_run').exists() and not (tmp_path / 'no').exists()


def test_without_torch_the_error_says_what_to_do(
    tmp_path: pathlib.Path, theirs: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (theirs / 'model.safetensors').rename(theirs / 'pytorch_model.bin')
    monkeypatch.setitem(__import__('sys').modules, 'torch', None)
    with pytest.raises(ValueError, match=r'needs PyTorch: pip install torch.*or take model.safe'):
        convert_in('hf', theirs, tmp_path / 'back')


def test_an_old_torch_is_refused(
    tmp_path: pathlib.Path, theirs: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip('torch', reason='reading pytorch_model.bin needs PyTorch')
    (theirs / 'model.safetensors').rename(theirs / 'pytorch_model.bin')
    monkeypatch.setattr(torch, '__version__', '2.5.1+cpu')
    with pytest.raises(ValueError, match=r"PyTorch 2.5.1\+cpu .*pip install 'torch>=2.6'"):
        convert_in('hf', theirs, tmp_path / 'back')


def test_bfloat16(tmp_path: pathlib.Path, theirs: pathlib.Path) -> None:
    write(theirs, {name: x.astype(jax.numpy.bfloat16) for name, x in tensors(theirs).items()})
    convert_in('hf', theirs, tmp_path / 'back')
    there = tensors(theirs)[hf.BIAS].astype(np.float32)
    arrays = pretrained.load(tmp_path / 'back').arrays()
    np.testing.assert_array_equal(arrays['masked_lm_bias'], there)


def test_the_class_in_config_json_counts_where_no_other_is_said(
    tmp_path: pathlib.Path, theirs: pathlib.Path
) -> None:
    change_config(theirs, tokenizer_class='BertJapaneseTokenizer')
    convert_in('hf', theirs, tmp_path / 'said')
    (theirs / 'tokenizer_config.json').unlink()
    with pytest.raises(ValueError, match=r'/config.json: tokenizer_class is .BertJapanese'):
        convert_in('hf', theirs, tmp_path / 'back')


def test_broken_tf1_folders(tmp_path: pathlib.Path, ours: pathlib.Path) -> None:
    pytest.importorskip('tensorflow')
    folder = tmp_path / 'tf1'
    convert_out('tf1', ours, folder)
    config = (folder / 'bert_config.json').read_text()
    (folder / 'bert_config.json').write_text(
        config.replace('"hidden_size": 12', '"hidden_size": 9')
    )
    with pytest.raises(ValueError, match=r'tensor bert/.* must be \['):
        convert_in('tf1', folder, tmp_path / 'no', lowercase=False)
    (folder / 'bert_config.json').write_text(config)
    (data,) = folder.glob('*.data-*')
    data.write_bytes(data.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r'can not be read|not a whole TensorFlow checkpoint'):
        convert_in('tf1', folder, tmp_path / 'no', lowercase=False)
    data.unlink()
    with pytest.raises(ValueError, match=r'can not be read|not a whole TensorFlow checkpoint'):
        convert_in('tf1', folder, tmp_path / 'no', lowercase=False)


def test_a_tf1_folder_without_its_weights(tmp_path: pathlib.Path, shared_data: Any) -> None:
    pytest.importorskip('tensorflow')
    folder = tmp_path / 'tf1'
    folder.mkdir()
    index = shared_data('weights/tf1-bert-base-index-only/bert_model.ckpt.index')
    (folder / 'bert_model.ckpt.index').write_bytes(index.read_bytes())
    values = {name: getattr(ModelConfig(), name) for name in REQUIRED}
    (folder / 'bert_config.json').write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r'can not be read: .*bert_model.ckpt.data-00000'):
        convert_in('tf1', folder, tmp_path / 'no')


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
    vocab = {piece: i for i, piece in enumerate(PIECES)}
    normalizer = {'type': 'BertNormalizer', 'lowercase': False}
    values = {
        'normalizer': normalizer,
        'pre_tokenizer': {'type': 'BertPreTokenizer'},
        'model': {'type': 'WordPiece', 'vocab': vocab},
        'added_tokens': [{'id': 0, 'content': '[PAD]'}],
    }
    (theirs / 'tokenizer.json').write_text(json.dumps(values))
    (theirs / 'vocab.txt').unlink()
    (theirs / 'tokenizer_config.json').unlink()
    convert_in('hf', theirs, tmp_path / 'back')
    assert_same(ours, tmp_path / 'back')
    values['model']['type'] = 'BPE'
    (theirs / 'tokenizer.json').write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"model.type is 'BPE'; bert_jax has 'WordPiece' only"):
        convert_in('hf', theirs, tmp_path / 'no')


@pytest.mark.parametrize(
    'key, value',
    [('strip_accents', True), ('tokenize_chinese_chars', False), ('tokenizer_class', 'BertJapan')],
)
def test_text_prepared_in_another_way_is_refused(
    tmp_path: pathlib.Path, theirs: pathlib.Path, key: str, value: Any
) -> None:
    path = theirs / 'tokenizer_config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ValueError, match=f'tokenizer_config.json: {key} is {value!r}'):
        convert_in('hf', theirs, tmp_path / 'back')


def test_the_real_names_of_a_published_tf1_checkpoint(shared_data: Any) -> None:
    tf = pytest.importorskip('tensorflow')
    folder = shared_data('weights/tf1-bert-base-index-only')
    there = tf.train.load_checkpoint(str(folder / 'bert_model.ckpt')).get_variable_to_shape_map()
    names = {name for rule in rules.BERT for name in rule.names('tf1', 12)}
    assert set(there) <= names
    model = ModelConfig(vocab_size=there['bert/embeddings/word_embeddings'][0])
    model = dataclasses.replace(model, max_position_embeddings=512)
    abstract = jax.tree_util.tree_leaves_with_path(pretrained.abstract_params(model, HEADS))
    shapes = {jax.tree_util.keystr(p, simple=True, separator='/'): x.shape for p, x in abstract}
    arrays, missing = rules.to_ours(
        {name: np.zeros(shape, np.float16) for name, shape in there.items()}, shapes, 'tf1'
    )
    assert not missing and arrays.keys() == shapes.keys()

"""Errors name what is wrong with a folder, and nothing is written."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import pytest
from folders import change_config, tensors, tokenizer_json, write

from bert_jax.config import Config, ModelConfig
from bert_jax.convert import cached, tf1
from bert_jax.convert.families.bert import BERT
from bert_jax.convert.families.family import REQUIRED
from bert_jax.convert.folders import convert_in, convert_out
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference import model_dir
from bert_jax.inference.model_dir import Pretrained
from bert_jax.models.heads import PRETRAINING_HEADS
from bert_jax.preflight import paths


def integers(folder: pathlib.Path) -> None:
    write(folder, tensors(folder) | {BERT.bias: np.zeros(15, np.int8)})


def shards_in_a_list(folder: pathlib.Path) -> None:
    (folder / 'model.safetensors').unlink()
    (folder / 'model.safetensors.index.json').write_text('{"weight_map": ["a"]}')


def not_finite(folder: pathlib.Path) -> None:
    bias = tensors(folder)[BERT.bias].copy()
    bias[3] = np.nan
    write(folder, tensors(folder) | {BERT.bias: bias})


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (None, 'Convert a Hugging Face checkpoint first: .*convert --from=hf'),
        ('3', 'it is not a configuration of bert_jax'),
    ],
)
def test_a_folder_that_is_not_converted(
    tmp_path: pathlib.Path, theirs: pathlib.Path, config: str | None, message: str
) -> None:
    if config is not None:
        (theirs / 'config.json').write_text(config)
    with pytest.raises(ValueError, match=message):
        model_dir.load(theirs)


def test_a_flag_does_not_overrule_the_folder(tmp_path: pathlib.Path, theirs: pathlib.Path) -> None:
    with pytest.raises(ValueError, match='its text is not lowercased, but --lowercase is given'):
        convert_in('hf', theirs, tmp_path / 'no', lowercase=True)


def truncate(folder: pathlib.Path) -> None:
    path = folder / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:-100])


def rename(folder: pathlib.Path) -> None:
    write(
        folder,
        {
            name.replace('embeddings', 'e').replace('bert.', 'x.'): x
            for name, x in tensors(folder).items()
        },
    )


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
        (
            lambda f: change_config(f, model_type='robertta'),
            "model_type is 'robertta'; expected bert, .*; the nearest name is 'roberta'",
        ),
        (
            lambda f: change_config(f, hidden_act='swish'),
            "hidden_act is 'swish'; expected one of gelu",
        ),
        (lambda f: change_config(f, hidden_size='12'), "json: hidden_size must be int, not '12'"),
        (lambda f: change_config(f, num_hidden_layers=3.0), 'json: num_hidden_layers must be int'),
        (lambda f: change_config(f, hidden_dropout_prob=None), 'json: hidden_dropout_prob must be'),
        (lambda f: change_config(f, max_position_embeddings=4), 'json: max_position_embeddings is'),
        (lambda f: change_config(f, hidden_act=[]), r'hidden_act must be str, not \[\]'),
        (not_finite, 'cls.predictions.bias has values that are not finite'),
        (integers, 'cls.predictions.bias is of int8; expected floating point'),
        (shards_in_a_list, 'weight_map must be an object'),
        (tokenizer_json, 'has 16 tokens, its configuration says 15'),
        (lambda f: tokenizer_json(f, model={'type': 'x'}), 'json is not a tokenizer.json that'),
        (
            lambda f: (f / 'added_tokens.json').write_text('{"<x>": 15}'),
            "adds '<x>', but the table",
        ),
        (lambda f: (f / 'config.json').write_text('{}'), 'has no vocab_size, hidden_size'),
        (lambda f: (f / 'config.json').write_text('{"a'), 'config.json is not JSON'),
        (lambda f: (f / 'config.json').unlink(), 'config.json does not exist'),
        (lambda f: (f / 'model.safetensors').unlink(), 'has no weights: none of'),
        (truncate, 'model.safetensors is not a whole safetensors file'),
        (garbage, 'model.safetensors is not a whole safetensors file'),
        (rename, 'holds no bert encoder; it has cls.pred'),
        (lambda f: (f / 'vocab.txt').write_text('a\nb\n'), 'has no special token'),
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
    assert model_dir.load(tmp_path / 'back').heads == PRETRAINING_HEADS

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
    (theirs / 'model.safetensors').unlink()
    (theirs / 'pytorch_model.bin').write_bytes(b'PK\x03\x04')
    monkeypatch.setitem(__import__('sys').modules, 'torch', None)
    with pytest.raises(
        ValueError, match=r'needs PyTorch: pip install torch.*or download model.safe'
    ):
        convert_in('hf', theirs, tmp_path / 'back')


def test_an_old_torch_is_refused(
    tmp_path: pathlib.Path, theirs: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip('torch', reason='reading pytorch_model.bin needs PyTorch')
    (theirs / 'model.safetensors').unlink()
    (theirs / 'pytorch_model.bin').write_bytes(b'PK\x03\x04')
    monkeypatch.setattr(torch, '__version__', '2.5.1+cpu')
    with pytest.raises(ValueError, match=r"PyTorch 2.5.1\+cpu .*pip install 'torch>=2.6'"):
        convert_in('hf', theirs, tmp_path / 'back')


def test_case_is_never_guessed_from_a_cased_vocabulary(
    tmp_path: pathlib.Path, theirs: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert_in('hf', theirs, tmp_path / 'doubted')  # cased, by its configuration
    assert 'has a capital letter, but text is not lowercased' in capsys.readouterr().out
    (theirs / 'tokenizer_config.json').unlink()
    convert_in('hf', theirs, tmp_path / 'assumed')
    assert 'assumed that text is lowercased; give --nolowercase' in capsys.readouterr().out
    cased = (theirs / 'vocab.txt').read_text().replace('\nh\n', '\nH\n')
    (theirs / 'vocab.txt').write_text(cased)
    with pytest.raises(ValueError, match="1 of 10 tokens have upper-case letters, such as 'H'"):
        convert_in('hf', theirs, tmp_path / 'no')
    convert_in('hf', theirs, tmp_path / 'told', lowercase=False)
    vocabulary = model_dir.load(tmp_path / 'told').vocabulary
    assert vocabulary is not None and not vocabulary.lowercase


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
    with pytest.raises(ValueError, match=r'cannot be read|not a whole TensorFlow checkpoint'):
        convert_in('tf1', folder, tmp_path / 'no', lowercase=False)
    data.unlink()
    with pytest.raises(ValueError, match=r'cannot be read|not a whole TensorFlow checkpoint'):
        convert_in('tf1', folder, tmp_path / 'no', lowercase=False)


def test_a_tf1_folder_without_its_weights(tmp_path: pathlib.Path, shared_data: Any) -> None:
    pytest.importorskip('tensorflow')
    folder = tmp_path / 'tf1'
    folder.mkdir()
    index = shared_data('weights/tf1-bert-base-index-only/bert_model.ckpt.index')
    (folder / 'bert_model.ckpt.index').write_bytes(index.read_bytes())
    values = {name: getattr(ModelConfig(), name) for name in REQUIRED}
    (folder / 'bert_config.json').write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r'cannot be read: .*bert_model.ckpt.data-00000'):
        convert_in('tf1', folder, tmp_path / 'no')


@pytest.mark.parametrize(
    'key, value',
    [
        ('tokenize_chinese_chars', False),
        ('do_basic_tokenize', False),
        ('wordpieces_prefix', '@@'),
        ('tokenizer_class', 'BertJapan'),
        ('cls_token', '<s>'),
    ],
)
def test_text_prepared_in_another_way_is_refused(
    tmp_path: pathlib.Path, theirs: pathlib.Path, key: str, value: Any
) -> None:
    path = theirs / 'tokenizer_config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ValueError, match=f'tokenizer_config.json: {key} is {value!r}'):
        convert_in('hf', theirs, tmp_path / 'back')


@pytest.mark.parametrize('kind', ['byte_bpe', 'xlm_bpe', 'tokenizer_json'])
def test_a_vocabulary_that_tensorflow_checkpoints_do_not_have(
    tmp_path: pathlib.Path, kind: str
) -> None:
    vocabulary = tokenizer.train(['some words of a text'] * 9, 300, False, 'byte_bpe')
    vocabulary.kind = kind
    source = Pretrained(ModelConfig(), (), {}, vocabulary)
    with pytest.raises(ValueError, match=rf'one of the kind {kind}; use --to=hf, or remove vocab'):
        tf1.write(tmp_path, source)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['xlnet_config.json', 'config.json'])
def test_checkpoints_of_tensorflow_of_another_family(tmp_path: pathlib.Path, name: str) -> None:
    folder = tmp_path / 'xlnet'
    folder.mkdir()
    published = {'d_model': 768, 'n_layer': 12, 'n_head': 12, 'd_inner': 3072, 'n_token': 32000}
    values = {'model_type': 'xlnet', **published} if name == 'config.json' else published
    (folder / name).write_text(json.dumps(values))
    (folder / 'xlnet_model.ckpt.index').write_bytes(b'x')
    assert cached.origin_of(folder) == 'tf1'
    message = (
        rf"{name} is of the family 'xlnet'; .* only of bert and albert. Instead, give a folder"
    )
    with pytest.raises(ValueError, match=message):
        convert_in('tf1', folder, tmp_path / 'no')
    config = dataclasses.replace(Config(), init_from=str(folder))
    assert not any('init_from' in problem for problem in paths.problems(config, tmp_path / 'run'))

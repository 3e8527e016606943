"""Folders with missing or wrong files are read, or one line says what to do."""

import json
import pathlib
from typing import Any

import numpy as np
import pytest
from folders import tensors, write

from bert_jax.convert import cached
from bert_jax.convert.folders import convert_in, convert_out
from bert_jax.inference import model_dir

POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 437955512\n'


@pytest.mark.parametrize('name', ['model.safetensors', 'pytorch_model.bin', 'vocab.txt', 'x.json'])
@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (POINTER, 'is a Git LFS pointer, not the file itself; run git lfs pull in '),
        ('<!DOCTYPE html><html>', 'is a web page, not the file itself; download it again'),
        ('', 'is empty; download it again'),
    ],
)
def test_stand_ins(
    theirs: pathlib.Path, tmp_path: pathlib.Path, name: str, content: str, message: str
) -> None:
    (theirs / name).write_text(content)
    with pytest.raises(ValueError, match=f'{name} {message}'):
        convert_in('hf', theirs, tmp_path / 'no')


PREFIXES = {'_orig_mod.module.': 'module. and _orig_mod.', 'layer.0._fsdp_wrapped_module.': ''}


@pytest.mark.parametrize('prefix', ['module.', *PREFIXES, 'auto_model.', 'x.', 'model.'])
def test_wrapped_models(
    theirs: pathlib.Path, tmp_path: pathlib.Path, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    inside, shown = prefix.startswith('layer.0.'), PREFIXES.get(prefix, prefix)
    renamed = {
        name.replace('layer.0.', prefix) if inside else prefix + name: x
        for name, x in tensors(theirs).items()
    }
    write(theirs, renamed)
    convert_in('hf', theirs, tmp_path / 'ours')
    out = capsys.readouterr().out
    assert f'the names of tensors are read without {shown or "_fsdp_wrapped_module."}\n' in out
    assert not json.loads((tmp_path / 'ours/conversion.json').read_text())['unused']


def test_two_encoders_and_unmerged_adapters(theirs: pathlib.Path, tmp_path: pathlib.Path) -> None:
    plain = tensors(theirs)
    write(theirs, {f'{x}.{name}': t for x in ('query', 'text') for name, t in plain.items()})
    with pytest.raises(ValueError, match=r"holds 2 encoders: .*begin with 'query.', 'text.'"):
        convert_in('hf', theirs, tmp_path / 'no')
    name = 'bert.encoder.layer.0.attention.self.query.lora_A.default.weight'
    write(theirs, plain | {name: np.zeros((2, 12), np.float32)})
    with pytest.raises(ValueError, match=r'an adapter \(peft\) that is not merged, .*merge_and_un'):
        convert_in('hf', theirs, tmp_path / 'no')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (lambda x: {'state_dict': x, 'epoch': 3}, ''),
        (lambda x: {'net': x, 'optimizer': {'lr': 0.1}}, ''),
        (lambda x: x | {'epoch': 3}, ''),
        (lambda x: {name: value.requires_grad_() for name, value in x.items()}, ''),
        (lambda x: {'model': x, 'ema': x}, "several sets of tensors, 'model' and 'ema'; save the"),
        (lambda x: {'ema': x, 'raw': x}, r"holds the keys \['ema', 'raw'\]; save the tensors"),
        (lambda x: [1], 'holds an object; save the tensors alone'),
        (lambda x: pathlib.PurePosixPath('a'), 'it holds Python objects, .*could run code. Save'),
    ],
)
def test_training_checkpoints(
    theirs: pathlib.Path, tmp_path: pathlib.Path, content: Any, message: str
) -> None:
    torch = pytest.importorskip('torch', reason='reading pytorch_model.bin needs PyTorch')
    values = {name: torch.tensor(x) for name, x in tensors(theirs).items()}
    (theirs / 'model.safetensors').unlink()
    torch.save(content(values), theirs / 'pytorch_model.bin')
    if not message:
        if 'epoch' in content({}):  # the content of the file decides, and not its name
            (theirs / 'pytorch_model.bin').rename(theirs / 'model.safetensors')
        convert_in('hf', theirs, tmp_path / 'ours')
        return
    with pytest.raises(ValueError, match=message) as error:
        convert_in('hf', theirs, tmp_path / 'no')
    assert 'weights_only' not in str(error.value)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('model-00001-of-00002.safetensors', r'it has shards, but no \*.index.json, which lists'),
        ('last.ckpt', 'it has last.ckpt: rename the one that you want to pytorch_model.bin'),
        ('model.fp16.safetensors', 'rename the one that you want to model.safetensors'),
        ('tf_model.h5', 'those of TensorFlow .* save them with save_pretrained'),
        ('flax_model.msgpack', 'those of Flax .* save them with save_pretrained'),
        ('zero_to_fp32.py', 'a checkpoint of DeepSpeed: run python zero_to_fp32.py'),
        ('optimizer.pt', 'has no weights: none of model.safetensors, .*sharded$'),
    ],
)
def test_other_weights(
    theirs: pathlib.Path, tmp_path: pathlib.Path, name: str, message: str
) -> None:
    (theirs / 'model.safetensors').rename(theirs / name)
    with pytest.raises(ValueError, match=message):
        convert_in('hf', theirs, tmp_path / 'no')


def test_one_folder_too_high(theirs: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for step in (500, 1000):
        (tmp_path / f'out/checkpoint-{step}').mkdir(parents=True)
        for path in theirs.iterdir():
            (tmp_path / f'out/checkpoint-{step}' / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match=r'give .*checkpoint-1000 or .*checkpoint-500'):
        convert_in('hf', tmp_path / 'out', tmp_path / 'no')
    (tmp_path / 'a/st/0_Transformer').mkdir(parents=True)
    (tmp_path / 'a/st/modules.json').write_text('[]')
    (tmp_path / 'a/st/0_Transformer/config.json').write_text('{}')
    with pytest.raises(ValueError, match=r'its folder has; give .*/st$'):
        convert_in('hf', tmp_path / 'a', tmp_path / 'no')
    assert cached.origin_of(tmp_path / 'out') is None
    with pytest.raises(ValueError, match=r'its folders have; give .*checkpoint'):
        model_dir.load(tmp_path / 'out')


def test_folders_of_another_format(
    theirs: pathlib.Path, ours: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    folder = tmp_path / 'tf1'
    folder.mkdir()
    (folder / 'bert_config_small.json').write_text('{}')
    (folder / 'bert_model.ckpt.index').write_text('x')
    for origin, source, message in (
        ('tf1', theirs, 'is a folder of Hugging Face transformers; use --from=hf'),
        ('hf', folder, 'has a checkpoint of TensorFlow; use --from=tf1'),
        ('hf', ours, 'is a folder of bert_jax, which needs no conversion'),
        ('tf1', folder, 'bert_config.json does not exist; rename bert_config_small.json if'),
    ):
        with pytest.raises(ValueError, match=message):
            convert_in(origin, source, tmp_path / 'no', lowercase=False)


@pytest.mark.slow
def test_checkpoints_of_tensorflow(ours: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Fine-tuning leaves several, and the file `checkpoint` names the newest one."""
    pytest.importorskip('tensorflow')
    folder = tmp_path / 'tf1'
    convert_out('tf1', ours, folder)
    for path in sorted(folder.glob('bert_model.ckpt*')):
        for step in (100, 343):
            name = path.name.replace('bert_model.ckpt', f'model.ckpt-{step}')
            (folder / name).write_bytes(path.read_bytes())
        path.unlink()
    with pytest.raises(ValueError, match=r'several checkpoints: model.ckpt-100, model.ckpt-343'):
        convert_in('tf1', folder, tmp_path / 'no', lowercase=False)
    (folder / 'checkpoint').write_text('model_checkpoint_path: "/gone/model.ckpt-343"\n')
    (folder / 'bert_config.json').rename(folder / 'config.json')
    assert cached.origin_of(folder) == 'tf1'
    convert_in('tf1', folder, tmp_path / 'ours', lowercase=False)
    assert model_dir.load(tmp_path / 'ours').heads


def test_blanks_and_byte_order_marks(theirs: pathlib.Path, tmp_path: pathlib.Path) -> None:
    path = theirs / 'vocab.txt'
    pieces = path.read_text().split()
    path.write_text('\ufeff' + ''.join(f'{piece} \t\r\n' for piece in pieces), 'utf-8')
    for path in theirs.glob('*.json'):
        path.write_text('\ufeff' + path.read_text())
    assert cached.origin_of(theirs) == 'hf'
    convert_in('hf', theirs, tmp_path / 'ours')
    vocabulary = model_dir.load(tmp_path / 'ours').vocabulary
    assert vocabulary is not None and vocabulary.pieces == pieces

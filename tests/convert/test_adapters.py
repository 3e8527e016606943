"""LoRA adapters are merged into their base; others are refused by name."""

import json
import pathlib
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from folders import tensors

from bert_jax.convert.folders import convert_in
from bert_jax.inference import model_dir

QUERY = 'encoder.layer.1.attention.self.query'
PREFIX = 'base_model.model.'
RANK, WIDTH = 2, 12


def adapter(folder: pathlib.Path, base: str, changes: Any = None, **config: Any) -> pathlib.Path:
    folder.mkdir()
    random = np.random.default_rng(1)
    values: dict[str, np.ndarray] = {
        f'{PREFIX}bert.{QUERY}.lora_A.weight': random.normal(size=(RANK, WIDTH)),
        f'{PREFIX}bert.{QUERY}.lora_B.weight': random.normal(size=(WIDTH, RANK)),
        f'{PREFIX}classifier.weight': random.normal(size=(4, WIDTH)),
        f'{PREFIX}classifier.bias': random.normal(size=4),
    } | (changes or {})
    safetensors.numpy.save_file(
        {name: x.astype(np.float32) for name, x in values.items()},
        folder / 'adapter_model.safetensors',
    )
    stated = {'peft_type': 'LORA', 'task_type': 'SEQ_CLS', 'r': RANK, 'lora_alpha': 8}
    stated |= {'base_model_name_or_path': base, **config}
    (folder / 'adapter_config.json').write_text(json.dumps(stated))
    return folder


@pytest.mark.parametrize('rslora', [False, True])
def test_lora_is_merged(theirs: pathlib.Path, tmp_path: pathlib.Path, rslora: bool) -> None:
    folder = adapter(tmp_path / 'adapter', str(theirs), use_rslora=rslora)
    (theirs / 'config.json').write_text(
        json.dumps(json.loads((theirs / 'config.json').read_text()) | {'id2label': None})
    )
    convert_in('hf', folder, tmp_path / 'ours')
    convert_in('hf', theirs, tmp_path / 'base')
    found, base = (model_dir.load(tmp_path / name) for name in ('ours', 'base'))
    assert 'classifier' in found.heads and len(found.labels) == 4
    assert found.vocabulary is not None
    name = 'encoder/layers/attention/query_key_value/kernel'
    change = found.arrays()[name] - base.arrays()[name]
    values = safetensors.numpy.load_file(folder / 'adapter_model.safetensors')
    low, high = (values[f'{PREFIX}bert.{QUERY}.lora_{x}.weight'] for x in 'AB')
    expected = 8 / (RANK**0.5 if rslora else RANK) * (high @ low).T
    np.testing.assert_allclose(change[1, :, :, 0].reshape(WIDTH, WIDTH), expected, atol=1e-5)
    assert not change[0].any() and not change[1, :, :, 1:].any()


@pytest.mark.parametrize(
    ('config', 'changes', 'message'),
    [
        ({'peft_type': 'IA3'}, {}, r'an adapter \(IA3\) of .*; bert_jax merges LORA only; merge'),
        ({'peft_type': None}, {}, r'an adapter \(unknown\)'),
        ({'use_dora': True}, {}, 'use_dora is True; bert_jax does not merge such'),
        ({'base_model_name_or_path': 'gone'}, {}, "of gone, which cannot be read: 'gone' is not a"),
        ({'alora_invocation_tokens': [1]}, {}, 'alora_invocation_tokens is .*does not merge'),
        ({}, {f'{PREFIX}x.lora_A.weight': np.zeros((2, 12))}, 'lora_A.weight needs .*lora_B'),
        ({}, {f'{PREFIX}bert.{QUERY}.lora_B.weight': np.zeros((9, 2))}, r'changes \[9, 12\], but'),
        ({}, {f'{PREFIX}x.lora_C.weight': np.zeros(2)}, 'does not know x.lora_C.weight; merge'),
    ],
)
def test_others_are_refused(
    theirs: pathlib.Path, tmp_path: pathlib.Path, config: Any, changes: Any, message: str
) -> None:
    folder = adapter(tmp_path / 'adapter', str(theirs), changes, **config)
    with pytest.raises(ValueError, match=message):
        convert_in('hf', folder, tmp_path / 'no')


def test_weights_beside_an_adapter(theirs: pathlib.Path, tmp_path: pathlib.Path) -> None:
    folder = adapter(tmp_path / 'adapter', 'org/model')
    safetensors.numpy.save_file(tensors(theirs), folder / 'model.safetensors')
    with pytest.raises(ValueError, match=r'\(LORA\) of org/model beside the weights .*remove'):
        convert_in('hf', folder, tmp_path / 'no')
    (folder / 'adapter_config.json').unlink()
    with pytest.raises(ValueError, match=r'has adapter_model\.safetensors, the weights of an ad'):
        convert_in('hf', folder, tmp_path / 'no')

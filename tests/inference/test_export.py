"""Exported programs give the numbers of the model, for any number and length of texts."""

import json
import pathlib
from typing import Any

import folders
import jax
import jax.export
import numpy as np
import pytest
from small_run import QUICK

from bert_jax import export
from bert_jax.config import ModelConfig
from bert_jax.inference import model_dir, sentence_embedding, stablehlo
from bert_jax.inference.model_dir import Pretrained
from bert_jax.models.heads import DECODER, HEADS
from bert_jax.models.inputs import EncoderInputs

TIGHT = 1e-5
# Together, these have every head and every kind of positions.
MODELS: dict[str, tuple[dict[str, Any], tuple[str, ...], int]] = {
    'bert': ({}, ('pooler', 'masked_lm', 'next_sentence'), 0),
    'classifier': ({'hidden_act': 'gelu'}, ('pooler', 'classifier'), 3),
    'tagger': (
        {'model_type': 'roberta', 'position_offset': 2, 'type_vocab_size': 1, 'share_layers': True},
        ('tagger',),
        3,
    ),
    'span': ({'position_embedding_type': 'sinusoidal', 'type_vocab_size': 0}, ('span',), 0),
    'order': ({'embedding_size': 4, 'pre_norm': True}, ('pooler', 'sentence_order'), 0),
    'rotary': (
        {'position_embedding_type': 'rotary', 'local_attention': 4, 'summary_type': 'mean'},
        ('pooler', 'classifier'),
        2,
    ),
    'relative': (
        {
            'model_type': 'xlnet',
            'position_embedding_type': 'relative',
            'type_vocab_size': 4,
            'attention_bias': False,
            'attention_output_dropout': True,
        },
        ('masked_lm',),
        0,
    ),
}


def test_every_head_is_exported() -> None:
    assert {head for _, heads, _ in MODELS.values() for head in heads} == {*HEADS} - {DECODER}


def made(folder: pathlib.Path, name: str) -> Pretrained:
    changes, heads, labels = MODELS[name]
    model = ModelConfig(**{**vars(folders.MODEL), **changes})
    task: dict[str, Any] = {'labels': [f'L{i}' for i in range(labels)]} if labels else {}
    folders.make(folder, model, heads, **task)
    if name == 'bert':  # its vectors of texts are an output, too
        sentence_embedding.SentenceEmbedding(('cls', 'max')).save(folder)
    return model_dir.load(folder)


def batch_of(source: Pretrained, rows: int, length: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(rows)
    mask = (np.arange(length) < random.integers(2, length + 1, rows)[:, None]).astype(np.int32)
    ids = random.integers(0, source.config.vocab_size, (rows, length), np.int32)
    return {'input_ids': ids * mask, 'attention_mask': mask, 'token_type_ids': 0 * mask}


@pytest.mark.parametrize(
    'name', ['bert', *(pytest.param(x, marks=pytest.mark.slow) for x in MODELS if x != 'bert')]
)
def test_the_program_gives_the_same(
    tmp_path: pathlib.Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = made(tmp_path / 'ours', name)
    arguments = ['export', f'--checkpoint={tmp_path}/ours', f'--output={tmp_path}/out']
    export.FLAGS.unparse_flags()
    assert export.main(arguments) == 0
    assert 'last_hidden_state' in capsys.readouterr().out
    program = jax.export.deserialize(bytearray((tmp_path / 'out/program.jax_export').read_bytes()))
    parameters = dict(np.load(tmp_path / 'out/parameters.npz'))
    facts = json.loads((tmp_path / 'out/export.json').read_text())
    longest, differences = source.config.longest_row, dict[str, float]()
    for rows, length in ((3, longest),) if QUICK else ((3, longest), (1, 5), (2, 2)):
        batch = batch_of(source, rows, length)
        found = program.call(parameters, batch)
        expected: Any = source.model.apply(
            {'params': source.params}, EncoderInputs.from_batch(batch)
        )
        if name == 'bert':
            hidden = np.asarray(expected['last_hidden_state'])
            shown = np.where(batch['attention_mask'][:, :, None], hidden, -np.inf)
            expected['sentence_embedding'] = np.concatenate([hidden[:, 0], shown.max(1)], 1)
        assert found.keys() == facts['outputs'].keys() == expected.keys()
        for output, value in expected.items():
            scale = max(1.0, float(np.abs(value).max()))
            difference = float(np.abs(found[output] - value).max()) / scale
            differences[output] = max(differences.get(output, 0), difference)
    assert max(differences.values()) < TIGHT, differences
    with capsys.disabled():
        print(name, {output: f'{value:.1e}' for output, value in differences.items()})
    assert facts['outputs']['last_hidden_state']['shape'] == ['batch', 'length', 12]
    assert len(facts.get('labels', [])) == MODELS[name][2]
    assert (tmp_path / 'out' / stablehlo.PORTABLE).stat().st_size > 1000
    assert set(program.platforms) == {'cpu', 'cuda', 'tpu'}
    with pytest.raises(ValueError):
        program.call(parameters, batch_of(source, 2, longest + 1))
    with pytest.raises(ValueError, match='exists; remove it or choose another'):
        export.main(arguments)

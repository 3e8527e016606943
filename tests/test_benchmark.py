"""The benchmark times the real step, without data."""

import json
import os
import pathlib
import subprocess
import sys
import types
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from small_run import QUICK
from tiny_model import ROOT

from bert_jax.config import ModelConfig, Phase
from bert_jax.models.flops import step_flops
from bert_jax.performance import step_profile

FLAGS = [
    '--config.model.num_hidden_layers=1',
    '--config.model.scan_unroll=1',
    '--steps=4',
    '--warmup=1',
    '--max_seq_length=16',
]


def run(*arguments: str, config: str = 'tiny', devices: int = 8) -> tuple[int, str]:
    """Exit code and output."""
    file = f'--config={ROOT}/configs/{config}.py'
    count = f'--xla_force_host_platform_device_count={devices}'
    done = subprocess.run(
        [sys.executable, '-m', 'bert_jax.benchmark', file, *FLAGS, *arguments],
        env=os.environ | {'PYTHONPATH': str(ROOT), 'XLA_FLAGS': count},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_numbers_belong_together(tmp_path: pathlib.Path) -> None:
    output = tmp_path / 'speed.json'
    code, said = run('--batch_size=16,8', '--profile', f'--output={output}')
    assert code == 0, said
    assert '8 x 16' in said
    assert '16 x 16' in said
    found = json.loads(output.read_text())
    assert [one['batch_size'] for one in found] == [16, 8]
    assert found[0]['peak_memory'] > found[1]['peak_memory'] > 0, 'each its own'
    for one in found:
        assert one['devices'] == 8
        assert one['seconds_p10'] <= one['seconds'] <= one['seconds_p90']
        rows, length = one['batch_size'], one['max_seq_length']
        assert one['tokens_per_second'] == pytest.approx(rows * length / one['seconds'])
        assert one['flops_per_second'] == pytest.approx(one['model_flops'] / one['seconds'])
        assert 8.5 < one['loss'] < 10, 'a fresh model knows nothing: ln 4096 and ln 2'
        parts = one['parts']
        assert sum(sum(part.values()) for part in parts.values()) == pytest.approx(1)
        assert parts['products: MLP']['forward'] > 0
        assert parts['products: MLP']['backward'] > 0
        assert parts[step_profile.OPTIMIZER]['forward'] == 0
        assert {'layer norm', step_profile.OPTIMIZER} <= parts.keys()
        assert step_profile.BETWEEN_DEVICES in parts
        assert 'products: MLP' in said


LAYER = 'jit(step)/jvp(HeadedEncoder)/encoder/while/body/closed_call/layers'


@pytest.mark.parametrize(
    ('name', 'part'),
    [
        (f'{LAYER}/attention/query_key_value/dot_general', 'products: query, key, value, output'),
        (f'{LAYER}/attention/bqhd,bkhd->bhqk/dot_general', 'products: scores and values'),
        (f'{LAYER}/attention/reduce_max', 'softmax and the rest of attention'),
        (f'{LAYER}/attention/while/body/closed_call/add', 'random bits'),
        (f'{LAYER}/Dropout_0/jit(_threefry_fold_in)/slice', 'random bits'),
        (f'{LAYER}/Dropout_0/mul', 'dropout, where it is not fused'),
        (f'{LAYER}/output_norm/reduce_sum', 'layer norm'),
        (f'{LAYER}/output/checkpoint/erfc', 'activations'),
        (f'{LAYER}/intermediate/transpose', 'additions, transposes, copies'),
        ('jit(step)/jvp()/reduce_sum', 'the loss'),
        ('jit(step)/jit(_where)/select_n', step_profile.OPTIMIZER),
        (f'{LAYER}/attention/custom_vjp_call', 'softmax and the rest of attention'),
        ('jit(step)/HeadedEncoder._decode/embeddings.attend/convert', 'the rest of the vocabulary'),
        ('', step_profile.UNKNOWN),
    ],
)
def test_parts_by_the_names_of_operations(name: str, part: str) -> None:
    assert step_profile.part('fusion.3', name) == part
    assert step_profile.part('all-reduce.7', name) == step_profile.BETWEEN_DEVICES


class Event(NamedTuple):
    name: str
    start_ns: float
    duration_ns: float
    stats: Sequence[tuple[str, str]]


def test_what_an_operation_calls_is_not_its_own() -> None:
    events = [
        Event('any', 10, 30, [('hlo_op', 'inner')]),
        Event('%while = (f32[2]) while(%x)', 0, 100, []),
        Event('any', 20, 5, [('hlo_op', 'innermost')]),
        Event('any', 50, 10, [('other', 'not an operation')]),
        Event('any', 100, 7, [('hlo_op', 'after')]),
    ]
    own = dict(step_profile.self_times(types.SimpleNamespace(events=events)))
    assert own == {'innermost': 5, 'inner': 25, 'while': 70, 'after': 7}


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        (['--batch_size=8,x'], ["'x'", 'positive integers']),
        (['--batch_size=12'], ['12 sequences', '8 parts']),
        (['--sweep', '--batch_size=8,16'], ['--sweep begins with one', 'has 2']),
        (['--output=no/such/speed.json'], ['no/such/speed.json', 'mkdir -p no/such']),
    ],
)
def test_mistakes_are_named(flags: list[str], words: list[str]) -> None:
    code, said = run(*flags)
    assert code == 2, said
    for word in words:
        assert word in said
    assert said.count('\n') == 1


SWEPT = """
import sys
from bert_jax import benchmark
speeds = {8: 100.0, 16: 180.0, 32: 181.0, 64: 400.0}
def measure(config, **_):
    rows = config.train.phases[0].batch_size
    return {'batch_size': rows, 'fits': True, 'tokens_per_second': speeds[rows]}
benchmark.measure = measure
benchmark._table = lambda found: 'a table'
sys.exit(benchmark.main(sys.argv))
"""


def test_a_sweep_doubles_for_as_long_as_it_helps(tmp_path: pathlib.Path) -> None:
    flags = [f'--config={ROOT}/configs/tiny.py', '--sweep', '--batch_size=8']
    done = subprocess.run(
        [sys.executable, '-c', SWEPT, *flags, f'--output={tmp_path / "speed.json"}'],
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        timeout=300,
        check=True,
        capture_output=True,
        text=True,
    )
    assert 'a table' in done.stdout
    found = json.loads((tmp_path / 'speed.json').read_text())
    assert [one['batch_size'] for one in found] == [8, 16, 32], 'the last is no 2 % faster'


@pytest.mark.skipif(QUICK, reason='the step is timed above')
def test_the_mesh_of_a_pod_on_fewer_devices(tmp_path: pathlib.Path) -> None:
    output, model = tmp_path / 'speed.json', {'hidden_size': 32, 'intermediate_size': 32}
    small = [f'--config.model.{key}={size}' for key, size in model.items()]
    code, said = run('--batch_size=2', *small, f'--output={output}', config='large', devices=1)
    assert code == 0, said
    assert 'config.mesh.fsdp=8' in said and 'do not fit 1 devices' in said
    (found,) = json.loads(output.read_text())
    assert found['mesh'] == {'data': 1, 'fsdp': 1, 'tensor': 1}
    sizes = {'num_attention_heads': 16, 'num_hidden_layers': 1, **model}
    padded = ModelConfig(**sizes, vocab_size=30_720)
    assert found['model_flops'] == step_flops(padded, Phase(1, 16, 2, 2))

"""The command `python -m bert_jax.benchmark`."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import small_run
import small_tasks
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
    """Returns the exit code and the output."""
    file = f'--config={ROOT}/configs/{config}.py'
    done = subprocess.run(
        [sys.executable, '-m', 'bert_jax.benchmark', file, *FLAGS, *arguments],
        env=small_run.environment(devices),
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_the_numbers_fit_together(tmp_path: pathlib.Path) -> None:
    output = tmp_path / 'speed.json'
    code, said = run('--batch_size=64,8', '--profile', f'--output={output}')
    assert code == 0, said
    assert ' 8 x 16 ' in said
    assert '64 x 16' in said
    results = json.loads(output.read_text())
    assert [result['batch_size'] for result in results] == [64, 8]
    assert results[0]['peak_memory'] > results[1]['peak_memory'] > 0, 'each has its own'
    for result in results:
        assert result['devices'] == 8
        assert result['seconds_p10'] <= result['seconds'] <= result['seconds_p90']
        rows, length = result['batch_size'], result['max_seq_length']
        assert result['tokens_per_second'] == pytest.approx(rows * length / result['seconds'])
        assert result['flops_per_second'] == pytest.approx(
            result['model_flops'] / result['seconds']
        )
        assert 8.5 < result['loss'] < 10, 'a fresh model knows nothing: ln 4096 and ln 2'
        parts = result['parts']
        assert sum(sum(part.values()) for part in parts.values()) == pytest.approx(1)
        assert parts['products: MLP']['forward'] > 0
        assert parts['products: MLP']['backward'] > 0
        assert parts[step_profile.OPTIMIZER]['forward'] == 0
        assert {'layer norm', step_profile.OPTIMIZER} <= parts.keys()
        assert step_profile.BETWEEN_DEVICES in parts
        assert 'products: MLP' in said


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        (['--batch_size=8,x'], ["'x'", 'positive integers']),
        (['--batch_size=12'], ['12 sequences', '8 parts']),
        (['--sweep', '--batch_size=8,16'], ['--sweep begins with one', 'has 2']),
        (['--output=no/such/speed.json'], ['no/such/speed.json', 'mkdir -p no/such']),
    ],
)
def test_mistakes(flags: list[str], words: list[str]) -> None:
    code, said = run(*flags)
    assert code == 2, said
    for word in words:
        assert word in said
    assert said.count('\n') == 1


SWEPT = """
import sys
from bert_jax import benchmark
from bert_jax.performance import measure as measuring
speeds = {8: 100.0, 16: 180.0, 32: 181.0, 64: 400.0}
def measure(config, task, *_):
    rows = config.train.phases[0].batch_size
    shape = {'batch_size': rows, 'max_seq_length': 128, 'devices': 8, 'device': type(task).__name__}
    shape |= dict.fromkeys(('seconds', 'seconds_p10', 'seconds_p90'), 0.1)
    return shape | {'fits': rows < 64, 'tokens_per_second': speeds[rows]}
measuring.measure = measure
sys.exit(benchmark.main(sys.argv))
"""


def test_a_sweep_of_a_fine_tuning_configuration(tmp_path: pathlib.Path) -> None:
    flags = [f'--config={ROOT}/configs/finetune_ner.py', '--sweep', '--batch_size=8']
    start = [f'--config.init_from={small_tasks.pretrained_folder(tmp_path / "tiny")}']
    start += ['--config.data.max_seq_length=16', f'--output={tmp_path / "speed.json"}']
    done = subprocess.run(
        [sys.executable, '-c', SWEPT, *flags, *start],
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        timeout=300,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert '8 x TaggingTask' in done.stdout
    results = json.loads((tmp_path / 'speed.json').read_text())
    assert [result['batch_size'] for result in results] == [8, 16, 32], '32 is not 2 % faster'


@pytest.mark.skipif(small_run.QUICK, reason='the step is timed above')
def test_a_mesh_that_does_not_fit_the_devices(tmp_path: pathlib.Path) -> None:
    output, model = tmp_path / 'speed.json', {'hidden_size': 32, 'intermediate_size': 32}
    small = [f'--config.model.{key}={size}' for key, size in model.items()]
    code, said = run('--batch_size=2', *small, f'--output={output}', config='large', devices=1)
    assert code == 0, said
    assert 'config.mesh.fsdp=8' in said and 'do not fit 1 devices' in said
    (result,) = json.loads(output.read_text())
    assert result['mesh'] == {'data': 1, 'fsdp': 1, 'tensor': 1}
    sizes = {'num_attention_heads': 16, 'num_hidden_layers': 1, **model}
    padded = ModelConfig(**sizes, vocab_size=30_720)
    assert result['model_flops'] == step_flops(padded, Phase(1, 16, 2, 2))

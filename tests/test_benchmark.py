"""The command `python -m bert_jax.benchmark`."""

import json
import pathlib
from collections.abc import Callable, Iterator

import forked
import pytest
import small_tasks

from bert_jax.config import ModelConfig, Phase
from bert_jax.models.flops import step_flops
from bert_jax.performance import step_profile

SHORT = (
    *('benchmark', '--config=tiny', '--steps=4', '--warmup=1', '--max_seq_length=16'),
    *('--config.model.num_hidden_layers=1', '--config.model.scan_unroll=1'),
)
# The model with its padded vocabulary.
MODEL = ModelConfig(
    vocab_size=4096,
    hidden_size=128,
    num_hidden_layers=1,
    num_attention_heads=4,
    intermediate_size=512,
)
Run = Callable[..., forked.Ended]


@pytest.fixture(scope='module')
def run() -> Iterator[Run]:
    with forked.running('jax', devices=8) as function:
        yield function


@pytest.mark.slow
def test_the_numbers_fit_together(tmp_path: pathlib.Path, run: Run) -> None:
    """The mesh does not fit the devices, so the batch is split over all of them."""
    output = tmp_path / 'speed.json'
    flags = '--batch_size=64,8', '--profile', f'--output={output}', '--config.mesh.fsdp=16'
    padding = '--config.model.vocab_size=4000', '--config.data.pad_vocab_to_multiple_of=256'
    done = run(*SHORT, *flags, *padding)
    assert done.code == 0, done.stderr
    assert 'config.mesh.fsdp=16' in done.stderr and 'do not fit 8 devices' in done.stderr
    assert ' 8 x 16 ' in done.stdout and '64 x 16' in done.stdout
    assert 'products: MLP' in done.stdout
    results = json.loads(output.read_text())
    assert [result['batch_size'] for result in results] == [64, 8]
    assert results[0]['peak_memory'] > results[1]['peak_memory'] > 0, 'each has its own'
    for result in results:
        assert result['devices'] == 8
        assert result['mesh'] == {'data': 8, 'fsdp': 1, 'tensor': 1}
        assert result['seconds_p10'] <= result['seconds'] <= result['seconds_p90']
        rows, length = result['batch_size'], result['max_seq_length']
        assert result['tokens_per_second'] == pytest.approx(rows * length / result['seconds'])
        assert result['model_flops'] == step_flops(MODEL, Phase(1, 16, rows, 2))
        assert result['flops_per_second'] == pytest.approx(
            result['model_flops'] / result['seconds']
        )
        assert 8.5 < result['loss'] < 10, 'a fresh model knows nothing: ln 4000 and ln 2'
        parts = result['parts']
        assert sum(sum(part.values()) for part in parts.values()) == pytest.approx(1)
        assert parts['products: MLP']['forward'] > 0
        assert parts['products: MLP']['backward'] > 0
        assert parts[step_profile.OPTIMIZER]['forward'] == 0
        assert {'layer norm', step_profile.OPTIMIZER} <= parts.keys()
        assert step_profile.BETWEEN_DEVICES in parts


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        (['--batch_size=8,x'], ["'x'", 'positive integers']),
        (['--batch_size=12'], ['12 sequences', '8 parts']),
        (['--sweep', '--batch_size=8,16'], ['--sweep begins with one', 'has 2']),
        (['--output=no/such/speed.json'], ['no/such/speed.json', 'mkdir -p no/such']),
    ],
)
def test_mistakes(flags: list[str], words: list[str], run: Run) -> None:
    done = run(*SHORT, *flags)
    assert (done.code, done.stdout) == (2, '')
    for word in words:
        assert word in done.stderr
    assert done.stderr.count('\n') == 1


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


def test_a_sweep_of_a_fine_tuning_configuration(tmp_path: pathlib.Path, run: Run) -> None:
    flags = ['--config=finetune_ner', '--sweep', '--batch_size=8']
    start = [f'--config.init_from={small_tasks.pretrained_folder(tmp_path / "tiny")}']
    start += ['--config.data.max_seq_length=16', f'--output={tmp_path / "speed.json"}']
    done = run(*flags, *start, code=SWEPT)
    assert done.code == 0, done.stderr
    assert '8 x TaggingTask' in done.stdout
    results = json.loads((tmp_path / 'speed.json').read_text())
    assert [result['batch_size'] for result in results] == [8, 16, 32], '32 is not 2 % faster'

"""The comparison of speeds runs from its beginning to its end."""

import re

import pytest
import small_run

pytest.importorskip('torch')
pytest.importorskip('transformers')


@pytest.mark.slow
@pytest.mark.skipif(small_run.QUICK, reason='three processes that import PyTorch and compile')
def test_every_side_is_timed_and_compared() -> None:
    sizes = ['--rounds=2', '--batch_size=2', '--max_seq_length=32']
    layers = ['--config.model.num_hidden_layers=1', '--config.model.scan_unroll=1']
    script = ['tests/parity/bench_step.py', '--config=configs/tiny.py']
    done = small_run.ended(*script, *sizes, *layers, HF_HUB_OFFLINE='1')
    assert done.returncode == 0, done.stderr
    for side in ('bert_jax', 'transformers', 'masked only'):
        assert re.search(rf'^{side} +[\d.]+ ms a step .* sequences/s$', done.stdout, re.MULTILINE)
    assert len(re.findall(r'^speed of bert_jax / .*: \d', done.stdout, re.MULTILINE)) == 2

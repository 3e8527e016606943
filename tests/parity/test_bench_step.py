"""The comparison of speeds runs from its beginning to its end."""

import os
import re
import subprocess
import sys

import pytest
from small_run import QUICK
from tiny_model import ROOT

pytest.importorskip('torch')
pytest.importorskip('transformers')


@pytest.mark.slow
@pytest.mark.skipif(QUICK, reason='three processes that import PyTorch and compile')
def test_every_side_is_timed_and_compared() -> None:
    sizes = ['--rounds=2', '--batch_size=2', '--max_seq_length=32']
    layers = ['--config.model.num_hidden_layers=1', '--config.model.scan_unroll=1']
    done = subprocess.run(
        [
            *(sys.executable, ROOT / 'tests/parity/bench_step.py'),
            *(f'--config={ROOT}/configs/tiny.py', *sizes, *layers),
        ],
        env=os.environ | {'PYTHONPATH': str(ROOT), 'HF_HUB_OFFLINE': '1'},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for side in ('bert_jax', 'transformers', 'masked only'):
        assert re.search(rf'^{side} +[\d.]+ ms a step .* sequences/s$', done.stdout, re.MULTILINE)
    assert len(re.findall(r'^speed of bert_jax / .*: \d', done.stdout, re.MULTILINE)) == 2

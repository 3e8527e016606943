"""A run whose text and workdir are in a bucket, through the clients that a run has."""

import pathlib
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest
import small_bucket
import small_run
from small_hosts import Hosts

FLAGS = {'train__phases': '((60,32,16,5),)', 'train__checkpoint_every': 5}
BUCKET = {
    'data__corpus': 'text:gs://bucket/text/c*.txt',
    'data__vocab_file': 'gs://bucket/text/vocab.txt',
}


@pytest.mark.slow
@pytest.mark.skipif(small_run.QUICK, reason='six processes; test_hosts has two, and units a bucket')
@pytest.mark.skipif(shutil.which('openssl') is None, reason='makes no certificate without openssl')
def test_a_run_in_a_bucket(tmp_path: pathlib.Path) -> None:
    """A run in a bucket is checked, begun by two processes and ended by one. Its metrics are those
    of a run on this machine."""
    small_run.write_corpus(tmp_path)
    with small_bucket.served(tmp_path) as (bucket, environment):
        for name in ('corpus.txt', 'vocab.txt'):
            bucket.write(f'text/{name}', (tmp_path / name).read_bytes())

        def command(**flags: Any) -> list[str]:
            return small_run.command(tmp_path, 'gs://bucket/run', **FLAGS | BUCKET | flags)

        def run(*more: str) -> str:
            done = subprocess.run(
                [*command(train__num_steps=20), *more],
                env=small_run.environment() | environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout + done.stderr

        assert 'gs://bucket/run: a new run' in run('--check')
        assert not any(name.startswith('run') for name in bucket.objects), 'only looked'
        begun = command(train__num_steps=10)
        hosts = Hosts(tmp_path, tmp_path / 'begun', command=begun, environment=environment)
        assert hosts.wait() == [0, 0], hosts.output()
        assert 'continuing from step 10 ' in run()
        bucket.download(tmp_path / 'bucket')

    there, here = tmp_path / 'bucket' / 'run', tmp_path / 'here'
    code, output = small_run.finish(tmp_path, here, train__num_steps=20, **FLAGS)
    assert code == 0, output
    assert small_run.saved_steps(there) == small_run.saved_steps(here) == [10, 15, 20]
    assert any(there.glob('events.out.tfevents.*'))
    losses = [
        [line['loss'] for line in small_run.numbers(run) if line['split'] == 'train']
        for run in (there, here)
    ]
    assert len(losses[0]) == 20
    np.testing.assert_allclose(*losses, rtol=1e-4)

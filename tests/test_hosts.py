"""Two processes, as two hosts of a pod: one run, one line of checkpoints, the numbers of one."""

import pathlib
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import small_run

FLAGS = {
    'train__phases': '((6000,32,8,5),)',
    'train__checkpoint_every': 3000,
    'eval__max_batches': 2,
}
CODE = """
import sys, jax
address, index = sys.argv.pop(1), int(sys.argv.pop(1))
jax.distributed.initialize(address, num_processes=2, process_id=index)
from bert_jax import main
sys.exit(main.cli(sys.argv))
"""


class Hosts:
    """Two processes that train one workdir, their output in files. more: arguments, PROCESS being
    0 and 1."""

    def __init__(self, folder: pathlib.Path, workdir: pathlib.Path, *more: str, **flags: Any):
        with socket.socket() as probe:
            probe.bind(('localhost', 0))
            address = f'localhost:{probe.getsockname()[1]}'
        arguments = [*small_run.command(folder, workdir, **FLAGS | flags)[3:], *more]
        environment = small_run.environment()
        environment['JAX_COMPILATION_CACHE_DIR'] = str(folder / 'compiled')  # for two processes
        self.logs = [folder / f'{workdir.name}{i}.log' for i in range(2)]
        self.processes = []
        for i, log in enumerate(self.logs):
            with log.open('w') as output:
                own = [argument.replace('PROCESS', str(i)) for argument in arguments]
                command = [sys.executable, '-c', CODE, address, str(i), *own]
                self.processes.append(
                    subprocess.Popen(
                        command, env=environment, cwd=folder, stdout=output, stderr=output
                    )
                )

    def wait(self) -> list[int]:
        """Exit codes; kills what does not end."""
        try:
            return [process.wait(timeout=200) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()

    def output(self) -> str:
        return '\n'.join(log.read_text() for log in self.logs)


@pytest.mark.slow
def test_two_processes_stop_together_go_on_and_give_the_numbers_of_one(
    tmp_path: pathlib.Path,
) -> None:
    small_run.write_corpus(tmp_path)
    workdir = tmp_path / 'two'
    hosts = Hosts(tmp_path, workdir)
    deadline = time.monotonic() + 120
    while len(small_run.metrics(workdir)) < 5 and time.monotonic() < deadline:
        assert all(process.poll() is None for process in hosts.processes), hosts.output()
        time.sleep(0.05)
    hosts.processes[1].send_signal(signal.SIGTERM)  # to one of them only
    assert hosts.wait() == [143, 143], hosts.output()
    (step,) = small_run.saved_steps(workdir)
    last = step + 20
    hosts = Hosts(tmp_path, workdir, train__num_steps=last)
    assert hosts.wait() == [0, 0], hosts.output()
    assert f'going on from step {step}' in hosts.output()

    code, output = small_run.finish(
        tmp_path, tmp_path / 'one', **FLAGS | {'train__num_steps': last}
    )
    assert code == 0, output
    two, one = (small_run.numbers(path) for path in (workdir, tmp_path / 'one'))
    assert [(line['step'], line['split']) for line in two] == [
        (line['step'], line['split']) for line in one
    ]
    for key in ('loss', 'nsp_loss', 'padding_fraction'):
        np.testing.assert_allclose(
            [line[key] for line in two[:20]], [line[key] for line in one[:20]], rtol=1e-4
        )


@pytest.mark.slow
def test_each_process_looks_and_none_waits(tmp_path: pathlib.Path) -> None:
    small_run.write_corpus(tmp_path)
    (tmp_path / 'vocab.txt').rename(tmp_path / 'vocab0.txt')
    vocabulary = '--config.data.vocab_file=vocabPROCESS.txt'
    hosts = Hosts(tmp_path, tmp_path / 'run', '--check', vocabulary)
    assert hosts.wait() == [0, 2], hosts.output()
    first, second = (log.read_text().splitlines() for log in hosts.logs)
    assert '2 x cpu, 2 processes' in first[0] and len(first) == 8
    assert [line.partition(':')[0] for line in second] == ['FAIL  vocabulary  process 1']
    assert 'vocab1.txt does not exist' in second[0] and not (tmp_path / 'run').exists()

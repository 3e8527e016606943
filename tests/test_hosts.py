"""Two processes, as two hosts of a pod: one run, one line of checkpoints, the numbers of one."""

import pathlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import small_run

FLAGS = {
    'train__phases': '((6000,32,16,5),)',
    'train__checkpoint_every': 10,
    'mesh__fsdp': 4,
    'eval__max_batches': 2,
}
DEVICES = 4  # of each process


class Hosts:
    """Two processes that train one workdir, their output in files. more: arguments, PROCESS being
    0 and 1."""

    def __init__(self, folder: pathlib.Path, workdir: pathlib.Path, *more: str, **flags: Any):
        command = [*small_run.command(folder, workdir, **FLAGS | flags), '--distributed', *more]
        environment = small_run.environment() | {
            'XLA_FLAGS': f'--xla_force_host_platform_device_count={DEVICES}',
            'SLURM_JOB_ID': str(free_job()),
            'SLURM_STEP_NODELIST': 'localhost',
            'SLURM_NTASKS': '2',
            'SLURM_LOCALID': '0',
        }
        environment['JAX_COMPILATION_CACHE_DIR'] = str(folder / 'compiled')  # for two processes
        self.logs = [folder / f'{workdir.name}{i}.log' for i in range(2)]
        self.processes = []
        for i, log in enumerate(self.logs):
            with log.open('w') as output:
                self.processes.append(
                    subprocess.Popen(
                        [argument.replace('PROCESS', str(i)) for argument in command],
                        env=environment | {'SLURM_PROCID': str(i)},
                        cwd=folder,
                        stdout=output,
                        stderr=output,
                    )
                )

    def wait(self) -> list[int]:
        """Exit codes; kills what does not end."""
        try:
            return [process.wait(timeout=200) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()

    def wait_for(self, there: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 200
        while not there():
            assert time.monotonic() < deadline, self.output()
            assert all(process.poll() is None for process in self.processes), self.output()
            time.sleep(0.05)

    def output(self) -> str:
        return '\n'.join(log.read_text() for log in self.logs)


def free_job() -> int:
    """A Slurm job's number; its last 12 bits are, for JAX, those of the coordinator's port."""
    for job in range(4096):
        with socket.socket() as probe:
            if probe.connect_ex(('localhost', 61440 + job)):
                return job
    raise RuntimeError('no port is free')


@pytest.mark.slow
def test_two_processes_die_stop_go_on_and_give_the_numbers_of_one(tmp_path: pathlib.Path) -> None:
    """They go on from what one process began; one is killed and the other ends by itself; one gets
    SIGTERM and both save; one process goes on from there. All in all the losses are those of one
    with one device. (In a hurry without the beginning and the kill.)"""
    small_run.write_corpus(tmp_path)
    workdir = tmp_path / 'two'
    saved, alone = 0, FLAGS | {'mesh__fsdp': 1}
    if not small_run.QUICK:
        saved = 3
        code, output = small_run.finish(tmp_path, workdir, **alone | {'train__num_steps': saved})
        assert code == 0, output
        hosts = Hosts(tmp_path, workdir)
        hosts.wait_for(lambda: max(small_run.saved_steps(workdir)) > saved)
        hosts.processes[1].kill()
        began = time.monotonic()
        assert hosts.wait() == [-signal.SIGABRT, -signal.SIGKILL], hosts.output()
        assert time.monotonic() - began < 60
        assert 'another task died' in hosts.output()
        saved = max(small_run.saved_steps(workdir))

    hosts = Hosts(tmp_path, workdir)
    hosts.wait_for(lambda: (small_run.metrics(workdir) or [{'step': 0}])[-1]['step'] > saved + 3)
    hosts.processes[1].send_signal(signal.SIGTERM)  # to one of them only
    assert hosts.wait() == [143, 143], hosts.output()
    assert (f'going on from step {saved} ' in hosts.output()) == (saved > 0)

    step = max(small_run.saved_steps(workdir))
    alone |= {'train__num_steps': step + 10}
    for name in ('two', 'one'):  # on from the two processes' checkpoint, and from the beginning
        code, output = small_run.finish(tmp_path, tmp_path / name, **alone)
        assert code == 0, output
        assert (f'going on from step {step} ' in output) == (name == 'two')
    two, one = (small_run.numbers(tmp_path / name) for name in ('two', 'one'))
    two = [line for line in two if line['split'] == 'train' or line['step'] > saved]  # its end
    assert [(line['step'], line['split']) for line in two] == [
        (line['step'], line['split']) for line in one
    ]
    assert len(two) > step, 'a line for every step'
    for key in ('loss', 'nsp_loss', 'padding_fraction'):
        np.testing.assert_allclose(
            [line[key] for line in two], [line[key] for line in one], rtol=1e-4
        )


@pytest.mark.slow
@pytest.mark.skipif(small_run.QUICK, reason='--check of one process is tested elsewhere')
def test_each_process_looks_and_none_waits(tmp_path: pathlib.Path) -> None:
    small_run.write_corpus(tmp_path)
    (tmp_path / 'vocab.txt').rename(tmp_path / 'vocab0.txt')
    vocabulary = '--config.data.vocab_file=vocabPROCESS.txt'
    hosts = Hosts(tmp_path, tmp_path / 'run', '--check', vocabulary)
    assert hosts.wait() == [0, 2], hosts.output()
    first, second = (log.read_text().splitlines() for log in hosts.logs)
    assert '8 x cpu, 2 processes' in first[0] and len(first) == 8
    assert [line.partition(':')[0] for line in second] == ['FAIL  vocabulary  process 1']
    assert 'vocab1.txt does not exist' in second[0] and not (tmp_path / 'run').exists()

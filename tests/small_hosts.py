"""Two processes on this machine, as two hosts of a pod."""

import pathlib
import random
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

import small_run

FLAGS = {
    'train__phases': '((6000,32,16,5),)',
    'train__checkpoint_every': 10,
    'mesh__fsdp': 8,  # neither process has the whole state
    'eval__max_batches': 2,
}
DEVICES = 4  # of each process


class Hosts:
    """Two processes that train in one workdir and write their output to files.

    more: further arguments, in which PROCESS becomes 0 or 1. command: None is that of `small_run`
    with `flags`. environment: variables beside those of `small_run`.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        workdir: pathlib.Path,
        *more: str,
        command: list[str] | None = None,
        environment: Mapping[str, str] | None = None,
        **flags: Any,
    ):
        command = command or small_run.command(folder, workdir, **FLAGS | flags)
        command = [*command, *more]
        environment = small_run.environment(DEVICES) | dict(environment or {})
        if not any(argument.startswith('--coordinator') for argument in more):
            command.append('--distributed')
            environment |= {
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
        """Returns the exit codes; kills processes that do not end."""
        try:
            return [process.wait(timeout=400) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()

    def wait_for(self, there: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 400
        while not there():
            assert time.monotonic() < deadline, self.output()
            assert all(process.poll() is None for process in self.processes), self.output()
            time.sleep(0.05)

    def output(self) -> str:
        return '\n'.join(log.read_text() for log in self.logs)


def free_job() -> int:
    """Returns the number of a Slurm job whose last 12 bits give JAX a free coordinator's port."""
    for job in random.sample(range(4096), 4096):  # beside other tests'
        with socket.socket() as probe:
            if probe.connect_ex(('localhost', 61440 + job)):
                return job
    raise RuntimeError('no port is free')

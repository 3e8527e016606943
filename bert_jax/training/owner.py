"""A description of the process that trains in a workdir, by which others find out if it runs."""

import contextlib
import dataclasses
import datetime
import os
import pathlib
import secrets
import socket
import time


@dataclasses.dataclass(frozen=True)
class Owner:
    """The process that trains in a workdir.

    machine: identifies the running system and the container in which `pid` and `born` are valid.
    born: the time at which the process began, in the unit of /proc. since: the same time as a date.
    token: a random text that identifies this owner. touched: the time in seconds at which the file
    was written last. workdir: its path on that machine; '' if it is behind a URL.
    """

    host: str
    machine: str
    pid: int
    born: str
    since: str
    token: str
    touched: float = 0.0
    workdir: str = ''

    def __str__(self) -> str:
        return f'process {self.pid} on host {self.host}, since {self.since}'


def myself() -> Owner:
    """The description of this process."""
    now = datetime.datetime.now(datetime.UTC).strftime('%Y-%m-%d %H:%M UTC')
    host, pid = socket.gethostname(), os.getpid()
    token = secrets.token_hex(8)
    return Owner(host, machine(), pid, born(pid), now, token, time.time())


def machine() -> str:
    """Returns a text that identifies the running system and the container of this process."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip())
        parts.append(os.readlink('/proc/self/ns/pid'))
    return ' '.join(parts)


def born(pid: int) -> str:
    """Returns when the process began, in the unit of /proc; '' if the system has no /proc.

    Raises ProcessLookupError if there is no such process.
    """
    try:
        text = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        os.kill(pid, 0)
        return ''
    state, *values = text.rpartition(')')[2].split()
    if state in ('Z', 'X'):  # it has ended, and its parent has not asked for its exit code yet
        raise ProcessLookupError(pid)
    return values[18]

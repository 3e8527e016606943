"""The file running.json of a workdir, which says which process is training there.

A second process that starts in the workdir is refused, because two runs would overwrite each
other's files. The file works on any storage, also where the operating system has no locks: the
process that is training touches it every few seconds, and removes it at the end.

A file whose process has ended without removing it is stale, and the next start replaces it. On the
machine of that process, its process number shows whether it still runs. On another machine, the
file is stale if it is not touched for SILENT seconds.
"""

import contextlib
import dataclasses
import datetime
import json
import logging
import os
import pathlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
from etils import epath

from bert_jax.config.errors import first_line
from bert_jax.config.files import is_remote
from bert_jax.parallel.mesh import of_process_0

LOG = logging.getLogger('bert_jax.training.running')
FILE = 'running.json'
BEAT, SILENT = 10.0, 45.0  # seconds between touches; seconds without a touch until a file is stale
SETTLE = 2.0  # seconds until a file in an object store shows which of two processes wrote it last
MESSAGE = 1200  # bytes of a message of process 0 to the other processes of a run


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


def myself(workdir: str = '') -> Owner:
    """This process as the owner of `workdir`."""
    now = datetime.datetime.now(datetime.UTC).strftime('%Y-%m-%d %H:%M UTC')
    host, pid, token = socket.gethostname(), os.getpid(), secrets.token_hex(8)
    return Owner(host, machine(), pid, born(pid), now, token, time.time(), workdir)


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


def _read(path: epath.Path) -> Owner | None:
    """The owner of a workdir; None if it has none, or if the file is not one of this module."""
    try:
        return Owner(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _touched(path: epath.Path) -> str:
    """Returns a text that changes with each touch of the file."""
    with contextlib.suppress(OSError):
        return f'{path.read_text()} {0 if is_remote(path) else os.stat(path).st_mtime}'
    return ''


_STALE: dict[str, str] = {}  # files of other machines that were found stale: their last touch


def _is_alive(owner: Owner, path: epath.Path) -> bool:
    """Returns whether the owner of a workdir still runs. If it is on another machine, this may take
    SILENT seconds, but only once in a process for the same file."""
    if owner.machine == machine():
        if os.path.isdir(owner.workdir) and not os.path.samefile(owner.workdir, path.parent):
            return False  # the workdir is a copy of that of the process
        try:
            return born(owner.pid) == owner.born
        except ProcessLookupError:
            return False
        except PermissionError:  # the process of another user
            return True
    before = _touched(path)
    if _STALE.get(str(path)) == before:
        return False
    message = '%s was used by %s; waiting up to %.0f seconds to see if it still runs'
    LOG.warning(message, path.parent, owner, SILENT)
    end = time.monotonic() + SILENT
    while time.monotonic() < end:
        time.sleep(min(1.0, BEAT / 4))
        if _touched(path) != before:
            return path.exists()
    _STALE[str(path)] = before
    return False


def refuse_second(workdir: epath.PathLike) -> Owner | None:
    """Raises ValueError if another process trains in the workdir. Returns the owner of a stale
    file."""
    path = epath.Path(workdir) / FILE
    owner = _read(path)
    if owner is None or ((held := _HELD.get(str(path))) and held.owner.token == owner.token):
        return None
    if _is_alive(owner, path):
        raise ValueError(
            f'{workdir} is in use: another run is training there ({owner}). Wait until it ends, or '
            f'use another --workdir. If you know that this process has ended, remove {path}'
        )
    return owner


def _remove(path: pathlib.Path, stale: Owner) -> None:
    """Removes the file of a stale owner. Of several processes one does so, which has made a folder,
    so that none removes the file that another one has just created."""
    claim = path.with_name(f'.{path.name}.{stale.token}')
    with contextlib.suppress(OSError):
        if time.time() - claim.stat().st_mtime > SILENT:
            claim.rmdir()  # left by a process that was killed
    with contextlib.suppress(FileExistsError):
        claim.mkdir()
        try:
            if (found := _read(epath.Path(path))) and found.token == stale.token:
                path.unlink()
        finally:
            claim.rmdir()


class _Hold:
    """This process as the owner of a workdir, and the thread that touches its file."""

    def __init__(self, path: epath.Path):
        self.path, self.lost_to = path, ''
        self.owner = myself('' if is_remote(path) else os.path.realpath(path.parent))
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def begin(self) -> None:
        """Writes the file. Raises ValueError if another run has it, or if it cannot be written."""
        try:
            self._begin()
        except ValueError:
            raise
        except Exception as error:  # each file system raises errors of its own types
            raise ValueError(
                f'--workdir={self.path.parent} cannot be written to ({first_line(error)})'
            ) from error

    def _begin(self) -> None:
        if (stale := refuse_second(self.path.parent)) is not None:
            LOG.warning('%s was left by %s, which has ended', self.path, stale)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if _read(self.path) is None and self.path.exists():
            time.sleep(0.5)  # another process may be writing it
            if _read(self.path) is None:
                self.path.unlink()  # it is damaged
        if is_remote(self.path):
            self.path.write_text(self._text())
            time.sleep(SETTLE)
        else:
            self._create(stale)
        if (other := _read(self.path)) is None or other.token != self.owner.token:
            raise ValueError(
                f'{self.path.parent} is in use: another run began there at the same time ({other})'
            )
        self._thread.start()

    def _create(self, stale: Owner | None) -> None:
        """Creates the file. If another process does so at the same time, only one succeeds."""
        path = pathlib.Path(self.path)
        own = path.with_name(f'.{path.name}.{self.owner.token}')
        if stale is not None:
            _remove(path, stale)
        own.write_text(self._text())
        try:
            with contextlib.suppress(FileExistsError):
                os.link(own, path)  # so that nobody reads a file that is only half written
        except OSError:  # a file system without hard links
            with contextlib.suppress(FileExistsError), path.open('x') as file:
                file.write(self._text())
        own.unlink(missing_ok=True)

    def _text(self) -> str:
        owner = dataclasses.replace(self.owner, touched=time.time())
        return json.dumps(dataclasses.asdict(owner), indent=2) + '\n'

    def _beat(self) -> None:
        while not self._end.wait(BEAT):
            # A disk that is full or cannot be reached now is reported when the run saves.
            with contextlib.suppress(Exception):
                self._touch()

    def _touch(self) -> None:
        other = _read(self.path)
        if other is None and not self.path.exists():
            self.lost_to = 'its file was removed'
        elif other is not None and other.token != self.owner.token:
            self.lost_to = f'another run has taken over ({other})'
        elif is_remote(self.path):
            self.path.write_text(self._text())
        else:
            os.utime(self.path)

    def release(self) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(BEAT)
        with contextlib.suppress(Exception):  # a file that stays on a broken disk becomes stale
            found = _read(self.path)
            if found is not None and found.token == self.owner.token:
                self.path.unlink()


_HELD: dict[str, _Hold] = {}


def check(workdir: epath.PathLike) -> None:
    """Raises ValueError if this process trained in the workdir and has lost it."""
    held = _HELD.get(str(epath.Path(workdir) / FILE))
    if held is not None and held.lost_to:
        raise ValueError(
            f'{workdir} does not belong to this run any more: {held.lost_to}. Look at the folder, '
            'and run the same command again'
        )


@contextlib.contextmanager
def alone_in(workdir: epath.PathLike) -> Iterator[None]:
    """Keeps all other runs out of a workdir during a block. The processes of one run share it.

    Process 0 holds the file. All processes raise ValueError if another run holds it or if the
    workdir cannot be written to.
    """
    path = epath.Path(workdir) / FILE
    if str(path) in _HELD:
        yield
        return
    hold = _Hold(path)
    by_process_0(hold.begin)
    _HELD[str(path)] = hold
    try:
        yield
    finally:
        _HELD.pop(str(path), None)
        if jax.process_index() == 0:
            hold.release()


def by_process_0(action: Callable[[], object]) -> None:
    """Calls `action` in process 0. If it raises ValueError, all processes of the run raise it."""
    problem = ''
    if jax.process_index() == 0:
        try:
            action()
        except ValueError as error:
            problem = str(error)
    padded = np.frombuffer(problem.encode()[:MESSAGE].ljust(MESSAGE), np.uint8)
    if problem := bytes(of_process_0(padded)).decode('utf-8', 'replace').strip():
        raise ValueError(problem)

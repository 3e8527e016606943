"""Paths that are URLs, and files and folders that are written completely or not at all."""

import contextlib
import fcntl
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import IO, Any

from bert_jax.config import disk

PARTIAL = '.partial'
# The file with the kind and the options of the vocabulary in a folder. A vocabulary whose file
# names determine its kind does not need it.
MARKER = 'vocabulary.json'


def is_remote(path: Any) -> bool:
    """Returns whether the path is a URL."""
    return '://' in str(path)


def write_atomically(path: Any, text: str) -> None:
    """Writes `text` to `path` (pathlib.Path or epath.Path). A crash never leaves half a file."""
    partial = path.with_name(f'{path.name}.tmp')
    with disk.explained(path, lambda: 'the file is as it was before'):
        partial.write_text(text)
        partial.replace(path)


def partial_path(output: pathlib.Path) -> pathlib.Path:
    """The path of a file while it is written row by row."""
    return output.with_name(output.name + PARTIAL)


@contextlib.contextmanager
def sole_writer(output: pathlib.Path) -> Iterator[None]:
    """Keeps other processes from writing the file --output during a block.

    This process holds a lock on `partial_path(output)`, a file that the block may write. If it is
    empty after the block, it is removed. File systems without locks keep no other process out.
    Raises ValueError if another process has the lock, and if `output` exists.
    """
    partial = partial_path(output)
    with disk.explained(output, lambda: 'nothing was written'):
        file = partial.open('ab')
    with file:
        if not _locked(file, partial):
            raise ValueError(
                f'--output={output} is being written by another process; wait until it ends, or '
                'choose another file'
            )
        try:
            if output.exists():
                raise ValueError(f'--output={output} exists; remove it or choose another')
            yield
        finally:
            with contextlib.suppress(OSError):
                if _is_at(file, partial) and not partial.stat().st_size:
                    partial.unlink()


def _locked(file: IO[Any], path: pathlib.Path) -> bool:
    """Locks the file, and returns whether it was not locked before and is still at the path."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return True
    return _is_at(file, path)


def _is_at(file: IO[Any], path: pathlib.Path) -> bool:
    """Returns whether the open file is still at the path: it may have been renamed."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def atomic_output(output: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path beside `output` for a file or a folder that the block writes.

    After the block, the path is renamed to `output`. If the block raises, the path is removed.
    Errors of the disk become DiskError.
    """
    partial = output.with_name(f'.{output.name}.tmp-{os.getpid()}')
    try:
        with disk.explained(output, lambda: 'nothing of it is kept'):
            yield partial
            partial.rename(output)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)

"""Folders that several processes need and that one of them builds, completely or not at all."""

import glob
import pathlib
import shutil
from collections.abc import Callable

import filelock

from bert_jax.config import disk
from bert_jax.config.console import say
from bert_jax.config.files import atomic_output

Writer = Callable[[pathlib.Path], None]


def build_once(output: pathlib.Path, write: Writer, doing: str, done: Callable[[], bool]) -> bool:
    """Builds the folder `output` with `write` unless it is `done`; returns whether it was built.

    One process builds and the others wait. doing: what the building process does, for the message
    of those that wait.
    """
    if done():  # before anything is written, because the folder may be read-only
        return False
    with disk.explained(output, lambda: 'nothing was written'):
        return _build(output, write, doing, done)


def _build(output: pathlib.Path, write: Writer, doing: str, done: Callable[[], bool]) -> bool:
    lock = filelock.FileLock(output.parent / f'.{output.name}.lock')
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        held = lock.acquire(blocking=False)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(
            f'{output.parent} cannot be created, because it or a folder above it is a file or a '
            'broken link; choose another folder'
        ) from error
    except PermissionError as error:
        raise ValueError(
            f'{error.filename} cannot be written to ({error.strerror}); it may belong to another '
            'user. Choose another folder (for a cache, config.data.cache_dir)'
        ) from error
    except filelock.Timeout:
        say(f'another process is {doing}; waiting for it')
        held = lock.acquire()  # a killed process loses its lock
    with held:
        if done():
            return False
        # This process has the lock, so partial folders are those of killed processes.
        for path in output.parent.glob(f'.{glob.escape(output.name)}.tmp-*'):
            shutil.rmtree(path, ignore_errors=True)
        with atomic_output(output) as partial:
            partial.mkdir()
            write(partial)
    return True

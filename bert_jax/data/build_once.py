"""Folders that several processes need and one of them builds, completely or not at all."""

import os
import pathlib
import shutil
from collections.abc import Callable

import filelock

from bert_jax.data import progress


def build_once(
    output: pathlib.Path,
    write: Callable[[pathlib.Path], None],
    doing: str,
    done: Callable[[], bool],
) -> bool:
    """Builds the folder `output` with `write` unless it is `done`; returns whether it did.

    One process builds and the others wait. What a killed process leaves behind is never used.
    doing: what the building process does, for the message of those that wait.
    """
    if done():  # before anything is written, because the folder may be read-only
        return False
    output.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(output.parent / f'.{output.name}.lock')
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        progress.say(f'another process is {doing}; waiting for it')
        lock.acquire()  # a killed process loses its lock
    try:
        if done():
            return False
        prefix = f'.{output.name}.tmp-'
        for path in output.parent.iterdir():
            if path.name.startswith(prefix):  # of a killed process, as this one has the lock
                shutil.rmtree(path, ignore_errors=True)
        partial = output.parent / f'{prefix}{os.getpid()}'
        partial.mkdir()
        try:
            write(partial)
            partial.rename(output)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    finally:
        lock.release()
    return True

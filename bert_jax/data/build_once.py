"""Folders that several processes want and one of them makes: whole, or not at all."""

import fcntl
import os
import pathlib
import shutil
from collections.abc import Callable

from bert_jax.data import progress


def build_once(
    output: pathlib.Path,
    write: Callable[[pathlib.Path], None],
    doing: str,
    done: Callable[[], bool],
) -> bool:
    """Makes the folder `output` with `write`, unless it is `done`; returns whether it did.

    One process at a time, the others wait. What a killed one has left is never taken for whole.
    """
    if done():  # also where nothing can be written
        return False
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(output.parent / f'.{output.name}.lock', 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say(f'another process is {doing}; waiting for it')
            fcntl.flock(lock, fcntl.LOCK_EX)  # a killed process loses its lock
        if done():
            return False
        prefix = f'.{output.name}.tmp-'
        for path in output.parent.iterdir():
            if path.name.startswith(prefix):  # of a killed process: we hold the lock
                shutil.rmtree(path, ignore_errors=True)
        partial = output.parent / f'{prefix}{os.getpid()}'
        partial.mkdir()
        try:
            write(partial)
            partial.rename(output)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return True

"""Errors of disks and file systems, in plain words."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from typing import Any

# Why a disk cannot be used. EACCES and ENOENT are not in it: they may be about any other file.
REASONS = {
    errno.ENOSPC: 'no space is left',
    errno.EDQUOT: 'the quota is used up',
    errno.EROFS: 'the file system is read-only',
    errno.EIO: 'the disk reports an error (input/output error)',
    errno.ESTALE: 'the network file system has lost the folder (stale file handle)',
    errno.ENOTCONN: 'the network file system is not connected',
}


class DiskError(ValueError):
    """An error of a disk that `explained` has explained."""


FULL = {errno.ENOSPC, errno.EDQUOT}
# The words of libraries that do not raise an OSError.
WORDS = {os.strerror(number): number for number in REASONS} | {'quota exceeded': errno.EDQUOT}


def number_of(error: BaseException) -> int | None:
    """The errno, one of REASONS, of an error of a disk; None for another error. Libraries may have
    put it into the text of their errors, or may have raised an error of their own while they
    handled it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in REASONS:
            return cause.errno
        found = [number for words, number in WORDS.items() if words in str(cause)]
        if found:
            return found[0]
        cause = cause.__cause__ or cause.__context__
    return None


@contextlib.contextmanager
def explained(path: Any, kept: Callable[[], str], hint: str = '') -> Iterator[None]:
    """Turns an error of the disk of `path` into a DiskError of one line.

    kept: says what is safe on the disk. hint: what may be lowered so that less is written.
    """
    try:
        yield
    except DiskError:
        raise
    except Exception as error:
        number = number_of(error)
        if number is None:
            raise
        remedy = f'Make room{hint}' if number in FULL else f'Look at the disk{hint}'
        try:
            safe = kept()
        except Exception:  # the disk may not be readable either
            safe = 'what is there cannot be read now'
        raise DiskError(
            f'{REASONS[number]} for {path}; {safe}. {remedy}, and run the same command again'
        ) from error

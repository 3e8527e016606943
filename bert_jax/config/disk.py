"""Errors of disks and file systems, in plain words."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from typing import Any

# errno -> why a disk cannot be used. EACCES and ENOENT are not here, because they often have causes
# other than the disk.
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
# Words in the messages of libraries that do not raise an OSError -> errno.
WORDS = {os.strerror(number): number for number in REASONS} | {'quota exceeded': errno.EDQUOT}


def number_of(error: BaseException) -> int | None:
    """Returns the errno of an error of a disk, a key of REASONS; None for another error.

    Libraries may put the error of the disk into the text of their own errors, or raise an error of
    their own while they handle it. So this looks at all errors that led to `error`.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in REASONS:
            return cause.errno
        found = [number for words, number in WORDS.items() if words in str(cause)]
        if found:
            return found[0]
        cause = cause.__cause__ or cause.__context__
    return None


def remedy(number: int, hint: str = '') -> str:
    """Returns the advice for an error of a disk. number: its errno. hint: more advice."""
    action = 'Make room' if number in FULL else 'Check the disk'
    return f'{action}{hint}, and run the same command again'


def explanation(
    error: BaseException, path: Any, kept: Callable[[], str], hint: str = ''
) -> DiskError | None:
    """Returns the error that `explained` raises; None if `error` is no error of a disk."""
    number = number_of(error)
    if number is None:
        return None
    try:
        safe = kept()
    except Exception:  # the disk may not be readable either
        safe = 'the files there cannot be read now'
    return DiskError(f'{REASONS[number]} for {path}; {safe}. {remedy(number, hint)}')


@contextlib.contextmanager
def explained(path: Any, kept: Callable[[], str], hint: str = '') -> Iterator[None]:
    """Turns an error of the disk of `path` into a DiskError of one line.

    kept: returns a text that says what is saved on the disk. hint: more advice, for example how to
    write less.
    """
    try:
        yield
    except DiskError:
        raise
    except Exception as error:
        if (explained_error := explanation(error, path, kept, hint)) is None:
            raise
        raise explained_error from error

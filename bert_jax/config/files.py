"""Paths that are URLs, and files and folders that are written completely or not at all."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from bert_jax.config import disk


def is_remote(path: Any) -> bool:
    """Returns whether the path is a URL."""
    return '://' in str(path)


def write_atomically(path: Any, text: str) -> None:
    """Writes `text` to `path` (pathlib.Path or epath.Path). A crash never leaves half a file."""
    partial = path.with_name(f'{path.name}.tmp')
    with disk.explained(path, lambda: 'the file is as it was before'):
        partial.write_text(text)
        partial.replace(path)


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

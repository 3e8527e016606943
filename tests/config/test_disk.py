"""Errors of disks: one line that says why, what is safe and what to do."""

import errno
import os
import pathlib

import pytest

from bert_jax.config import command_line, disk
from bert_jax.config.build_once import build_once
from bert_jax.config.files import atomic_output, write_atomically


def failing(number: int, wrapped: str = '') -> None:
    """Raises the error of a disk, or that of a library that has met it."""
    error = OSError(number, os.strerror(number))
    if wrapped == 'cause':
        raise RuntimeError('the write failed') from error
    if wrapped == 'text':
        raise RuntimeError(f'INTERNAL: Error writing "a/b": {os.strerror(number)} [x.cc:3]')
    if wrapped == 'handled':
        try:
            raise error
        except OSError:
            raise OSError('handle is closed')  # noqa: B904
    raise error


@pytest.mark.parametrize('number', sorted(disk.REASONS))
@pytest.mark.parametrize('wrapped', ['', 'cause', 'text', 'handled'])
def test_each_error_is_one_line(number: int, wrapped: str) -> None:
    with pytest.raises(disk.DiskError) as caught, disk.explained('runs/a', lambda: 'all is safe'):
        failing(number, wrapped)
    line = str(caught.value)
    assert line.startswith(f'{disk.REASONS[number]} for runs/a; all is safe. ')
    assert line.endswith(', and run the same command again')
    assert ('Make room' in line) == (number in (errno.ENOSPC, errno.EDQUOT))
    assert command_line._outcome(caught.value) == (2, line)
    code, line = command_line._outcome(OSError(number, os.strerror(number)))
    if number in command_line.DISK_ERRORS:
        assert (code, line) == (2, f'{disk.REASONS[number]} for the output. {disk.remedy(number)}')
    else:  # the same command may succeed later
        assert code == 1


def test_other_errors_are_left_alone() -> None:
    for error in (ValueError('a'), PermissionError(errno.EACCES, 'x', 'f'), KeyError('b')):
        with pytest.raises(type(error)) as caught, disk.explained('f', lambda: ''):
            raise error
        assert caught.value is error


def test_only_the_innermost_place_is_named() -> None:
    with (
        pytest.raises(disk.DiskError, match='for inside; a'),
        disk.explained('outside', lambda: 'b'),
        disk.explained('inside', lambda: 'a'),
    ):
        failing(errno.EDQUOT)


def test_what_is_safe_cannot_be_asked_either() -> None:
    with (
        pytest.raises(disk.DiskError, match='cannot be read now'),
        disk.explained('a', lambda: failing(errno.ESTALE) or ''),
    ):
        failing(errno.ESTALE)


def test_files_and_folders_are_left_as_they_were(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / 'file'
    file.write_text('before')
    with (
        pytest.raises(disk.DiskError, match=r'for .*file; nothing of it is kept'),
        atomic_output(file),
    ):
        failing(errno.ENOSPC)
    store = tmp_path / 'store'
    with pytest.raises(disk.DiskError, match=r'for .*store; nothing'):
        build_once(store, lambda _: failing(errno.ENOSPC), 'building', store.exists)
    for below in (file / 'a', file / 'a' / 'b'):
        with pytest.raises(ValueError, match='cannot be created, because it or a folder above'):
            build_once(below, lambda _: None, 'building', below.exists)
    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, 'mkdir', lambda *_, **__: failing(errno.EACCES))
        with pytest.raises(ValueError, match='it may belong to another user'):
            build_once(store, lambda _: None, 'building', store.exists)
    monkeypatch.setattr(pathlib.Path, 'write_text', lambda *_: failing(errno.ENOSPC))
    with pytest.raises(disk.DiskError, match=r'for .*file; the file is as it was before'):
        write_atomically(file, 'after')
    assert file.read_text() == 'before' and not store.exists()

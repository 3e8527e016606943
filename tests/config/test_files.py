"""Files that are written completely or not at all."""

import errno
import fcntl
import pathlib

import pytest

from bert_jax.config.files import atomic_output, partial_path, sole_writer, write_atomically


def test_a_file_is_replaced_at_once(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'results.json'
    write_atomically(path, 'old')
    with monkeypatch.context() as patch, pytest.raises(OSError, match='killed'):
        patch.setattr(pathlib.Path, 'replace', lambda *_: (_ for _ in ()).throw(OSError('killed')))
        write_atomically(path, 'new')
    assert path.read_text() == 'old'
    write_atomically(path, 'new')
    assert path.read_text() == 'new'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('folder', [True, False])
def test_an_output_appears_when_it_is_whole(tmp_path: pathlib.Path, folder: bool) -> None:
    def write(path: pathlib.Path) -> None:
        if folder:
            path.mkdir()
        (path / 'file' if folder else path).write_text('text')
        assert not output.exists()

    output = tmp_path / 'output'
    with pytest.raises(ValueError, match='half'), atomic_output(output) as partial:
        write(partial)
        raise ValueError('half')
    assert not list(tmp_path.iterdir())
    with atomic_output(output) as partial:
        write(partial)
    assert list(tmp_path.iterdir()) == [output]


def test_an_output_has_one_writer(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each open file has its own lock, so this process can act like two processes."""
    output = tmp_path / 'out.csv'
    partial = partial_path(output)
    with sole_writer(output):
        with pytest.raises(ValueError, match='written by another process'), sole_writer(output):
            pass
        assert partial.exists(), 'the first writer still has it'
    assert not partial.exists() and not capsys.readouterr().err
    with pytest.raises(KeyError), sole_writer(output):
        partial.write_text('a row')
        raise KeyError
    with sole_writer(output):
        assert partial.read_text() == 'a row'
        other = partial.open('ab')  # by a process that comes too late, just before the end
        partial.replace(output)
    with other, monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, 'open', lambda *_: other)
        with pytest.raises(ValueError, match='written by another process'), sole_writer(output):
            pass
    with pytest.raises(ValueError, match='exists'), sole_writer(output):
        pass
    assert output.read_text() == 'a row' and list(tmp_path.iterdir()) == [output]

    def without_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', without_locks)
    with sole_writer(tmp_path / 'b'), sole_writer(tmp_path / 'b'):
        pass
    assert list(tmp_path.iterdir()) == [output]

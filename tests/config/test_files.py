"""Files that are written completely or not at all."""

import pathlib

import pytest

from bert_jax.config.files import atomic_output, write_atomically


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

"""Names of the Hugging Face Hub in place of folders."""

import pathlib
import sys
from typing import Any

import huggingface_hub
import pytest

from bert_jax import predict
from bert_jax.config import Config
from bert_jax.convert import __main__ as convert
from bert_jax.convert import hub
from bert_jax.preflight import resolve


def downloads(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[tuple[str, Any]]:
    """Replaces the download; returns the list of (name, revision) that were asked for."""
    asked = []

    def download(name: str, revision: Any = None, **patterns: Any) -> str:
        assert {*patterns} <= {'allow_patterns', 'ignore_patterns'}
        asked.append((name, revision))
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr(huggingface_hub, 'snapshot_download', download)
    return asked


def test_every_command_takes_a_name(
    theirs: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    asked = downloads(monkeypatch, theirs)
    convert.FLAGS.unparse_flags()
    arguments = ['convert', '--from=hf', '--input=org/some-bert@v1.0']
    assert convert.main([*arguments, f'--output={tmp_path}/ours']) == 0
    started = resolve.with_converted_start(Config(init_from='org/some-bert'))
    assert predict.load('bert-base-uncased').config.hidden_size == 12
    assert started.init_from.startswith(str(tmp_path / 'cache'))
    names = ['org/some-bert', 'org/some-bert', 'bert-base-uncased']
    assert asked == list(zip(names, ['v1.0', None, None], strict=True))
    assert 'org/some-bert is a Hugging Face checkpoint; converted' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('google-bert/bert-base-uncased', True),
        ('bert-base-uncased', True),
        ('org/model@main', True),
        ('runs', False),
        ('./runs/a', False),
        ('/runs/a', False),
        ('gs://runs/a', False),
        ('runs/a/checkpoints/2', False),
        ('here/mistyped', False),  # the folder `here` exists
        ('here', False),
    ],
)
def test_names(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    pathlib.Path('here').mkdir()
    assert hub.is_name(name) == expected
    if not expected:
        assert hub.local_folder(name) is None


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        (ConnectionError, r'^org/m is not a folder, and .*cannot be reached .*hf download org/m'),
        ('RepositoryNotFoundError', 'has no model org/m that you may read'),
        ('GatedRepoError', 'needs your consent: accept its terms'),
        ('RevisionNotFoundError', 'has no such revision'),
    ],
)
def test_what_went_wrong_is_said(monkeypatch: pytest.MonkeyPatch, kind: Any, message: str) -> None:
    kind = type(kind, (Exception,), {}) if isinstance(kind, str) else kind
    downloads(monkeypatch, kind('no network'))
    with pytest.raises(ValueError, match=message) as error:
        hub.local_folder('org/m')
    assert '\n' not in str(error.value)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(ValueError, match=r'org/m is not a folder.*pip install bert_jax\[hf\]'):
        hub.local_folder('org/m')


def test_pickles_are_downloaded_if_there_is_nothing_else(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = downloads(monkeypatch, tmp_path)
    hub.local_folder('org/m')
    assert len(asked) == 2
    (tmp_path / 'model.safetensors').touch()
    hub.local_folder('org/m')
    assert len(asked) == 3

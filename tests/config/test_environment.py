"""The environment variables that commands set for libraries, and the compilation cache."""

import os
import pathlib
import subprocess
import sys

import pytest
from small_run import QUICK
from tiny_model import ROOT

from bert_jax.config import environment

COMPILED = environment.COMPILED
# Compiles a function in a command, as a command does.
CODE = """
import sys
from bert_jax.config import command_line
def main(argv):
    import jax
    print(float(jax.jit(lambda x: x * 2 + 1)(1.0)))
    return 0
sys.exit(command_line.run('name', main, sys.argv))
"""


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    """An environment without the variables of the tests; the folder of its cache."""
    names = (COMPILED, environment.ENABLED, *environment.QUIET, *environment.WITHOUT_TPU)
    for name in names:  # setenv first, so that monkeypatch restores what the tests have
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    return tmp_path / 'bert_jax' / 'xla'


@pytest.mark.parametrize('tpu', [True, False])
def test_defaults(clean: pathlib.Path, monkeypatch: pytest.MonkeyPatch, tpu: bool) -> None:
    """Without a TPU, libtpu does not look for one. With a TPU, its variables are not set."""
    monkeypatch.setattr(environment, 'has_tpu', lambda: tpu)
    environment.prepare('name')
    assert {name: os.environ[name] for name in environment.QUIET} == environment.QUIET
    assert any(name in os.environ for name in environment.WITHOUT_TPU) != tpu
    assert os.environ[COMPILED] == str(clean) and clean.is_dir()


def test_what_the_user_has_set_stays(clean: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TF_CPP_MIN_LOG_LEVEL', '0')
    monkeypatch.setenv(COMPILED, '')  # switches the cache off
    environment.prepare('name')
    assert (os.environ['TF_CPP_MIN_LOG_LEVEL'], os.environ[COMPILED]) == ('0', '')
    assert not clean.exists()


def test_the_switch_of_jax(clean: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.ENABLED, 'false')
    environment.prepare('name')
    assert COMPILED not in os.environ and not clean.exists()


def test_a_cache_that_cannot_be_written(
    clean: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean.parent.write_text('a file where the folder would be')
    environment.prepare('name')
    said = capsys.readouterr().err
    assert said.startswith('name: no cache for compiled programs') and said.count('\n') == 1
    assert str(clean) in said and COMPILED not in os.environ


def compiled(folder: pathlib.Path, **variables: str) -> subprocess.CompletedProcess:
    """Runs a command that compiles a function, with a cache below `folder`."""
    values = {name: value for name, value in os.environ.items() if name != COMPILED}
    values |= {'PYTHONPATH': str(ROOT), 'XDG_CACHE_HOME': str(folder)}
    values |= {'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0'} | variables
    done = subprocess.run(
        [sys.executable, '-c', CODE], env=values, capture_output=True, check=True, timeout=120
    )
    assert done.stdout == b'3.0\n'
    return done


@pytest.mark.skipif(QUICK, reason='three processes that compile')
def test_a_damaged_entry_is_one_line(tmp_path: pathlib.Path) -> None:
    """A process that is killed while it writes leaves such an entry."""
    assert compiled(tmp_path).stderr == b''
    entries = list((tmp_path / 'bert_jax' / 'xla').glob('*-cache'))
    assert entries
    for entry in entries:
        entry.write_bytes(entry.read_bytes()[:-20])
    said = compiled(tmp_path).stderr.decode()
    lines = said.splitlines()
    assert len(lines) == len(entries), said
    assert all(line.startswith('name: warning: Error reading persistent') for line in lines), said
    assert all(f'rm -r {tmp_path}' in line for line in lines)


def test_the_cache_is_off(tmp_path: pathlib.Path) -> None:
    compiled(tmp_path, **{COMPILED: ''})
    assert list(tmp_path.iterdir()) == []

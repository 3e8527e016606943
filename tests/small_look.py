"""A configuration without mistakes, in the current folder, and the lines of --check for it."""

import pathlib
from typing import Any

import pytest
import small_run
from etils import epath

from bert_jax.config import Config, default, from_dict
from bert_jax.preflight import checks

VALUES = small_run.FLAGS | {
    'model.vocab_size': 21,  # as vocab.txt has
    'data.corpus': 'text:corpus.txt',
    'data.vocab_file': 'vocab.txt',
    'data.cache_dir': 'cache',
    'train.phases': ((20, 16, 8, 2), (4, 32, 8, 4)),
}


def changed(changes: dict[str, Any]) -> Config:
    """changes: values by keys, as 'train.seed'."""
    values = default()
    values.update_from_flattened_dict(VALUES | changes)
    return from_dict(values.to_dict())


def look(
    capsys: pytest.CaptureFixture[str], config: Config | None = None, workdir: str = 'run'
) -> dict[str, str]:
    """The line of each check. Asserts that no file is left behind and that the exit code fits."""
    before = _files()
    config = config or changed({})
    code = checks.check(config, epath.Path(workdir))
    found = {line.split()[1]: line for line in capsys.readouterr().out.splitlines()}
    assert _files() == before, 'files are left behind'
    assert list(found) == checks.order(config)
    assert code == (2 if any(line.startswith('FAIL') for line in found.values()) else 0)
    return found


def _files() -> dict[pathlib.Path, float]:
    return {path: path.is_file() and path.stat().st_mtime for path in pathlib.Path().rglob('*')}

"""Folders for the tests of conversion."""

import pathlib

import pytest
from folders import make

from bert_jax.convert.folders import convert_out


@pytest.fixture(scope='session')
def ours(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make(tmp_path_factory.mktemp('ours') / 'all')


@pytest.fixture
def theirs(tmp_path: pathlib.Path, ours: pathlib.Path) -> pathlib.Path:
    """A new folder in the format of transformers, which a test may change."""
    convert_out('hf', ours, tmp_path / 'theirs')
    return tmp_path / 'theirs'

"""Prepared stores of real text."""

import functools
import gzip
import pathlib

import pytest

from bert_jax.config import Config, DataConfig
from bert_jax.data import prepare


@pytest.fixture(scope='session')
def real_text(shared_data, tmp_path_factory):
    """Stores of real text by name, made when asked for: whole articles, or openings of articles."""

    @functools.cache
    def make(
        name: str, count: int, vocab: str = 'vocab/bert-base-uncased/vocab.txt'
    ) -> pathlib.Path:
        folder = tmp_path_factory.mktemp(name)
        with gzip.open(shared_data(f'corpora/wikipedia_{name}_en.txt.gz'), 'rt') as file:
            documents = file.read().split('\n\n')[:count]
        (folder / 'text.txt').write_text('\n\n'.join(documents))
        vocabulary = str(shared_data(vocab))
        data = DataConfig(
            corpus=f'text:{folder / "text.txt"}', vocab_file=vocabulary, cache_dir=str(folder)
        )
        return prepare.prepare(Config(data=data))

    return make

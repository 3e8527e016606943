"""Prepared stores of real text."""

import functools
import gzip
import pathlib

import pytest
from small_run import QUICK

from bert_jax.config import Config, DataConfig, ModelConfig
from bert_jax.data.store import preparation
from bert_jax.data.summary import Summary
from bert_jax.data.text import builtin


@pytest.fixture(scope='session')
def real_text(shared_data, tmp_path_factory):
    """Stores of real text by name, made when asked for: whole articles, or openings of articles."""

    @functools.cache
    def make(
        name: str,
        count: int,
        vocab: str = 'vocab/bert-base-uncased/vocab.txt',
        holdout: float = 0.02,
    ) -> pathlib.Path:
        folder = tmp_path_factory.mktemp(name)
        with gzip.open(shared_data(f'corpora/wikipedia_{name}_en.txt.gz'), 'rt') as file:
            documents = file.read().split('\n\n')[:count]
        (folder / 'text.txt').write_text('\n\n'.join(documents))
        vocabulary = str(shared_data(vocab))
        data = DataConfig(
            corpus=f'text:{folder / "text.txt"}',
            vocab_file=vocabulary,
            cache_dir=str(folder),
            holdout=holdout,
        )
        return preparation.prepare(Config(data=data))

    return make


@pytest.fixture(scope='session')
def prose(real_text, tmp_path_factory) -> pathlib.Path:
    """A store of some articles; where there are none, of what Python's manual says."""
    try:
        return real_text('articles', 25, holdout=0.2)
    except pytest.skip.Exception:
        folder = tmp_path_factory.mktemp('manual')
        documents = [d for d in builtin.prose(Summary()) if len(d) > 3]
        (folder / 'text.txt').write_text('\n\n'.join(map('\n'.join, documents[:150])))
        data = DataConfig(corpus=f'text:{folder / "text.txt"}', cache_dir=str(folder), holdout=0.2)
        return preparation.prepare(Config(data=data, model=ModelConfig(vocab_size=1500)))


@pytest.fixture(params=['prose'] if QUICK else ['made', 'prose'])
def corpus(request) -> pathlib.Path:
    """The store that a test's module makes, and real text."""
    return request.getfixturevalue(request.param)

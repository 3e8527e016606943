"""Training of every kind of vocabulary."""

import importlib.util
import json
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from bert_jax.config import choices
from bert_jax.data.tokenizers import tokenizer, word_bpe

CODE = """
import hashlib, json, sys, pydoc_data.topics as t
from bert_jax.data.tokenizers import tokenizer
texts = [line for topic in sorted(t.topics) for line in t.topics[topic].split('\\n')][:1500]
found = {}
for kind in json.loads(sys.argv[1]):
    for lowercase in (True, False):
        files = tokenizer.train(texts, 900, lowercase, kind).files
        found[f'{kind} {lowercase}'] = {n: hashlib.sha256(x).hexdigest() for n, x in files.items()}
print(json.dumps(found))
"""


def can_train(kind):
    """Returns whether the packages are installed that a kind needs."""
    return kind not in word_bpe.KINDS or bool(importlib.util.find_spec('sacremoses'))


@pytest.fixture(params=tokenizer.TRAINERS)
def kind(request):
    if not can_train(request.param):
        pytest.skip('sacremoses is not installed')
    return request.param


def test_the_configuration_names_every_kind():
    assert set(choices('data.tokenizer')) == set(tokenizer.TRAINERS) <= set(tokenizer.KINDS)


@pytest.mark.slow
def test_training_is_the_same_in_every_process():
    kinds = [kind for kind in tokenizer.TRAINERS if can_train(kind)]
    command = [sys.executable, '-c', CODE, json.dumps(kinds)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(3)]
    found = [json.loads(run.stdout) for run in runs]
    assert found[0] == found[1] == found[2]
    assert len({json.dumps(files) for files in found[0].values()}) == 2 * len(kinds)


def test_a_trained_vocabulary_travels_as_files(kind, tmp_path):
    texts = ['The quick brown foxes jump over the lazy dogs, naïve or not, 20 times.'] * 50
    for strip_accents in (None, kind == 'xlm_bpe'):
        trained = tokenizer.train(texts, 320, True, kind, strip_accents=strip_accents)
        folder = tmp_path / str(strip_accents)
        folder.mkdir()
        trained.save(folder)
        loaded = tokenizer.load(folder)
        assert loaded.kind == trained.kind == kind
        assert loaded.pieces == trained.pieces and loaded.specials == trained.specials
        texts = [*texts, 'The NAÏVE Café', '\u0e01\u0e34']
        assert loaded.encode_batch(texts) == trained.encode_batch(texts)
        [ids] = loaded.encode_batch(['the lazy dogs'])
        assert loaded.decode(ids).strip() == 'the lazy dogs'
        assert loaded.word_starts(np.array(ids)).sum() == 3


@pytest.mark.parametrize(
    'kind',
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in ('wordpiece', 'byte_bpe')))
        for name in tokenizer.TRAINERS
    ],
    indirect=True,
)
def test_time_does_not_grow_with_the_square_of_a_word(kind):
    """Ten times the length takes about ten times as long, not a hundred times."""
    size = 20_000 if kind == 'sentencepiece' else 60_000
    word = ''.join(random.Random(0).choices('abcdefghij', k=10 * size))

    def seconds(text):
        start = time.process_time()
        tokenizer.train([text], 1000, True, kind)
        return time.process_time() - start

    assert seconds(word) < 30 * seconds(word[:size]) + 1

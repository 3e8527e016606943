"""Models in Python and on the command line, for every kind of task, with random parameters."""

import pathlib
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fine_tuned import KINDS, LABELS
from tiny_model import ROOT

import bert_jax
from bert_jax.finetuning.datasets import PROCESSORS
from bert_jax.finetuning.model import Model

TEXTS = {
    'texts': ['a film', 'it was good and the plot was bad'],
    'sentence': 'anna went, it was good.',
}


@pytest.fixture(scope='module')
def models(folders: dict[str, pathlib.Path]) -> dict[str, Model]:
    return {name: bert_jax.load(folder) for name, folder in folders.items()}


def test_every_task_head_is_here() -> None:
    assert {head for heads, *_ in KINDS.values() for head in heads} >= PROCESSORS.keys()


def test_importing_the_package_is_cheap() -> None:
    code = (
        'import sys, bert_jax; bert_jax.load; sys.exit({"jax", "numpy"} & {*sys.modules} != set())'
    )
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, timeout=60)


def test_repr_describes_the_model(
    folders: dict[str, pathlib.Path], models: dict[str, Model]
) -> None:
    shown = repr(models['texts'])
    for part in ('bert', '2 layers of 32', 'classifier', 'bad, fine, good', str(folders['texts'])):
        assert part in shown, shown
    assert re.search(r'[\d,]+ parameters', shown)


def test_labels(models: dict[str, Model]) -> None:
    bert = models['texts']
    found = bert.classify(TEXTS['texts'])
    scores = bert.classify(TEXTS['texts'], all_labels=True)
    assert [next(iter(s.items())) for s in scores] == found and found[0] != found[1]
    logits = bert(TEXTS['texts'])['logits']
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose([[s[n] for n in LABELS] for s in scores], expected, rtol=1e-4)
    one = bert.classify(TEXTS['texts'][1])
    assert one[0] == found[1][0] and one[1] == pytest.approx(found[1][1], rel=1e-5)
    assert bert.classify([]) == []
    pairs = models['pairs'].classify([('a film', 'it was good'), ('it was good', 'a film')])
    assert pairs[0] != pairs[1]
    assert models['pairs'].classify(('a film', 'it was good')) == pytest.approx(pairs[0])


def test_long_texts_are_counted(models: dict[str, Model]) -> None:
    models['texts'].classify(['good ' * 40])
    assert 'texts of more than 16 tokens, cut' in models['texts'].counted.lines()


def test_numbers(models: dict[str, Model]) -> None:
    values = models['numbers'].regress(TEXTS['texts'])
    expected = models['numbers'](TEXTS['texts'])['logits'][:, 0]
    np.testing.assert_allclose(values, expected, rtol=1e-4)
    assert models['numbers'].regress(TEXTS['texts'][0]) == pytest.approx(values[0], rel=1e-4)


@pytest.mark.parametrize('kind', ['tags', 'parts of speech'])
def test_words(models: dict[str, Model], kind: str) -> None:
    found = models[kind].tag(TEXTS['sentence'])
    words = ['anna', 'went', ',', 'it', 'was', 'good', '.']
    assert [word for word, *_ in found] == words
    assert {tag for _, tag, _ in found} <= {*models[kind].labels}
    assert all(1 / 3 <= share <= 1 for *_, share in found)
    assert models[kind].tag([words, TEXTS['sentence']]) == [found, found]


def test_answers(models: dict[str, Model]) -> None:
    bert, context = models['questions'], 'the plot was good . anna went'
    answer, share = bert.answer('who went ?', context)
    assert answer in context and 0 < share <= 1
    both = bert.answer(['who went ?', 'who was it ?'], context)
    assert both[0] == (answer, pytest.approx(share)) and len(both) == 2
    assert models['questions without answers'].answer('who ?', context)[1] <= 1


def test_one_text_or_several(models: dict[str, Model]) -> None:
    bert = models['pretrained']
    ((first, *_),) = bert.fill_mask('the [MASK]')
    assert bert.fill_mask(['the [MASK]'])[0][0][0] == first
    vectors = bert.embed(['a film', 'the plot'])
    assert vectors.shape == (2, 32) and vectors.dtype == np.float32
    np.testing.assert_allclose(bert.embed('the plot'), vectors[1], atol=1e-6)
    assert bert.embed([]).shape == (0, 32)
    np.testing.assert_array_equal(list(bert.embed_stream(['a film', 'the plot'])), vectors)


@pytest.mark.parametrize(
    ('kind', 'call', 'message'),
    [
        ('pretrained', lambda bert: bert.classify('a'), 'with this model; use fill_mask: <'),
        ('numbers', lambda bert: bert.classify('a'), 'classify does not .*; use regress: <'),
        ('texts', lambda bert: bert.regress('a'), 'regress does not .*; use classify: <'),
        ('questions', lambda bert: bert.tag('a'), 'tag does not .*; use answer: <'),
        ('tags', lambda bert: bert.answer('a', 'b'), 'answer does not .*; use tag: <'),
        ('translations', lambda bert: bert.tag('a'), 'tag does not .*; use generate: <'),
        ('texts', lambda bert: bert.configure_search(2), 'num_beams does not .* this model: <'),
        ('texts', lambda bert: bert.classify(None), 'a text or a list of texts, not None'),
        ('tags', lambda bert: bert.tag([None]), 'a text or a list of texts, not None'),
        ('questions', lambda bert: bert.answer('a', None), 'a list of texts, not None'),
        ('questions', lambda bert: bert.answer('a', [None]), 'context is None; expected a string'),
        ('pretrained', lambda bert: bert.fill_mask(None), 'a list of texts, not None'),
        ('pretrained', lambda bert: bert.embed(None), 'a list of texts, not None'),
        ('pretrained', lambda bert: bert(None), 'a list of texts, not None'),
        ('texts', lambda bert: bert.fill_mask('[MASK]'), 'no masked-LM head'),
        ('pretrained', lambda bert: bert.fill_mask('the plot'), r"no \[MASK\] in 'the plot'"),
        ('texts', lambda bert: bert.classify([('a', 'b')]), 'trained on single texts'),
        ('pairs', lambda bert: bert.classify('a'), 'trained on pairs'),
        ('texts', lambda bert: bert.classify([3]), 'text 0 is 3'),
        ('pairs', lambda bert: bert.classify([('a', 'b', 'c')]), "text 0 is .*'c'"),
        ('tags', lambda bert: bert.tag(['a', ' ']), 'text 1 has no words'),
        ('questions', lambda bert: bert.answer(['a', 'b'], ['c']), 'questions: 2, contexts: 1;'),
        ('questions', lambda bert: bert.answer('a', ' '), 'text of question 0 is empty'),
    ],
)
def test_what_is_wrong_is_named(
    models: dict[str, Model], kind: str, call: Callable[[Model], Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call(models[kind])

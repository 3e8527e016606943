"""The lines of Python in the README of inference."""

import pathlib
import re
from typing import Any

import numpy as np
import pytest
import small_tasks
from tiny_model import ROOT

import bert_jax

README = ROOT / 'bert_jax' / 'inference' / 'README.md'
TWO = (('pooler', 'classifier'), ('negative', 'positive'))
# heading -> heads, labels and facts of a model for its lines; None: a pretrained model
MODELS: dict[str, Any] = {
    'Masked words': None,
    'Embeddings': None,
    'Labels': (*TWO, {'pairs': False}),
    'Labels of pairs': (*TWO, {'pairs': True}),
    'Numbers': (('pooler', 'classifier'), (), {'pairs': False}),
    'Tags': (('tagger',), ('O', 'B-PER'), {}),
    'Answers': (('span',), (), {}),
    'Texts for texts': (('masked_lm', 'decoder'), (), {}),
    'Outputs of the model': None,
}


def lines() -> dict[str, list[str]]:
    """The lines of code below each heading of 'In Python'."""
    section = README.read_text().partition('\n## In Python\n')[2].partition('\n## ')[0]
    parts = re.split(r'^### (.*)$', section, flags=re.MULTILINE)
    return {
        heading: re.findall(r'^    (.*)$', text, re.MULTILINE)
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_every_heading_is_run() -> None:
    assert lines().keys() == MODELS.keys()


@pytest.mark.parametrize('heading', MODELS)
def test_three_lines(tmp_path: pathlib.Path, heading: str) -> None:
    model, code = MODELS[heading], lines()[heading]
    if model is None:
        folder = small_tasks.pretrained_folder(tmp_path / 'model')
    else:
        heads, labels, facts = model
        folder = small_tasks.fine_tuned_folder(tmp_path / 'model', heads, labels, **facts)
    names = {'bert_jax': bert_jax, 'DIR': folder, 'lines': ['a film', 'the plot']}
    names |= {'ids': np.ones((1, 4), int), 'mask': np.ones((1, 4), int)}
    names['types'] = np.zeros((1, 4), int)
    assert len(code) == 3
    for line in code:
        exec(line, names)

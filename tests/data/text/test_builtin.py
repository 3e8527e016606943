import hashlib
import os
import re
import subprocess
import sys

import pytest
from small_run import QUICK

from bert_jax.data.summary import Summary
from bert_jax.data.text import builtin


def read():
    summary = Summary()
    return list(builtin.prose(summary)), summary


def digest(documents):
    return hashlib.sha256(repr(documents).encode()).hexdigest()


@pytest.mark.slow
def test_it_is_prose_and_enough_of_it_and_the_same_in_another_process():
    code = 'import test_builtin; print(test_builtin.digest(test_builtin.read()[0]))'
    documents, summary = read()
    if not QUICK:
        folder = os.path.dirname(__file__)
        other = subprocess.run(
            [sys.executable, '-c', code],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {'PYTHONPATH': os.pathsep.join([folder, *sys.path])},
        )
        assert other.stdout.strip() == digest(documents)
    paragraphs = [paragraph for document in documents for paragraph in document]
    assert sum(map(len, paragraphs)) > 1_000_000
    assert sum(len(document) > 1 for document in documents) > 500
    assert len(set(paragraphs)) == len(paragraphs)
    assert sum(summary.counts.values()) == len(documents)
    text = '\n'.join(paragraphs)
    assert not re.search(r'^\s*(>>>|\.\. |:param|@)', text, re.MULTILINE)
    words = re.findall(r'[a-z]+', text.lower())
    share = sum(word in {'the', 'of', 'a', 'to', 'is', 'and', 'in'} for word in words) / len(words)
    assert 0.15 < share < 0.3  # as in English
    assert sum(paragraph[-1] in '.!?' for paragraph in paragraphs) == len(paragraphs)


def test_markup_goes_and_words_stay():
    prose = builtin._paragraph(
        'See :class:`~a.b.Thing` and ``code`` for\nthe whole `story <x.y>`__ of it.'
    )
    assert prose == 'See a.b.Thing and code for the whole story <x.y> of it.'
    for block in (
        '>>> print(1)\n1',
        'Args:\n  x: the first one of all of them there.',
        '==== ====\na b c d e f g.',
        'A heading of this text',
        '.. note:: this is a note for the reader of it.',
        'x = [1, 2, 3]; y = {4: 5}; z = x[0] + y[4] ** 2 - f(3, 4).',
    ):
        assert builtin._paragraph(block) == ''

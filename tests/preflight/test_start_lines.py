"""The lines about the data that a pretraining run prints when it starts."""

import pytest

from bert_jax.config import DataConfig
from bert_jax.data.store.format import Counts
from bert_jax.preflight import store_lines

CORPUS = DataConfig(corpus='text:books', holdout=0.02)
NOISY = 'is noisy: raise config.data.holdout (0.02), or name a text to evaluate on'


@pytest.mark.parametrize(
    ('counts', 'data', 'line'),
    [
        (Counts(10, 900, 5000), CORPUS, '10 documents, 900 sentences, 5,000 tokens'),
        (
            Counts(1, 1, 900),
            CORPUS,
            f'1 document, 1 sentence, 900 tokens. The loss of so few documents {NOISY} '
            '(config.data.eval_corpus)',
        ),
        (Counts(10, 20, 4999), CORPUS, f'10 documents, 20 sentences, 4,999 tokens. The loss of so '
         f'little text {NOISY} (config.data.eval_corpus)'),
        (
            Counts(2, 9, 99),
            DataConfig(corpus='text:books', eval_corpus='text:more'),
            '2 documents, 9 sentences, 99 tokens. The loss of so few documents is noisy: name a '
            'text to evaluate on (config.data.eval_corpus)',
        ),
        (
            Counts(2, 9, 99),
            DataConfig(corpus='tokens:books'),
            '2 documents, 9 sentences, 99 tokens. The loss of so few documents is noisy: prepare '
            'the text again with a larger --holdout, or with --eval_corpus',
        ),
    ],
)  # fmt: skip
def test_few_held_out_documents(counts: Counts, data: DataConfig, line: str) -> None:
    assert store_lines.held_out(counts, data) == line


def test_the_size_of_the_table_is_named_if_it_differs() -> None:
    assert store_lines.vocabulary(2048, 2048) == '2,048 tokens'
    assert store_lines.vocabulary(2045, 2048) == '2,045 tokens (a table of 2,048 rows)'

import itertools

import numpy as np
import pytest

from bert_jax.config import DataConfig
from bert_jax.data.summary import Summary
from bert_jax.data.text import sentences
from bert_jax.data.tokenizers import tokenizer

PIECES = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', 'b', '##c', '.', 'x', '##x']
VOCABULARY = tokenizer.WordPiece(PIECES, lowercase=True)


def run(documents, **options):
    summary = Summary()
    found = list(sentences.tokenized(documents, DataConfig(**options), VOCABULARY, summary))
    return [[ids.tolist() for ids in document] for _, document in found], summary.lines()


def test_prose_is_split_and_lines_are_not():
    documents = [['A bc. B a.', 'A.'], ['bc']]
    split, _ = run(documents)
    assert split == [[[5, 6, 7, 8], [6, 5, 8], [5, 8]], [[6, 7]]]
    whole, _ = run(documents, sentences='line')
    assert whole == [[[5, 6, 7, 8, 6, 5, 8], [5, 8]], [[6, 7]]]


def test_the_splitter_knows_abbreviations():
    text = 'Dr. Smith lives in the U.S. with e.g. two cats. He paid $3.50. Did he? Yes!'
    found = list(sentences._sentences([text], DataConfig(), Summary()))
    assert found == [
        'Dr. Smith lives in the U.S. with e.g. two cats.',
        'He paid $3.50.',
        'Did he?',
        'Yes!',
    ]


def test_what_is_empty_or_alone_is_counted():
    documents = [[], ['\u200b'], ['a'], ['a. b.'], ['a', '\x07', 'b']]
    found, summary = run(documents, sentences='line')
    assert found == [[[5]], [[5, 8, 6, 8]], [[5], [6]]]
    assert summary == {
        'empty documents, left out': 2,
        "sentences without a token, left out (first: '\\u200b')": 2,
        "documents of one sentence (first: 'a')": 2,
    }


def test_batches_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    documents = [
        [' '.join(rng.choice(['a', 'bc', 'b.', 'x'], 30)) for _ in range(rng.integers(0, 5))]
        for _ in range(100)
    ]
    expected = run(documents)
    assert sum(map(len, expected[0])) > 100
    for size in (1, 100, 999):
        monkeypatch.setattr(sentences, 'BATCH_CHARS', size)
        assert run(documents) == expected


def test_long_sentences_are_cut_not_lost():
    found, summary = run([[' '.join(['a'] * 600 + ['b'] * 600)]], sentences='line')
    assert [len(ids) for ids in found[0]] == [512, 512, 176]
    assert list(itertools.chain.from_iterable(found[0])) == [5] * 600 + [6] * 600
    assert summary["sentences over 512 tokens, cut (first: '" + 'a ' * 30 + "')"] == 1


def test_long_lines_are_cut_between_words(monkeypatch):
    monkeypatch.setattr(sentences, 'MAX_LINE', 50)
    text = 'bc bc bc ' * 30
    parts = list(sentences._parts(text.strip()))
    assert max(map(len, parts)) <= 50 and ' '.join(parts) == text.strip()
    assert ''.join(sentences._parts('x' * 120)) == 'x' * 120
    found, summary = run([[text.strip(), 'a']], sentences='line')
    assert list(itertools.chain.from_iterable(found[0])) == [6, 7] * 90 + [5]
    assert summary["lines over 50 characters, cut (first: '" + repr(text[:60])[1:] + ')'] == 1


def test_a_language_that_is_none():
    with pytest.raises(
        ValueError, match=r"config\.data\.language is 'English'; expected an ISO 639"
    ):
        sentences.check_language(DataConfig(language='English'))
    assert run([['Il est né. Oui.']], language='fr')[0]


@pytest.mark.slow
@pytest.mark.parametrize('word', ['bc ', 'x'])
def test_a_line_of_ten_megabytes(word):
    """A long line of any kind is split in seconds, and every word is kept."""
    count = 10_000_000 // len(word)
    found, summary = run([[(word * count).strip()]])
    text = VOCABULARY.encode_batch([word])[0] if word != 'x' else []
    tokens = sum(map(len, found[0]))
    if word == 'x':  # a word of 10 MB is no word
        assert tokens == -(-count // sentences.MAX_LINE)
    else:
        assert tokens == count * len(text)
    assert any(key.startswith('lines over') for key in summary)


# Moses' rules for French split full stops at the end of a text only.
@pytest.mark.parametrize('kind', [kind for kind in tokenizer.TRAINERS if kind != 'flaubert_bpe'])
def test_the_tokens_of_sentences_are_those_of_their_line(kind):
    """A token of a byte-level vocabulary may hold the space between two sentences."""
    text = 'Le chat dort. Le chien court.  Le chat court.'
    vocabulary = tokenizer.train([text] * 50, 330, True, kind)
    documents = iter([[text, text], ['你好。我很好。 再见。']])
    (_, latin), _ = sentences.tokenized(documents, DataConfig(), vocabulary, Summary())
    assert len(latin) == 6
    whole = vocabulary.encode_batch(['Le chat dort. Le chien court. Le chat court.'])[0]
    assert np.concatenate(latin).tolist() == 2 * whole
    starts = vocabulary.word_starts(np.concatenate(latin[:3]))
    assert starts[np.cumsum([0, *map(len, latin[:2])])].all()
    found = list(
        sentences._sentences(['你好。我很好。 再见。'], DataConfig(language='zh'), Summary(), ' ')
    )
    assert found == ['你好。', '我很好。', ' 再见。']

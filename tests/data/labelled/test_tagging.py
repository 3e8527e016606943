import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.data.labelled import conll, tagging
from bert_jax.data.labelled.sentence import Sentence
from bert_jax.data.labelled.tags import label_names
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers import tokenizer

PIECES = [*tokenizer.SPECIALS, 'a', 'b', 'c', '##a', '##b', '##c']
VOCABULARY = tokenizer.WordPiece(PIECES, lowercase=True)
NAMES = ['O', 'B-x', 'I-x']
DROPPED = '\u200b'


def windows(sentences, names=NAMES, vocabulary=VOCABULARY, **options):
    return tagging.windows(sentences, vocabulary, names, **{'max_seq_length': 128} | options)


def windows_and_counts(sentences, **options):
    summary = Summary()
    return windows(sentences, summary=summary, **options), summary.lines()


def sentence(words, tags=None, where='f:1'):
    return Sentence(words.split(' '), tags.split() if tags else None, where)


def text(row):
    return ' '.join(PIECES[i] for i in row.input_ids)


def test_a_label_stands_on_the_first_piece_of_its_word():
    sentences = [sentence(f'abc {DROPPED} c d', 'B-x I-x I-x O'), sentence('a', 'O')]
    found, counts = windows_and_counts(sentences)
    assert list(map(text, found.rows)) == ['[CLS] a ##b ##c c [UNK] [SEP]', '[CLS] a [SEP]']
    assert [x.tolist() for x in found.labels] == [[-1, 1, -1, -1, 2, 0, -1], [-1, 0, -1]]
    assert [x.tolist() for x in found.words] == [[-1, 0, -1, -1, 2, 3, -1], [-1, 0, -1]]
    assert found.sentences.tolist() == [0, 1]
    assert {x.dtype for x in (*found.labels, *found.words, found.sentences)} == {np.dtype('int32')}
    assert found.rows[0].token_type_ids == [0] * 7
    dropped = f'words that the tokenizer drops, tagged O (first: f:1 {DROPPED!r})'
    assert counts == {dropped: 1}


def test_words_without_tags_have_no_labels_but_places():
    found = windows([sentence('ab c')])
    assert [x.tolist() for x in found.labels] == [[-1] * 5]
    assert [x.tolist() for x in found.words] == [[-1, 0, -1, 1, -1]]


def test_windows_overlap_by_half_and_share_the_words():
    sentences = [sentence(' '.join('abcabcab'), ' '.join(['O'] * 8))]
    found, counts = windows_and_counts(sentences, max_seq_length=6)
    assert list(map(text, found.rows)) == [
        '[CLS] a b c a [SEP]',
        '[CLS] c a b c [SEP]',
        '[CLS] b c a b [SEP]',
    ]
    shares = [words[words >= 0].tolist() for words in found.words]
    assert shares == [[0, 1, 2], [3, 4], [5, 6, 7]]
    assert [(labels >= 0).sum() for labels in found.labels] == [3, 2, 3]
    assert counts == {'sentences in several windows (first: f:1)': 1}


def test_a_word_longer_than_a_window_is_cut_and_counted():
    sentences = [sentence('a abcabc b', 'O B-x O')]
    found, counts = windows_and_counts(sentences, max_seq_length=5)
    assert list(map(text, found.rows)) == [
        '[CLS] a [SEP]',
        '[CLS] a ##b ##c [SEP]',
        '[CLS] b [SEP]',
    ]
    assert counts == {
        "words cut to fit (first: f:1 'abcabc')": 1,
        'sentences in several windows (first: f:1)': 1,
    }


def test_sentences_without_a_piece_have_no_row_and_their_tags():
    sentences = [sentence(DROPPED, 'B-x'), sentence('a', 'B-x'), sentence(f'{DROPPED} {DROPPED}')]
    found = windows(sentences)
    assert found.sentences.tolist() == [1]
    assert tagging.decode(sentences, found, [np.array([0, 1, 0])]) == [['O'], ['B-x'], ['O', 'O']]
    assert tagging.decode(sentences[:1], windows(sentences[:1]), []) == [['O']]


def test_unknown_tags_are_an_error_or_scored_as_wrong():
    sentences = [sentence('a b', 'O B-z', 'dev.conll:7')]
    with pytest.raises(
        ValueError, match=r"dev\.conll:7 'b' has the tag 'B-z'; .* O, B-x, I-x. Corr"
    ):
        windows(sentences)
    found, counts = windows_and_counts(sentences, allow_unknown=True)
    assert found.labels[0].tolist() == [-1, 0, -1, -1]
    assert tagging.decode(sentences, found, [np.array([0, 0, 2, 0])]) == [['O', 'I-x']]
    name = "words with the unknown tag 'B-z', scored as wrong (first: dev.conll:7 'b')"
    assert counts == {name: 1}


WORDS = st.text('abcd', min_size=1, max_size=9) | st.just(DROPPED)
SENTENCES = st.lists(st.lists(st.tuples(WORDS, st.sampled_from(NAMES)), max_size=40), max_size=4)


@given(SENTENCES, st.integers(3, 12))
def test_every_word_has_one_tag_where_it_stands_best(made, longest):
    sentences = [
        Sentence([w for w, _ in words], [t for _, t in words], f'f:{i}')
        for i, words in enumerate(made)
    ]
    found = windows(sentences, max_seq_length=longest)
    assert all(len(row.input_ids) <= longest for row in found.rows)
    owned = [
        (int(s), int(w))
        for s, words in zip(found.sentences, found.words, strict=True)
        for w in words[words >= 0]
    ]
    readable = [
        (i, j) for i, s in enumerate(sentences) for j, w in enumerate(s.words) if w != DROPPED
    ]
    assert sorted(owned) == readable
    for row, words in zip(found.rows, found.words, strict=True):
        assert not any(VOCABULARY.is_continuation[np.array(row.input_ids)[words >= 0]])
    outputs = [np.pad(np.maximum(x, 0), (0, 3)) for x in found.labels]
    expected = [['O' if w == DROPPED else t for w, t in words] for words in made]
    assert tagging.decode(sentences, found, outputs) == expected


def test_a_word_is_tagged_where_it_has_the_most_context():
    words = [sentence(' '.join('abc' * 15))]
    found = windows(words, max_seq_length=14)
    seen = [x[1:-1][x[1:-1] >= 0][0] - np.argmax(x[1:-1] >= 0) for x in found.words]
    spans = [(int(s), int(s) + len(x) - 2) for s, x in zip(seen, found.words, strict=True)]
    context = [
        [
            min(word - a if a else 99, b - 1 - word if b < 45 else 99) if a <= word < b else -1
            for a, b in spans
        ]
        for word in range(45)
    ]
    chosen = {int(w): row for row, x in enumerate(found.words) for w in x[x >= 0]}
    assert [context[word][chosen[word]] for word in range(45)] == [max(c) for c in context]


@pytest.mark.parametrize('cased', [True, False])
@pytest.mark.parametrize('longest', [10, pytest.param(128, marks=pytest.mark.slow)])
def test_tags_of_wnut17_survive(shared_data, cased, longest):
    name = 'cased' if cased else 'uncased'
    vocabulary = tokenizer.load(shared_data(f'vocab/bert-base-{name}'), lowercase=not cased)
    sentences = conll.read(shared_data('ner/wnut17/dev.conll'))
    names = label_names(conll.read(shared_data('ner/wnut17/train.conll')))
    summary = Summary()
    found = windows(sentences, names, vocabulary, max_seq_length=longest, summary=summary)
    assert max(len(row.input_ids) for row in found.rows) <= longest
    for s, row, words in list(zip(found.sentences, found.rows, found.words, strict=True))[::50]:
        for word, token in zip(words[words >= 0], np.flatnonzero(words >= 0), strict=True):
            one = vocabulary.encode_batch([sentences[s].words[word]])[0]
            assert row.input_ids[token : token + len(one)] == one[: longest - 2]
    decoded = tagging.decode(sentences, found, [np.maximum(x, 0) for x in found.labels])
    dropped = sum(v for k, v in summary.counts.items() if 'drops' in k)
    wrong = sum(
        a != b
        for s, tags in zip(sentences, decoded, strict=True)
        for a, b in zip(s.tags, tags, strict=True)
    )
    assert wrong <= dropped < 20

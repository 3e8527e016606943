import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from squad_questions import VOCABULARY, make, question

from bert_jax.data.summary import Summary

CONTEXT = 'The café was in  Kraków, not in Paris (1980s).'


def covered(questions, windows, i):
    """The characters that window i's labels stand for."""
    asked = questions[windows.question[i]]
    at = windows.contexts.begin[windows.context[windows.question[i]]] - windows.shift[i]
    start = windows.contexts.starts[at + windows.labels['start_positions'][i]]
    return asked.context[start : windows.contexts.ends[at + windows.labels['end_positions'][i]]]


def numbers(count):
    return ' '.join(map(str, range(count)))


def test_windows_move_over_the_context():
    asked = question(numbers(20), [('10 11', numbers(20).index('10 11'))])
    made = make([asked], max_seq_length=15, doc_stride=3)  # room for 8
    assert made.begin.tolist() == [0, 3, 6, 9, 12] and made.end.tolist() == [8, 11, 14, 17, 20]
    cls, sep = VOCABULARY.specials.cls, VOCABULARY.specials.sep
    [query, context] = VOCABULARY.encode_batch([asked.question, asked.context])
    for i, row in enumerate(made):
        assert row.input_ids == [cls, *query, sep, *context[3 * i : 3 * i + 8], sep]
        assert row.token_type_ids == [0] * 6 + [1] * 9
        assert len(row.input_ids) == made.lengths[i] == 15
    # The second window ends between 10 and 11; the third has 10 as the fifth token of its piece,
    # which begins at place 6 of the row.
    assert made.labels['start_positions'].tolist() == [0, 0, 10, 7, 0]
    assert made.labels['end_positions'].tolist() == [0, 0, 11, 8, 0]
    assert {array.dtype for array in (made.begin, made.labels['start_positions'])} == {
        np.dtype(np.int32)
    }


def test_no_token_is_lost_where_the_stride_is_longer_than_the_window():
    made = make([question(numbers(20))], max_seq_length=15, doc_stride=100)
    assert made.begin.tolist() == [0, 8, 16] and made.end.tolist() == [8, 16, 20]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 90), st.integers(1, 12), st.integers(12, 40))
def test_each_token_has_most_context_in_one_window(count, stride, longest):
    made = make(
        [question('x'), question(numbers(count)), question('y')],
        max_seq_length=longest,
        doc_stride=stride,
    )
    members = np.flatnonzero(made.question == 1)
    for token in range(count):
        having = [w for w in members if made.begin[w] <= token < made.end[w]]
        scores = [
            100 * min(token - made.begin[w], made.end[w] - 1 - token) + made.end[w] - made.begin[w]
            for w in having
        ]
        best = having[int(np.argmax(scores))]
        assert [w for w in members if made.best_begin[w] <= token < made.best_end[w]] == [best]
    assert made.end[members[-1]] == count and len(made) == len(members) + 2


def test_answers_become_the_fewest_tokens_that_cover_them():
    context = CONTEXT
    texts = ['Kraków', 'in  Kraków', 'café', ' Paris ', 'Kraków,', '198', '(1980s)']
    asked = [question(context, [(t, context.index(t))], name=t) for t in texts]
    summary = Summary()
    made = make(asked, summary=summary)
    found = [covered(asked, made, i) for i in range(len(asked))]
    assert found == ['Kraków', 'in  Kraków', 'café', 'Paris', 'Kraków,', '1980s', '(1980s)']
    name = 'answers that begin or end inside a token (first: a.json: 198)'
    counts = {k: v for k, v in summary.lines().items() if v}
    assert counts == {name: 1, 'windows': 7}
    assert len(made.contexts.begin) == 2  # of one context


def test_what_training_leaves_out():
    asked = [
        question('x y z', [('Rome', -1)], name='unknown'),
        question('x y z', [('Rome', -1), ('y', 2)], name='second'),
        question('x y z', is_impossible=True, name='impossible'),
        question('x \u200b y', [('\u200b', 2)], name='no token'),
        question(numbers(60), [(numbers(60), 0)], name='long'),
    ]
    summary = Summary()
    made = make(asked, training=True, summary=summary, doc_stride=40)
    assert made.question.tolist() == [1, 2, 4, 4]
    assert (
        made.labels['start_positions'].tolist()
        == [7, 0, 0, 0]
        == made.labels['end_positions'].tolist()
    )
    counts = {k: v for k, v in summary.lines().items() if v}
    assert counts == {
        'answers without a token (first: a.json: no token)': 1,
        'questions without a known answer, left out (first: a.json: unknown)': 2,
        'answers that are whole in no window (first: a.json: long)': 1,
        'windows': 4,
    }
    assert set(make(asked).question.tolist()) == {0, 1, 2, 3, 4}


def test_windows_that_do_not_overlap_are_counted():
    summary = Summary()
    make([question(numbers(60)), question('x y')], doc_stride=60, summary=summary)
    name = 'questions whose windows do not overlap (doc_stride is too large)'
    assert summary.counts[name] == 1


def test_long_questions_are_cut_and_counted():
    summary = Summary()
    made = make([question('x', text='was ' * 9)], summary=summary)
    assert len(next(iter(made)).input_ids) == 8 + 1 + 3
    assert summary.counts['questions cut to max_query_length'] == 1
    with pytest.raises(ValueError, match=r'max_seq_length is 10, .* at least 12: room for'):
        make([question('x')], max_seq_length=10)

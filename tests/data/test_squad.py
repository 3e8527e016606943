import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_jax import host_metrics
from bert_jax.data import squad, squad_answers, squad_windows, tokenizer
from bert_jax.data.readers import Summary
from bert_jax.data.squad import Question

CONTEXT = 'The café was in  Kraków, not in Paris (1980s).'
FILE = {
    'version': 'v2.0',
    'data': [
        {
            'title': 'Towns',
            'paragraphs': [
                {
                    'context': CONTEXT,
                    'qas': [
                        {
                            'id': 'a1',
                            'question': 'Where was it?',
                            'is_impossible': False,
                            'answers': [
                                {'text': 'Kraków', 'answer_start': CONTEXT.index('Kraków')},
                                {'text': 'in  Kraków', 'answer_start': CONTEXT.index('in')},
                            ],
                        },
                        {'id': 'a2', 'question': 'Why?', 'is_impossible': True, 'answers': []},
                    ],
                }
            ],
        }
    ],
}


def put(folder, content):
    path = folder / 'squad.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def edited(edit):
    content = copy.deepcopy(FILE)
    paragraph = content['data'][0]['paragraphs'][0]
    edit(content, paragraph, paragraph['qas'][0])
    return content


def test_reading(tmp_path):
    path = put(tmp_path, FILE)
    where, impossible = squad.read(path)
    assert where.answers == [('Kraków', 17), ('in  Kraków', 13)] and not where.is_impossible
    assert impossible.is_impossible and impossible.answers == []
    assert where.where == f'{path}: data[0].paragraphs[0].qas[0] (id a1)'
    expected = {'a1': ['Kraków', 'in  Kraków'], 'a2': []}
    assert squad.references([where, impossible]) == expected


def test_without_the_flag_no_answers_mean_impossible_in_2_0_only(tmp_path):
    content = edited(lambda c, p, q: p['qas'][1].pop('is_impossible'))
    assert squad.read(put(tmp_path, content))[1].is_impossible
    assert not squad.read(put(tmp_path, content | {'version': '1.1'}))[1].is_impossible
    del content['data'][0]['paragraphs'][0]['qas'][1]['answers']  # a test file
    assert not squad.read(put(tmp_path, content))[1].is_impossible


@pytest.mark.parametrize(
    'text, start, expected, count',
    [
        ('Paris', 0, ('Paris', 32), 'answers not at their answer_start, found elsewhere'),
        ('in', 25, ('in', 29), 'answers not at their answer_start, found elsewhere'),
        (' Paris\n', 31, ('Paris', 32), 'answers not at their answer_start, found elsewhere'),
        ('Paris', -3, ('Paris', 32), 'answers not at their answer_start, found elsewhere'),
        ('Rome', 3, ('Rome', -1), 'answers that are not in their context'),
        ('', 3, ('', -1), 'answers that are not in their context'),
    ],
)
def test_answers_are_looked_for(tmp_path, text, start, expected, count):
    answer = {'text': text, 'answer_start': start}
    path = put(tmp_path, edited(lambda c, p, q: q.update(answers=[answer])))
    summary = Summary()
    assert squad.read(path, summary)[0].answers == [expected]
    name = f'{count} (first: {path}: data[0].paragraphs[0].qas[0] (id a1).answers[0])'
    assert summary.lines() == {name: 1, 'questions': 2}


@pytest.mark.parametrize(
    'edit, message',
    [
        (lambda c, p, q: c.pop('data'), r"squad\.json has no 'data', only \['version'\]"),
        (lambda c, p, q: c.update(data=[]), r'squad\.json has no questions'),
        (lambda c, p, q: c['data'].insert(0, 7), r"data\[0\] is 7; expected an object with 'par"),
        (lambda c, p, q: p.pop('context'), r"data\[0\]\.paragraphs\[0\] has no 'context'"),
        (lambda c, p, q: p.update(context=' '), r"paragraphs\[0\]: 'context' is empty"),
        (lambda c, p, q: p.update(qas={}), r"'qas' is \{\}; expected list"),
        (lambda c, p, q: q.update(id=7), r"qas\[0\]: 'id' is 7; expected str"),
        (lambda c, p, q: q.pop('question'), r"qas\[0\] \(id a1\) has no 'question'"),
        (lambda c, p, q: q.update(id='a2'), r"qas\[1\] \(id a2\): 'id' is that of .*qas\[0\] too"),
        (lambda c, p, q: q.update(question='\ud800'), r"\(id a1\): 'question' has half a surr"),
        (lambda c, p, q: q.update(is_impossible=True), r"is true, but there are 2 'answers'"),
        (lambda c, p, q: q.update(is_impossible='no'), r"'is_impossible' is 'no'; expected bool"),
        (
            lambda c, p, q: q['answers'][1].pop('answer_start'),
            r"\(id a1\)\.answers\[1\] has no 'answer_start', only \['text'\]",
        ),
        (lambda c, p, q: q['answers'][0].update(answer_start='17'), "is '17'; expected int"),
    ],
)
def test_broken_files(tmp_path, edit, message):
    with pytest.raises(ValueError, match=message):
        squad.read(put(tmp_path, edited(edit)))


def test_what_is_no_json(tmp_path):
    with pytest.raises(ValueError, match=r'squad\.json is not JSON \(.*line 1 column'):
        squad.read(put(tmp_path, '{"data": ['))
    with pytest.raises(ValueError, match=r"is \[\]; expected an object with 'data'"):
        squad.read(put(tmp_path, '[]'))
    with pytest.raises(ValueError, match='does not exist'):
        squad.read(tmp_path / 'gone.json')


WORDS = ['w', 'x', 'y', 'z', 'the', 'café'.replace('é', 'e'), '##s', '(', ')', '.', ',', '?']
PIECES = [*tokenizer.SPECIALS, *WORDS, 'where', 'was', 'it', 'in', 'krakow', 'not', 'paris']


@pytest.fixture(scope='module')
def vocabulary():
    return tokenizer.wordpiece([*PIECES, *map(str, range(100))], lowercase=True)


def question(context, answers=(), is_impossible=False, text='where was it?', name='q'):
    return Question(name, text, context, list(answers), is_impossible, f'a.json: {name}')


def make(questions, vocabulary, training=False, summary=None, **options):
    sizes = {'max_seq_length': 64, 'max_query_length': 8} | options
    return squad_windows.windows(questions, vocabulary, training=training, summary=summary, **sizes)


def covered(questions, windows, i):
    """The characters that window i's labels stand for."""
    asked = questions[windows.question[i]]
    at = windows.contexts.begin[windows.context[windows.question[i]]] - windows.shift[i]
    at += windows.begin[i]
    start = windows.contexts.starts[at + windows.start_positions[i]]
    return asked.context[start : windows.contexts.ends[at + windows.end_positions[i]]]


def numbers(count):
    return ' '.join(map(str, range(count)))


def test_windows_move_over_the_context(vocabulary):
    asked = question(numbers(20), [('10 11', numbers(20).index('10 11'))])
    made = make([asked], vocabulary, max_seq_length=15, doc_stride=3)  # room for 8
    assert made.begin.tolist() == [0, 3, 6, 9, 12] and made.end.tolist() == [8, 11, 14, 17, 20]
    cls, sep = vocabulary.cls_id, vocabulary.sep_id
    [query, context] = vocabulary.encode_batch([asked.question, asked.context])
    for i in range(len(made)):
        row = made[i]
        assert row.input_ids == [cls, *query, sep, *context[3 * i : 3 * i + 8], sep]
        assert row.token_type_ids == [0] * 6 + [1] * 9
        assert len(row.input_ids) == made.lengths[i] == 15
    # The second window ends between 10 and 11; the third has 10 as the fifth token of its piece,
    # which begins at place 6 of the row.
    assert made.start_positions.tolist() == [0, 0, 10, 7, 0]
    assert made.end_positions.tolist() == [0, 0, 11, 8, 0]
    assert {array.dtype for array in (made.begin, made.start_positions)} == {np.dtype(np.int32)}


def test_no_token_is_lost_where_the_stride_is_longer_than_the_window(vocabulary):
    made = make([question(numbers(20))], vocabulary, max_seq_length=15, doc_stride=100)
    assert made.begin.tolist() == [0, 8, 16] and made.end.tolist() == [8, 16, 20]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 90), st.integers(1, 12), st.integers(12, 40))
def test_each_token_has_most_context_in_one_window(vocabulary, count, stride, longest):
    made = make(
        [question('x'), question(numbers(count)), question('y')],
        vocabulary,
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


def test_answers_become_the_fewest_tokens_that_cover_them(vocabulary):
    context = CONTEXT
    texts = ['Kraków', 'in  Kraków', 'café', ' Paris ', 'Kraków,', '198', '(1980s)']
    asked = [question(context, [(t, context.index(t))], name=t) for t in texts]
    summary = Summary()
    made = make(asked, vocabulary, summary=summary)
    found = [covered(asked, made, i) for i in range(len(asked))]
    assert found == ['Kraków', 'in  Kraków', 'café', 'Paris', 'Kraków,', '1980s', '(1980s)']
    name = 'answers that begin or end inside a token (first: a.json: 198)'
    counts = {k: v for k, v in summary.lines().items() if v}
    assert counts == {name: 1, 'windows': 7}
    assert len(made.contexts.begin) == 2  # of one context


def test_what_training_leaves_out(vocabulary):
    asked = [
        question('x y z', [('Rome', -1)], name='unknown'),
        question('x y z', [('Rome', -1), ('y', 2)], name='second'),
        question('x y z', is_impossible=True, name='impossible'),
        question('x \u200b y', [('\u200b', 2)], name='no token'),
        question(numbers(60), [(numbers(60), 0)], name='long'),
    ]
    summary = Summary()
    made = make(asked, vocabulary, training=True, summary=summary, doc_stride=40)
    assert made.question.tolist() == [1, 2, 4, 4]
    assert made.start_positions.tolist() == [7, 0, 0, 0] == made.end_positions.tolist()
    counts = {k: v for k, v in summary.lines().items() if v}
    assert counts == {
        'answers of characters that no token has (first: a.json: no token)': 1,
        'questions without a known answer, left out (first: a.json: unknown)': 2,
        'answers too long for any window (first: a.json: long)': 1,
        'windows': 4,
    }
    assert set(make(asked, vocabulary).question.tolist()) == {0, 1, 2, 3, 4}


def test_long_questions_are_cut_and_counted(vocabulary):
    summary = Summary()
    made = make([question('x', text='was ' * 9)], vocabulary, summary=summary)
    assert len(made[0].input_ids) == 8 + 1 + 3
    assert summary.counts['questions cut to max_query_length'] == 1
    with pytest.raises(ValueError, match=r'max_seq_length 10 leaves -1 tokens to a context'):
        make([question('x')], vocabulary, max_seq_length=10)
    with pytest.raises(ValueError, match=r'doc_stride 0'):
        make([question('x')], vocabulary, doc_stride=0)


def every_span(asked, made, starts, ends, longest):
    """All permitted answers of a question, (score, text), by trying every pair of places."""
    found = []
    for w in range(len(made)):
        for first in range(made.best_begin[w], made.best_end[w]):
            for last in range(first, min(first + longest, made.end[w])):
                shift = made.shift[w] - made.begin[w]
                text = asked.context[made.contexts.starts[first] : made.contexts.ends[last]]
                found.append((starts[w, shift + first] + ends[w, shift + last], text))
    best: dict[str, float] = {}
    for score, text in sorted(found, reverse=True):
        best.setdefault(text, score)
    return sorted(((score, text) for text, score in best.items()), reverse=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 8), st.integers(1, 12))
def test_decoding_finds_the_best_of_all_spans(vocabulary, seed, count, longest, n_best):
    draw = np.random.default_rng(seed)
    asked = question(' '.join(map(str, draw.integers(0, 30, count))))
    made = make([asked], vocabulary, max_seq_length=20, doc_stride=5)
    starts, ends = draw.normal(0, 3, (2, len(made), 23))
    expected = every_span(asked, made, starts, ends, longest)
    options = {'n_best': n_best, 'max_answer_length': longest}
    found = squad_answers.decode([asked], made, starts, ends, version_2=False, **options)
    listed = found.nbest['q']
    assert [entry['text'] for entry in listed] == [text for _, text in expected[:n_best]]
    scores = np.array([entry['start_logit'] + entry['end_logit'] for entry in listed])
    np.testing.assert_allclose(scores, [score for score, _ in expected[:n_best]])
    shares = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose([entry['probability'] for entry in listed], shares)
    assert found.predictions == {'q': expected[0][1]} == found.best and found.null_odds == {}

    null = min(starts[:, 0] + ends[:, 0])
    odds = null - expected[0][0]
    for threshold, text in ((odds - 1e-6, ''), (odds + 1e-6, expected[0][1])):
        found = squad_answers.decode(
            [asked], made, starts, ends, version_2=True, null_threshold=threshold, **options
        )
        assert found.predictions == {'q': text} and found.best == {'q': expected[0][1]}
        assert found.null_odds == {'q': pytest.approx(odds)}
        texts = [entry['text'] for entry in found.nbest['q']]
        place = sum(score > null for score, _ in expected[:n_best])
        assert texts.index('') == place and len(texts) == len(listed) + 1


def test_logits_that_do_not_fit(vocabulary):
    asked = [question('x y z')]
    made = make(asked, vocabulary)
    fine = np.zeros((1, 11), np.float32)
    fine[0, 10:] = np.nan  # of padding
    squad_answers.decode(asked, made, fine, fine, version_2=True)
    for shape in ((2, 11), (1, 9), (11,)):
        with pytest.raises(ValueError, match=r'end_logits have shape .*; expected \(1, 10 or more'):
            squad_answers.decode(asked, made, fine, np.zeros(shape), version_2=True)
    bad = fine.copy()
    bad[0, 3] = np.inf
    with pytest.raises(ValueError, match=r'start_logits of 1 windows are not finite'):
        squad_answers.decode(asked, made, bad, fine, version_2=True)
    gone = [question('x', [('y', -1)])]
    empty = make(gone, vocabulary, training=True)
    with pytest.raises(ValueError, match=r'a\.json: q has no windows; .*training=False'):
        squad_answers.decode(gone, empty, fine[:0], fine[:0], version_2=False)


def test_of_equals_the_earlier_and_shorter_come_first(vocabulary):
    asked = [question('x y x  y')]
    made = make(asked, vocabulary)
    logits = np.zeros((1, len(made[0].input_ids)))
    found = squad_answers.decode(asked, made, logits, logits, version_2=True)
    texts = ['x', 'x y', 'x y x', 'x y x  y', 'y', 'y x', 'y x  y', 'x  y', '']
    assert [entry['text'] for entry in found.nbest['q']] == texts


def test_a_context_without_tokens_has_an_empty_answer(vocabulary):
    asked = [question('\u200b')]
    made = make(asked, vocabulary)
    logits = np.zeros((1, 12))
    found = squad_answers.decode(asked, made, logits, logits, version_2=False)
    entry = {'text': '', 'probability': 1.0, 'start_logit': 0.0, 'end_logit': 0.0}
    assert found.predictions == {'q': ''} and found.nbest == {'q': [entry]}
    odds = squad_answers.decode(asked, made, logits, logits, version_2=True).null_odds
    assert odds['q'] > 1e30


def test_files_of_answers(vocabulary, tmp_path):
    asked = [question('Kraków y')]
    made = make(asked, vocabulary)
    logits = np.zeros((1, 12))
    for version_2 in (False, True):
        found = squad_answers.decode(asked, made, logits, logits, version_2=version_2)
        squad_answers.write(found, tmp_path / str(version_2))
        read = {p.name: json.loads(p.read_text()) for p in (tmp_path / str(version_2)).iterdir()}
        expected = {'predictions.json': found.predictions, 'nbest_predictions.json': found.nbest}
        assert read == expected | ({'null_odds.json': found.null_odds} if version_2 else {})


def oracle(questions, made):
    """Logits that are 1 at the labels of the window which may answer there."""
    starts, ends = np.zeros((2, len(made), int(made.lengths.max())), np.float32)
    rows = np.arange(len(made))
    starts[rows, made.start_positions] = ends[rows, made.end_positions] = 1
    place = made.begin + made.start_positions - made.shift
    answers = (place >= made.best_begin) & (place < made.best_end)
    starts[~answers, made.start_positions[~answers]] = 0
    return starts, ends


@pytest.mark.slow
def test_an_oracle_answers_the_real_dev_set(shared_data):
    vocabulary = tokenizer.load(shared_data('vocab/bert-base-uncased/vocab.txt'))
    questions = squad.read(shared_data('squad/dev-v1.1.json'))
    made = squad_windows.windows(questions, vocabulary, max_seq_length=384, training=False)
    starts, ends = oracle(questions, made)
    found = squad_answers.decode(
        questions, made, starts, ends, n_best=1, max_answer_length=60, version_2=False
    )
    scores = host_metrics.squad(squad.references(questions), found.predictions, version_2=False)
    assert scores['exact_match'] > 99 and scores['f1'] > 99.5


@pytest.mark.slow
def test_real_2_0(shared_data):
    vocabulary = tokenizer.load(shared_data('vocab/bert-base-uncased/vocab.txt'))
    questions = squad.read(shared_data('squad/dev-v2.0.json'))
    assert sum(q.is_impossible for q in questions) == 5945 and len(questions) == 11873
    made = squad_windows.windows(questions, vocabulary, max_seq_length=384, training=False)
    impossible = np.array([q.is_impossible for q in questions])[made.question]
    assert not made.start_positions[impossible].any()
    starts, ends = oracle(questions, made)
    starts[impossible, 0] = ends[impossible, 0] = 3
    starts[~impossible, 0] = ends[~impossible, 0] = -1
    found = squad_answers.decode(
        questions, made, starts, ends, max_answer_length=60, version_2=True
    )
    scores = host_metrics.squad(squad.references(questions), found.predictions, version_2=True)
    assert scores['NoAns_exact'] == 100 and scores['HasAns_exact'] > 99

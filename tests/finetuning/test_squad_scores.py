import math
import random
import string
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_jax.data.labelled import squad
from bert_jax.finetuning import squad_scores


def score(golds, prediction, version_2=False):
    predictions = {} if prediction is None else {'q': prediction}
    return squad_scores.squad({'q': golds}, predictions, version_2=version_2)


@pytest.mark.parametrize(
    'text, expected',
    [
        ('The  Theatre, an "A-list"', 'theatre alist'),
        ('U.S.A.', 'usa'),
        ('a\tb\n', 'b'),
        ('the', ''),
        ('“Quotes” – Ünï', '“quotes” – ünï'),  # only ASCII's punctuation goes
        ('the_end', 'theend'),
        ('an§the', '§'),
    ],
)
def test_answers_are_compared_without_case_punctuation_and_articles(text, expected):
    assert squad_scores.normalized(text) == expected


def test_the_answer_that_fits_best_counts():
    found = score(['old red fox', 'The fox!', 'red red dog'], 'red red fox')
    assert found['exact_match'] == 0
    assert found['f1'] == pytest.approx(200 / 3)  # red and fox of 3 words, of 3
    assert score(['cat', 'A Red  fox'], 'red fox.') == {'exact_match': 100, 'f1': 100}


def test_empty_answers_differ_between_the_versions():
    first = score(['the', 'x'], 'a')
    assert (first['exact_match'], first['f1']) == (100, 0)
    second = score(['the', 'x'], 'a', True)  # 2.0 has no empty answers where there are others
    assert (second['exact'], second['f1']) == (0, 0)
    only = score(['the'], '', True)
    assert (only['HasAns_exact'], only['HasAns_f1'], only['HasAns_total']) == (100, 100, 1)
    assert score([], '', True)['NoAns_f1'] == 100 and score([], 'x', True)['NoAns_f1'] == 0
    assert 'HasAns_total' not in score([], '', True)


def test_a_question_without_a_prediction_is_wrong():
    for version_2, name in ((False, 'exact_match'), (True, 'exact')):
        predictions = {'r': 'y', 's': 'z'}
        found = squad_scores.squad({'q': ['x'], 'r': ['y']}, predictions, version_2=version_2)
        assert found[name] == found['f1'] == 50
    assert score([], None, True)['NoAns_exact'] == 0


def test_what_can_not_be_scored():
    with pytest.raises(ValueError, match='no questions to score'):
        squad_scores.squad({}, {}, version_2=True)
    with pytest.raises(ValueError, match=r'1 question has no answers \(first: q\); only SQuAD 2'):
        score([], 'x')


def test_the_best_threshold():
    golds = {'a': ['x'], 'b': [], 'c': ['y'], 'd': []}
    texts = {'a': 'x', 'b': 'x', 'c': 'y z', 'd': 'x'}
    odds = {'a': -3.0, 'b': 2.0, 'c': -1.0, 'd': 1.0}
    found = squad_scores.best_threshold(golds, texts, odds)
    assert (found['best_exact'], found['best_exact_thresh']) == (75, -3)
    assert (found['best_f1'], found['best_f1_thresh']) == (pytest.approx(100 * 11 / 12), -1)
    emptied = {
        name: text if odds[name] <= found['best_f1_thresh'] else '' for name, text in texts.items()
    }
    assert squad_scores.squad(golds, emptied, version_2=True)['f1'] == found['best_f1']
    together = squad_scores.squad(
        golds, dict.fromkeys(golds, ''), version_2=True, null_odds=odds, best=texts
    )
    assert found.items() <= together.items() and together['f1'] == 50


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from(['x', 'x y', '', 'z']), st.integers(-3, 3)),
        min_size=1,
    )
)
def test_no_threshold_is_better_than_the_best(cases):
    golds = {str(i): ['x'] if has else [] for i, (has, _, _) in enumerate(cases)}
    texts = {str(i): text for i, (_, text, _) in enumerate(cases)}
    odds = {str(i): value + i * 1e-4 for i, (_, _, value) in enumerate(cases)}  # no ties
    found = squad_scores.best_threshold(golds, texts, odds)

    def f1(threshold):
        given = {k: text if odds[k] <= threshold else '' for k, text in texts.items()}
        # Right as officially counted: an empty text for a question with an answer stays wrong.
        return squad_scores.squad(golds, given, version_2=True)['f1']

    assert found['best_f1'] == pytest.approx(max(map(f1, [-math.inf, *odds.values()])))


def perturbed(draw, text, context):
    words = context.split()
    return draw.choice(
        [
            lambda: text,
            lambda: text,
            lambda: f'The {text}'.upper() + draw.choice(string.punctuation),
            lambda: ' '.join(text.split()[: draw.randint(0, 3)]),
            lambda: ' '.join(draw.choices(words, k=draw.randint(1, 6))),
            lambda: text + ' ' + draw.choice(words),
            lambda: draw.choice(['', ' ', 'the', 'a an', '...', '\u00a0', '–']),
        ]
    )()


@pytest.mark.parametrize('name', ['dev-v1.1', 'dev-v2.0'])
@pytest.mark.parametrize('seed', [0, 1])
def test_scores_are_those_of_transformers(shared_data, name, seed):
    theirs = pytest.importorskip('transformers.data.metrics.squad_metrics')
    questions = squad.read(shared_data(f'squad/{name}.json'))
    golds, draw = squad.references(questions), random.Random(seed)
    predictions = {
        q.id: perturbed(draw, draw.choice(golds[q.id] or [q.question]), q.context)
        for q in questions
    }
    odds = {q.id: draw.gauss(2 * q.is_impossible - 1, 1) for q in questions}
    examples = [
        SimpleNamespace(qas_id=q.id, answers=[{'text': text} for text in golds[q.id]])
        for q in questions
    ]
    expected = theirs.squad_evaluate(
        examples, predictions, odds, no_answer_probability_threshold=math.inf
    )
    found = squad_scores.squad(golds, predictions, version_2=True, null_odds=odds)
    assert found == pytest.approx(dict(expected), rel=1e-12)
    if name == 'dev-v1.1':  # 1.1 has no rule for empty answers: they share no word
        exact, f1 = [], []
        for key, texts in golds.items():
            exact.append(max(theirs.compute_exact(text, predictions[key]) for text in texts))
            empty = not theirs.normalize_answer(predictions[key])
            best = max(theirs.compute_f1(text, predictions[key]) for text in texts)
            f1.append(0.0 if empty else best)
        first = squad_scores.squad(golds, predictions, version_2=False)
        assert first['exact_match'] == pytest.approx(100 * sum(exact) / len(exact), rel=1e-12)
        assert first['f1'] == pytest.approx(100 * sum(f1) / len(f1), rel=1e-12)

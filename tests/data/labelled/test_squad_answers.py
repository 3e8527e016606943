import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import QUICK
from squad_questions import make, question

from bert_jax.config import DataConfig, EvalConfig
from bert_jax.data.labelled import squad, squad_answers, squad_windows
from bert_jax.data.tokenizers import tokenizer
from bert_jax.finetuning import squad_scores

LIMITS = EvalConfig()


def every_span(asked, made, starts, ends, longest):
    """All permitted answers of a question, (score, text), by trying every pair of places."""
    found = []
    for w in range(len(made)):
        for first in range(made.best_begin[w], made.best_end[w]):
            for last in range(first, min(first + longest, made.end[w])):
                shift = made.shift[w]
                text = asked.context[made.contexts.starts[first] : made.contexts.ends[last]]
                found.append((starts[w, shift + first] + ends[w, shift + last], text))
    best: dict[str, float] = {}
    for score, text in sorted(found, reverse=True):
        best.setdefault(text, score)
    return sorted(((score, text) for text, score in best.items()), reverse=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 8), st.integers(1, 12))
def test_decoding_finds_the_best_of_all_spans(seed, count, longest, n_best):
    draw = np.random.default_rng(seed)
    asked = question(' '.join(map(str, draw.integers(0, 30, count))))
    made = make([asked], max_seq_length=20, doc_stride=5)
    starts, ends = draw.normal(0, 3, (2, len(made), 23))
    expected = every_span(asked, made, starts, ends, longest)
    limits = EvalConfig(n_best=n_best, max_answer_length=longest)
    found = squad_answers.decode([asked], made, starts, ends, limits, no_answer=False)
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
        limits = dataclasses.replace(limits, null_threshold=threshold)
        found = squad_answers.decode([asked], made, starts, ends, limits, no_answer=True)
        assert found.predictions == {'q': text} and found.best == {'q': expected[0][1]}
        assert found.null_odds == {'q': pytest.approx(odds)}
        texts = [entry['text'] for entry in found.nbest['q']]
        place = sum(score > null for score, _ in expected[:n_best])
        assert texts.index('') == place and len(texts) == len(listed) + 1


def test_logits_that_do_not_fit():
    asked = [question('x y z')]
    made = make(asked)
    fine = np.zeros((1, 11), np.float32)
    fine[0, 10:] = np.nan  # of padding
    squad_answers.decode(asked, made, fine, fine, LIMITS, no_answer=True)
    bad = fine.copy()
    bad[0, 3] = np.inf
    with pytest.raises(ValueError, match=r'start_logits of 1 windows are not finite'):
        squad_answers.decode(asked, made, bad, fine, LIMITS, no_answer=True)
    gone = [question('x', [('y', -1)])]
    empty = make(gone, training=True)
    with pytest.raises(ValueError, match=r'a\.json: q has no windows; .*training=False'):
        squad_answers.decode(gone, empty, fine[:0], fine[:0], LIMITS, no_answer=False)


def test_of_equals_the_earlier_and_shorter_come_first():
    asked = [question('x y x  y')]
    made = make(asked)
    logits = np.zeros((1, len(next(iter(made)).input_ids)))
    found = squad_answers.decode(asked, made, logits, logits, LIMITS, no_answer=True)
    texts = ['x', 'x y', 'x y x', 'x y x  y', 'y', 'y x', 'y x  y', 'x  y', '']
    assert [entry['text'] for entry in found.nbest['q']] == texts


def test_a_context_without_tokens_has_an_empty_answer():
    asked = [question('\u200b')]
    made = make(asked)
    logits = np.zeros((1, 12))
    found = squad_answers.decode(asked, made, logits, logits, LIMITS, no_answer=False)
    entry = {'text': '', 'probability': 1.0, 'start_logit': 0.0, 'end_logit': 0.0}
    entry |= {'start': None, 'end': None}
    assert found.predictions == {'q': ''} and found.nbest == {'q': [entry]}
    odds = squad_answers.decode(asked, made, logits, logits, LIMITS, no_answer=True).null_odds
    assert odds['q'] > 1e30


def test_files_of_answers(tmp_path):
    asked = [question('Kraków y')]
    made = make(asked)
    logits = np.zeros((1, 12))
    for version_2 in (False, True):
        found = squad_answers.decode(asked, made, logits, logits, LIMITS, no_answer=version_2)
        squad_answers.write(found, tmp_path / str(version_2))
        read = {p.name: json.loads(p.read_text()) for p in (tmp_path / str(version_2)).iterdir()}
        official = ('text', 'probability', 'start_logit', 'end_logit')
        nbest = {
            q: [{key: n[key] for key in official} for n in best] for q, best in found.nbest.items()
        }
        expected = {'predictions.json': found.predictions, 'nbest_predictions.json': nbest}
        assert read == expected | ({'null_odds.json': found.null_odds} if version_2 else {})


def oracle(questions, made):
    """Logits that are 1 at the labels of the window which may answer there."""
    starts, ends = np.zeros((2, len(made), int(made.lengths.max())), np.float32)
    rows = np.arange(len(made))
    starts[rows, made.labels['start_positions']] = ends[rows, made.labels['end_positions']] = 1
    place = made.labels['start_positions'] - made.shift
    answers = (place >= made.best_begin) & (place < made.best_end)
    starts[~answers, made.labels['start_positions'][~answers]] = 0
    return starts, ends


@pytest.mark.slow
def test_an_oracle_answers_the_real_dev_set(shared_data):
    vocabulary = tokenizer.load(shared_data('vocab/bert-base-uncased/vocab.txt'))
    questions = squad.read(shared_data('squad/dev-v1.1.json'))
    data = DataConfig(max_seq_length=384)
    made = squad_windows.windows(questions, vocabulary, data, training=False)
    starts, ends = oracle(questions, made)
    found = squad_answers.decode(
        questions, made, starts, ends, EvalConfig(n_best=1, max_answer_length=60), no_answer=False
    )
    scores = squad_scores.squad(squad.references(questions), found.predictions, version_2=False)
    assert scores['exact_match'] > 99 and scores['f1'] > 99.5


@pytest.mark.slow
@pytest.mark.skipif(QUICK, reason='version 1.1 is decoded above')
def test_real_2_0(shared_data):
    vocabulary = tokenizer.load(shared_data('vocab/bert-base-uncased/vocab.txt'))
    questions = squad.read(shared_data('squad/dev-v2.0.json'))
    assert sum(q.is_impossible for q in questions) == 5945 and len(questions) == 11873
    data = DataConfig(max_seq_length=384)
    made = squad_windows.windows(questions, vocabulary, data, training=False)
    impossible = np.array([q.is_impossible for q in questions])[made.question]
    assert not made.labels['start_positions'][impossible].any()
    starts, ends = oracle(questions, made)
    starts[impossible, 0] = ends[impossible, 0] = 3
    starts[~impossible, 0] = ends[~impossible, 0] = -1
    found = squad_answers.decode(
        questions, made, starts, ends, EvalConfig(max_answer_length=60), no_answer=True
    )
    scores = squad_scores.squad(squad.references(questions), found.predictions, version_2=True)
    assert scores['NoAns_exact'] == 100 and scores['HasAns_exact'] > 99

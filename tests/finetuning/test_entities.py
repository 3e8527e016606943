"""Scores of entities are seqeval's, of which conlleval's are the model."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_jax.finetuning.official_scores import entities, spans

metrics = pytest.importorskip('seqeval.metrics', reason='seqeval is installed for Python 3.11')
get_entities = pytest.importorskip('seqeval.metrics.sequence_labeling').get_entities

BIO = [f'{mark}-{kind}' for mark in 'BI' for kind in ('x', 'y-z')] + ['O']
IOBES = [f'{mark}-{kind}' for mark in 'BIES' for kind in ('x', 'y-z')] + ['O']
TAGS = st.sampled_from([BIO, IOBES])


@st.composite
def corpora(draw):
    """Draws the gold tags of sentences and as many other tags. Both may be badly formed."""
    tag = st.sampled_from(draw(TAGS))
    sizes = draw(st.lists(st.integers(0, 8), min_size=1, max_size=4).filter(any))
    return [[draw(st.lists(tag, min_size=n, max_size=n)) for n in sizes] for _ in range(2)]


@given(corpora())
def test_entities_are_those_of_seqeval(corpus):
    for tags in corpus[0] + corpus[1]:
        theirs = [(start, stop, kind) for kind, start, stop in get_entities(tags)]
        assert spans(tags) == theirs
        bilou = [tag.replace('E-', 'L-').replace('S-', 'U-') for tag in tags]
        assert spans(bilou) == theirs


@given(corpora())
def test_scores_are_those_of_seqeval(corpus):
    gold, predicted = corpus
    ours = entities(gold, predicted)
    assert ours['accuracy'] == pytest.approx(metrics.accuracy_score(gold, predicted))
    if not any(tag != 'O' for tags in gold + predicted for tag in tags):
        assert ours['f1'] == ours['precision'] == ours['recall'] == 0
        return
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of scores that are not defined, 0 by both
        report = metrics.classification_report(gold, predicted, output_dict=True, zero_division=0)
    micro = report['micro avg']
    theirs = {'precision': micro['precision'], 'recall': micro['recall'], 'f1': micro['f1-score']}
    theirs |= {f'f1/{kind}': report[kind]['f1-score'] for kind in report if 'avg' not in kind}
    theirs |= {'entities': micro['support']}
    assert {key: ours[key] for key in theirs} == pytest.approx(theirs)
    assert [key for key in ours if '/' in key] == [key for key in theirs if '/' in key]


def test_by_hand():
    gold = [['B-x', 'I-x', 'O', 'B-y'], ['O', 'B-x'], ['O']]
    predicted = [['B-x', 'I-x', 'O', 'O'], ['I-y', 'B-x'], ['I-x']]
    assert entities(gold, predicted) == pytest.approx(
        {
            'precision': 2 / 4,
            'recall': 2 / 3,
            'f1': 4 / 7,
            'accuracy': 4 / 7,
            'entities': 3,
            'predicted_entities': 4,
            'ill_formed': 2,
            'f1/x': 4 / 5,
            'f1/y': 0,
        }
    )


@pytest.mark.parametrize(
    ('gold', 'predicted', 'ill_formed'),
    [
        ('O I-x I-x O I-y B-y', 'O I-x I-x O I-y B-y', 0),  # IOB1
        ('O I-x I-x O I-y B-y', 'O B-x I-x O B-y B-y', 2),  # B- only after the same type
        ('O B-x I-x O B-y B-y', 'O I-x I-x O I-y B-y', 2),  # BIO
        ('O B-x E-x O S-y S-y', 'O B-x E-x O S-y I-y', 2),  # IOBES: I- begins and ends
        ('O B-x L-x O U-y U-y', 'O B-x L-x O U-y U-y', 0),  # BILOU
    ],
)
def test_tags_are_ill_formed_by_the_scheme_of_the_gold_tags(gold, predicted, ill_formed):
    assert entities([gold.split()], [predicted.split()])['ill_formed'] == ill_formed


def test_an_entity_ends_with_its_sentence():
    assert entities([['B-x'], ['I-x']], [['B-x'], ['O']])['entities'] == 2


def test_other_tags_have_an_accuracy():
    assert entities([['DT', 'NN'], ['V']], [['DT', 'V'], ['V']]) == {'accuracy': 2 / 3}
    bare = entities([['B', 'I', 'O']], [['B', 'I', 'I']])
    assert (bare['f1'], bare['entities']) == (0, 1)
    assert not any('/' in key for key in bare)


@pytest.mark.parametrize(
    'gold, predicted, message',
    [
        ([['O']], [], 'argument 2 is shorter'),
        ([['O'], ['O', 'O']], [['O'], ['O']], 'argument 2 is shorter'),
        ([[], []], [[], []], 'no words to score'),
        ([], [], 'no words to score'),
    ],
)
def test_other_words_are_refused(gold, predicted, message):
    with pytest.raises(ValueError, match=message):
        entities(gold, predicted)

"""Rows as tools for annotation and data frames write them."""

import json

import pytest

from bert_jax.data.labelled import conll, examples, labels, tagged_records
from bert_jax.data.summary import Summary


def put(path, content):
    path.write_text(content)
    return path


def test_rows_that_are_rejected_in_prodigy_are_left_out(tmp_path):
    rows = [{'text': 'Anna lives', 'answer': name} for name in ('accept', 'reject', 'ignore')]
    lines = [json.dumps(row | {'label': 'x', 'spans': []}) for row in rows]
    path, summaries = put(tmp_path / 'a.jsonl', '\n'.join(lines)), (Summary(), Summary())
    assert len(list(examples.iter_file(path, summary=summaries[0]))) == 1
    assert len(conll.read(path, summary=summaries[1])) == 1
    assert all('rejected or ignored in Prodigy' in str(summary) for summary in summaries)
    assert len(list(examples.iter_file(path, summary=Summary(), predicts=True))) == 3
    assert len(list(conll.iter_file(path, tagged=False))) == 3


def test_a_word_of_json_may_have_spaces_or_be_no_word(tmp_path):
    words = [
        {'words': ['-DOCSTART-'], 'tags': ['O']},
        {'words': ['New York', 'a\tb'], 'tags': 'xO'},
    ]
    words[1]['tags'] = ['B-x', 'O']
    path, summary = put(tmp_path / 'a.json', json.dumps(words)), Summary()
    (sentence,) = conll.read(path, summary=summary)
    assert summary.counts == {'-DOCSTART- lines, left out': 1, tagged_records.SPACED: 2}
    conll.write([sentence], [['B-x', 'O']], tmp_path / 'out.conll')
    (again,) = conll.read(tmp_path / 'out.conll')
    assert again.words == ['New\xa0York', 'a\xa0b']
    put(path, json.dumps({'text': ['Anna lives', 'He left']}))
    with pytest.raises(ValueError, match=r"in 'text'; expected a string"):
        list(conll.iter_file(path, tagged=False))


def test_numbers_get_their_names(tmp_path):
    line = {'tokens': ['Anna', 'lives'], 'ner_tags': [1, 0]}
    path = put(tmp_path / 'a.jsonl', json.dumps(line))
    (sentence,) = conll.read(path, names=labels.numbered_names('O, B-PER'))
    assert sentence.tags == ['B-PER', 'O']
    with pytest.raises(ValueError, match=r"a\.jsonl:1 has '1'; expected a number from 0 to 0"):
        conll.read(path, names=['O'])
    assert labels.name_of('1.0', ['neg', 'pos'], 'a.csv:2') == 'pos'
    assert labels.name_of('-1', ['neg', 'pos'], 'a.csv:2', strict=False) == '-1'
    for wrong in ('O,,B', 'O,O'):
        with pytest.raises(ValueError, match='expected the name of each number'):
            labels.numbered_names(wrong)


def test_rows_of_a_sentence_that_are_apart_are_counted(tmp_path):
    summary = Summary()
    content = 'sentence,word,tag\n1,Anna,B-x\n2,He,O\n1,lives,O\n'
    assert len(conll.read(put(tmp_path / 'a.csv', content), summary=summary)) == 3
    assert 'sentences whose rows are apart' in str(summary) and ':4' in str(summary)
    summary = Summary()
    path = put(tmp_path / 'b.csv', 'id,word,tag\n1,Anna,B-x\n2,lives,O\n')
    assert len(conll.read(path, summary=summary)) == 1 and 'as one sentence' in str(summary)

"""Texts with entities as character positions become words with tags."""

import json
import pathlib
from typing import Any

import pytest

from bert_jax.data.labelled import conll
from bert_jax.data.summary import Summary

TEXT = "Anna Lang's mill in New York-Harlem."
WORDS = ['Anna', 'Lang', "'", 's', 'mill', 'in', 'New', 'York', '-', 'Harlem', '.']
TAGS = ['B-PER', 'I-PER', *'OOOO', 'B-LOC', 'I-LOC', *'OOO']
PLACES = [(0, 9), (20, 28)]
# How tools write the same entities.
FORMS: dict[str, dict[str, Any]] = {
    'doccano': {'label': [[0, 9, 'PER'], [20, 28, 'LOC']], 'Comments': []},
    'doccano, older': {'labels': [[20, 28, 'LOC'], [0, 9, 'PER']]},
    'doccano, relations': {
        'entities': [
            {'id': 1, 'label': 'PER', 'start_offset': 0, 'end_offset': 9},
            {'id': 2, 'label': 'LOC', 'start_offset': 20, 'end_offset': 28},
        ],
        'relations': [],
    },
    'prodigy': {
        'tokens': [{'text': 'Anna', 'start': 0, 'end': 4, 'id': 0}],
        'spans': [
            {'start': 0, 'end': 9, 'token_start': 0, 'label': 'PER'},
            {'start': 20, 'end': 28, 'token_start': 5, 'label': 'LOC'},
        ],
    },
    'Label Studio': {
        'label': [
            {'start': 0, 'end': 9, 'text': 'Anna Lang', 'labels': ['PER']},
            {'start': 20, 'end': 28, 'text': 'New York', 'labels': ['LOC']},
        ]
    },
    'a space at the end': {'entities': [[0, 9, 'PER'], [19, 28, 'LOC']]},
}


def written(path: pathlib.Path, *records: dict[str, Any]) -> pathlib.Path:
    path.write_text(''.join(json.dumps(record) + '\n' for record in records))
    return path


@pytest.mark.parametrize('form', FORMS)
def test_the_forms_of_tools(tmp_path: pathlib.Path, form: str) -> None:
    path = written(tmp_path / 'a.jsonl', {'text': TEXT} | FORMS[form])
    summary = Summary()
    (sentence,) = conll.read(path, summary=summary)
    assert (sentence.words, sentence.tags) == (WORDS, TAGS)
    divided = 'words divided where an entity begins or ends (first: {}:1 {!r})'
    assert summary.lines() == {divided.format(path, "Lang's"): 2}
    assert "entities='" in summary.columns[str(path)]
    if form != 'prodigy':  # prediction reads the text alone
        (new,) = conll.iter_file(path, tagged=False)
        assert (new.words[:3], new.tags) == (['Anna', "Lang's", 'mill'], None)


def test_tables_lists_and_texts_without_entities(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'a.csv').write_text('text,label\nAnna left,"[(0, 4, \'PER\')]"\nHe left,\n')
    summary = Summary()
    found = [s.tags for s in conll.read(tmp_path / 'a.csv', summary=summary)]
    assert 'empty cells, read as no entities' in str(summary)
    assert found == [['B-PER', 'O'], ['O', 'O']]
    rows = [{'text': 'Anna left', 'label': [[0, 4, 'Job title']]}, {'text': 'He', 'label': []}]
    (tmp_path / 'a.json').write_text(json.dumps(rows))
    summary = Summary()
    assert [s.tags for s in conll.read(tmp_path / 'a.json', summary=summary)] == [
        ['B-Job_title', 'O'],
        ['O'],
    ]
    assert 'types of entities with spaces' in str(summary)


def test_an_entity_with_its_own_text(tmp_path: pathlib.Path) -> None:
    """Label Studio counts UTF-16 units, as JavaScript does."""
    entity = {'start': 11, 'end': 15, 'labels': ['PER'], 'text': 'Anna'}
    record = {'text': '\U0001f600' * 5 + ' Anna Otto left', 'label': [entity]}
    summary = Summary()
    (sentence,) = conll.read(written(tmp_path / 'a.jsonl', record), summary=summary)
    assert sentence.tags == [*'OOOOO', 'B-PER', 'O', 'O']
    assert 'entities whose positions count UTF-16 units, converted' in str(summary)
    entity['text'] = 'Emma'
    with pytest.raises(ValueError, match=r"is 'Otto', but its own text is 'Emma'"):
        conll.read(written(tmp_path / 'a.jsonl', record))


def test_scripts_without_spaces(tmp_path: pathlib.Path) -> None:
    record = {'text': '\u79c1\u306f\u6771\u4eac\u306b\u4f4f\u3080', 'label': [[2, 4, 'LOC']]}
    (sentence,) = conll.read(written(tmp_path / 'a.jsonl', record))
    assert sentence.words == ['\u79c1\u306f', '\u6771\u4eac', '\u306b\u4f4f\u3080']
    assert sentence.tags == ['O', 'B-LOC', 'O']


REFUSED: list[tuple[Any, str]] = [
    ([[0, 3, 'PER']], r"is 'Ann', which begins or ends inside the word 'Anna'"),
    ([[2, 4, 'PER']], r"is 'na', which begins or ends inside the word 'Anna'"),
    ([[5, 12, 'PER']], r'\[5, 12, .*\] of .* is not in the text, which has 9 characters'),
    ([[-4, 4, 'PER']], 'is not in the text'),
    ([[4, 0, 'PER']], 'is not in the text'),
    ([[0, 4, 'PER'], [0, 9, 'ORG']], 'overlaps the one before it; a word has one tag'),
    ([[4, 5, 'PER']], "has no word, only ' '"),
    ([[0, 4]], r'has \[0, 4\]; expected a list of \[start, end, type\]'),
    ([[0, 4.0, 'PER']], 'expected a list of'),
    ([['PER', 0, 4]], 'expected a list of'),
    ([[0, 4, ' ']], 'whose type is empty'),
    ([{'start': 0, 'label': 'PER'}], 'expected a list of'),
    ('PER', r"'label' is \"PER\"; expected a list of"),
    (None, r"'label' is null; expected a list of"),
]


@pytest.mark.parametrize(('value', 'message'), REFUSED)
def test_what_is_no_entity_is_refused(tmp_path: pathlib.Path, value: Any, message: str) -> None:
    fine = {'text': 'Anna left', 'label': [[0, 4, 'PER']]}
    path = written(tmp_path / 'a.jsonl', fine, {'text': 'Anna left', 'label': value})
    with pytest.raises(ValueError, match=rf'a\.jsonl:2: .*{message}'):
        conll.read(path)

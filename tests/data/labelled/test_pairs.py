"""Pairs of texts: what is wrong with a pair is named with file and line, in each format."""

import csv
import json
import pathlib
from typing import Any

import pytest

from bert_jax.data.labelled import pairs

GOOD = {'source': 'a film', 'target': 'un film'}
PLACES = {'.tsv': ':3', '.csv': ':3', '.jsonl': ':2', '.json': r': \[1\]'}
EMPTY = 'has an empty text in {!r}; fill it in or remove the line'
# A pair, and what is wrong with it in tables and in JSON; '' if such a table cannot be written.
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({'source': 'a', 'target': ''}, EMPTY.format('target'), EMPTY.format('target')),
    ({'source': '', 'target': 'b'}, EMPTY.format('source'), EMPTY.format('source')),
    ({'source': 'a', 'target': ' '}, EMPTY.format('target'), EMPTY.format('target')),
    ({'source': 'a'}, 'has 1 columns; expected 2', "has no column 'target'"),
    ({'target': 'b'}, '', "has no column 'source'"),
    ({'source': 'a', 'target': None}, '', "has no text in 'target'; add it or remove the row"),
    ({'source': None, 'target': 'b'}, '', "has null in 'source'; expected a string"),
    ({'source': 'a', 'target': 3}, '', "has 3 in 'target'; expected a string"),
    ({'source': ['a'], 'target': 'b'}, '', "'source'; expected a string"),
]
CASES = [
    (suffix, pair, said)
    for suffix in PLACES
    for pair, in_tables, in_json in BAD
    if (said := in_json if 'json' in suffix else in_tables)
]


def write(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == '.json':
        path.write_text(json.dumps(rows))
    elif path.suffix == '.jsonl':
        path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    else:
        with path.open('w', newline='') as file:
            table = csv.writer(file, delimiter='\t' if path.suffix == '.tsv' else ',')
            table.writerows([[*GOOD], *([*row.values()] for row in rows)])


@pytest.mark.parametrize(('suffix', 'pair', 'said'), CASES)
def test_a_bad_pair_is_named(
    tmp_path: pathlib.Path, suffix: str, pair: dict[str, Any], said: str
) -> None:
    path = tmp_path / f'a{suffix}'
    write(path, [GOOD, pair, GOOD])
    with pytest.raises(ValueError, match=f'{path}{PLACES[suffix]}.*{said}'):
        list(pairs.iter_file(path, 'source', 'target'))
    left_out: list[ValueError] = []
    found = list(pairs.iter_file(path, 'source', 'target', on_error=left_out.append))
    assert [x.parts for x in found] == [('a film', 'un film')] * 2
    assert len(left_out) == 1


@pytest.mark.parametrize('suffix', PLACES)
def test_other_columns(tmp_path: pathlib.Path, suffix: str) -> None:
    path = tmp_path / f'a{suffix}'
    write(path, [GOOD])
    with pytest.raises(ValueError, match=r"has no column 'text'.*config.data.source_field"):
        list(pairs.iter_file(path, 'text', 'target'))
    (pair,) = pairs.iter_file(path, 'target', 'source')
    assert pair.parts == ('un film', 'a film')


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('a.tsv', 'a film\tun film\n', r"a.tsv:1 has no column '.*source_field"),
        ('a.csv', 'source,target\n', 'a.csv has no examples'),
        ('a.jsonl', '', 'a.jsonl has no examples'),
        ('a.txt', 'a\n', r'a.txt: expected a name that ends in .csv'),
    ],
)
def test_a_file_without_pairs(
    tmp_path: pathlib.Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        list(pairs.iter_file(tmp_path / name, 'source', 'target'))

"""Bad rows in every kind of file: an error after the rows before it, or left out and reported."""

import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from bert_jax.data.labelled import conll, examples, squad


class Kind(NamedTuple):
    """name: the name of the file. good: four rows in the file's format. bad: maps rows that cannot
    be used to the error's text. place: the place of the error, after the file's name."""

    name: str
    read: Callable[..., Iterator[Any]]
    first: str
    good: list[str]
    bad: dict[str, str]
    last: str = ''
    between: str = ''


def texts(path: pathlib.Path, on_error: Any) -> Iterator[Any]:
    return examples.iter_file(path, columns=True, on_error=on_error)


def sentences(path: pathlib.Path, on_error: Any) -> Iterator[Any]:
    return conll.iter_file(path, tagged=False, columns=True, on_error=on_error)


def questions(path: pathlib.Path, on_error: Any) -> Iterator[Any]:
    return squad.iter_file(path, None, True, on_error)


def asked(i: int, **changes: Any) -> str:
    return json.dumps({'id': f'q{i}', 'question': 'who?', 'context': 'anna'} | changes) + '\n'


def nested(i: Any, **changes: Any) -> str:
    return json.dumps({'id': i, 'question': 'who?'} | changes)


NOT_JSON = {'{"tex\n': ':3.* is not JSON', '[1]\n': r':3 is \[1\]', '{"a": 1}\n': ':3'}
KINDS = [
    Kind(
        'a.csv',
        texts,
        'text,id\n',
        [f'good {i},{i}\n' for i in range(4)],
        {
            'one,2,3\n': ':4 has 3 columns',
            '" ",4\n': ':4 has an empty text',
            '"a"b,1\n': ':4 is not CSV',
        },
    ),
    Kind(
        'a.tsv',
        texts,
        'text\tid\n',
        [f'good {i}\t{i}\n' for i in range(4)],
        {
            'one\n': ':4 has 1 columns',
            '\t4\n': ':4 has an empty text',
            'caf\udce9\t1\n': ':4 is not UTF-8',
        },
    ),
    Kind(
        'a.jsonl',
        texts,
        '',
        [f'{{"text": "good {i}", "id": {i}}}\n' for i in range(4)],
        NOT_JSON | {'{"text": 3}\n': ':3 has 3', '{"text": "\udce9"}\n': ':3 is not UTF-8'},
    ),
    Kind(
        'a.jsonl',
        sentences,
        '',
        [f'{{"words": ["a", "{i}"], "id": {i}}}\n' for i in range(4)],
        NOT_JSON | {'{"words": [""]}\n': ':3 has an empty string'},
    ),
    Kind(
        'a.conll',
        sentences,
        '',
        [f'a x\n{i}b x\n\n' for i in range(4)],
        {'a x\nb x y\n\n': r':8 has 3 columns', 'a\n\n': ':7 has 1 columns'},
    ),
    Kind(
        'a.jsonl',
        questions,
        '',
        [asked(i) for i in range(4)],
        NOT_JSON | {asked(1): "has the 'id' of", asked(9, context=' '): "'context' is empty"},
    ),
    Kind(
        'a.json',
        questions,
        '{"data": [{"paragraphs": [{"context": "anna", "qas": [',
        [nested(f'q{i}') for i in range(4)],
        {
            '7': 'expected an object',
            nested([7]): r"'id' is \[7\]",
            nested('q1'): "has the 'id' of",
            nested('x', question=None): "'question' is None",
        },
        ']}]}]}',
        ', ',
    ),
]
CASES = [(kind, bad, message) for kind in KINDS for bad, message in kind.bad.items()]


def write(folder: pathlib.Path, kind: Kind, rows: list[str]) -> pathlib.Path:
    path = folder / kind.name
    content = kind.first + kind.between.join(rows) + kind.last
    path.write_bytes(content.encode('utf-8', 'surrogateescape'))
    return path


@pytest.mark.parametrize(('kind', 'bad', 'message'), CASES)
def test_a_bad_row(tmp_path: pathlib.Path, kind: Kind, bad: str, message: str) -> None:
    path = write(tmp_path, kind, [*kind.good[:2], bad, *kind.good[2:]])
    (tmp_path / 'good').mkdir()
    good = list(kind.read(write(tmp_path / 'good', kind, kind.good), None))
    read = kind.read(path, None)
    before = [next(read), next(read)]
    with pytest.raises(ValueError, match=rf'{path.name}.*{message}'):
        next(read)
    errors: list[ValueError] = []
    kept = list(kind.read(path, errors.append))
    assert len(errors) == 1 and path.name in str(errors[0])
    values = [[record.columns for record in records] for records in (before, kept, good)]
    assert values[1] == values[2] and values[0] == values[1][:2] and len(kept) == 4
    if kind.read is not sentences or kind.name == 'a.jsonl':
        assert all(values[1])


def test_a_file_that_is_wrong_as_a_whole_is_always_refused(tmp_path: pathlib.Path) -> None:
    errors: list[ValueError] = []
    for name, content in {'a.csv': 'txt\na\n', 'b.csv': '', 'c.txt': 'a', 'd.jsonl': ''}.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=name):
            list(texts(tmp_path / name, errors.append))
    assert not errors


@pytest.mark.parametrize(('name', 'row'), [('a.csv', '"",1\n'), ('a.jsonl', '{"text": ""}\n')])
def test_all_rows_may_be_left_out(tmp_path: pathlib.Path, name: str, row: str) -> None:
    """A file of bad rows alone does not end a command that has other files."""
    first = 'text,id\n' * name.endswith('.csv')
    (tmp_path / name).write_text(first + row)
    left_out = list[ValueError]()
    assert list(texts(tmp_path / name, left_out.append)) == [] and len(left_out) == 1

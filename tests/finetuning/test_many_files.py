"""Several files for one key: lists with commas, patterns and braces, for every task."""

import csv
import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
from small_task_data import make, written

from bert_jax.config import Config, DataConfig
from bert_jax.data import patterns
from bert_jax.preflight import paths

TEXTS = [{'text': f'the plot {i}', 'label': 'ab'[i % 2]} for i in range(6)]
SENTENCES = [{'words': ['anna', 'went'], 'tags': ['B-PER', 'O']} for _ in range(6)]
QUESTIONS: list[dict[str, Any]] = [
    {'question': 'who ?', 'context': f'anna went {i}', 'id': str(i)}
    | {'answers': [{'text': 'anna', 'answer_start': 0}]}
    for i in range(6)
]
PAIRS = [{'source': f'a {i}', 'target': 'the film'} for i in range(6)]
ROWS: dict[str, list[dict[str, Any]]] = {
    'text': TEXTS,
    'ner': SENTENCES,
    'squad': QUESTIONS,
    'translate': PAIRS,
}


def file(name: str, rows: list[dict[str, Any]]) -> str:
    """Writes the rows to a .jsonl, .csv or .conll file."""
    path = pathlib.Path(name)
    path.parent.mkdir(exist_ok=True)
    if path.suffix == '.conll':
        pairs = [zip(row['words'], row['tags'], strict=True) for row in rows]
        return written(path, '\n'.join(''.join(f'{w} {t}\n' for w, t in p) for p in pairs))
    if path.suffix == '.jsonl':
        return written(path, ''.join(json.dumps(row) + '\n' for row in rows))
    with path.open('w', newline='') as opened:
        table = csv.DictWriter(opened, [*rows[0]])
        table.writeheader()
        cells = [
            {k: v if isinstance(v, str) else json.dumps(v) for k, v in r.items()} for r in rows
        ]
        table.writerows(cells)
    return name


@pytest.fixture(autouse=True)
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ('task', 'suffix'),
    [('text', 'csv'), ('text', 'jsonl'), ('ner', 'conll'), ('ner', 'csv'), ('squad', 'jsonl'),
     ('squad', 'csv'), ('translate', 'csv')],
)  # fmt: skip
def test_several_files_are_read_as_one(task: str, suffix: str) -> None:
    if task == 'translate':
        pytest.importorskip('sacrebleu')
    rows = ROWS[task]
    whole, dev = file(f'whole.{suffix}', rows[:5]), file(f'dev.{suffix}', rows[5:])
    for name, part in (('1', rows[:2]), ('2', rows[2:4]), ('3,4', rows[4:5])):
        file(f'parts/{name}.{suffix}', part)
    one = make(task, train_file=whole, eval_file=dev)
    assert one.files == {}
    listed = f'parts/1.{suffix}, parts/2.{suffix},parts/3,4.{suffix}'
    for value in (f'parts/*.{suffix}', listed, f'parts/{{1,2,3,4}}.{suffix}'):
        if '{' in value:
            value = value.replace('3,4', '3*')
        data = make(task, train_file=value, eval_file=dev)
        assert data.train.fingerprint() == one.train.fingerprint()
        names = [f'parts/{name}.{suffix}' for name in ('1', '2', '3,4')]
        assert data.files == {'train_file': names, 'eval_file': [dev], 'test_file': []}
        assert data.summary.lines()['files (train)'] == 3


def test_what_is_held_out_of_several_files() -> None:
    train = file('parts/a.csv', TEXTS) + ',' + file('parts/b.csv', TEXTS[::-1])
    data = make('text', train_file='parts/*.csv', eval_share=0.5)
    assert data.note == '50% of all 2 files; config.data.eval_file is empty'
    assert (
        data.train.fingerprint()
        == make('text', train_file=train, eval_share=0.5).train.fingerprint()
    )
    again = make('text', train_file=f'{train},parts/a.csv', eval_share=0.5)
    assert again.summary.lines()['files that are given twice, read once (first: parts/a.csv)'] == 1
    assert again.train.fingerprint() == data.train.fingerprint()
    same = make('text', train_file='parts/a.csv', eval_file='parts/a.csv')
    assert 'from the file that is trained on' in same.rows


OTHERS: dict[str, tuple[str, str, list[dict[str, Any]], str]] = {
    # task, the name and the rows of the second file, the message
    'a column less': ('text', 'b.csv', [{'text': 'it'}], "b.csv has no column 'label', which a"),
    'a column more': ('text', 'b.csv', [{**TEXTS[0], 'x': '1'}], "b.csv has a column 'x', which a"),
    'pairs': ('text', 'b.jsonl', [{**TEXTS[0], 'text_b': 'a'}], "has a column 'text_b', which"),
    'the text': ('text', 'b.csv', [{'review': 'it', 'label': 'a'}], "b.csv:1 has no column 'text'"),
    'a label': ('text', 'b.csv', [{'text': 'it', 'label': ''}], 'b.csv:2 has no label'),
    'words': ('ner', 'b.csv', [{'tokens': ['it'], 'tags': ['O']}], "has no column 'words', which"),
    'columns': ('ner', 'b.conll', [{'words': ['it'], 'tags': ['NN O']}], "has a column 'column_3'"),
    'tags': ('ner', 'b.conll', [{'words': ['it'], 'tags': ['NN']}], r'b.conll:1 has the tag .NN.,'),
    'ids': ('squad', 'b.csv', QUESTIONS[1:2], r"b.csv:2 has the 'id' of a.csv:3; give"),
    'targets': ('translate', 'b.csv', [{'source': 'a'}], "b.csv.* 'target'"),
}  # fmt: skip


@pytest.mark.parametrize('kind', OTHERS)
def test_files_that_do_not_fit_together_are_named(kind: str) -> None:
    task, name, rows, message = OTHERS[kind]
    first = file(f'a.{"conll" if name.endswith("conll") else "csv"}', ROWS[task])
    with pytest.raises(ValueError, match=message):
        make(task, train_file=f'{first},{file(name, rows)}')


NOT_FILES = {
    'no/*.csv': r'config.data.train_file=no/\*.csv matches no file \(from /',
    'a.csv,no.csv': 'config.data.train_file=no.csv does not exist',
    'a.csv,': 'config.data.train_file=a.csv, has an empty name beside a comma',
    'parts': r'config.data.train_file=parts is a folder; name its files, for example parts/\*.csv',
}


@pytest.mark.parametrize('value', NOT_FILES)
def test_what_names_no_file_is_refused_at_the_start(value: str) -> None:
    file('a.csv', TEXTS)
    file('parts/a.csv', TEXTS)
    config = Config(data=DataConfig(task='text', train_file=value))
    with pytest.raises(ValueError, match=NOT_FILES[value]):
        paths.check(config, pathlib.Path('run'))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=NOT_FILES[value]):
        make('text', train_file=value)


@pytest.mark.parametrize('key', ['eval_file', 'test_file'])
def test_a_file_that_is_trained_on_is_not_scored(key: str) -> None:
    file('parts/a.csv', TEXTS), file('parts/b.csv', TEXTS)
    with pytest.raises(
        ValueError, match=f'parts/b.csv belongs to config.data.train_file and .*{key}'
    ):
        make('text', train_file='parts/*.csv', **{key: 'parts/b.csv'})


def test_files_of_which_some_have_no_tags() -> None:
    file('train.jsonl', SENTENCES)
    file('test/a.jsonl', SENTENCES)
    file('test/b.jsonl', [{**SENTENCES[0], 'tags': None}])
    data = make('ner', train_file='train.jsonl', eval_file='train.jsonl', test_file='test/*.jsonl')
    assert not data.tests[0].is_scored and len(data.tests[0].examples) == 7
    name = 'sentences without tags, so test is not scored (first: test/b.jsonl:1)'
    assert data.summary.lines()[name] == 1


@pytest.mark.parametrize('value', ['a,b*.txt', 'a,b[1].txt'])
def test_a_path_that_exists_is_no_list(value: str) -> None:
    written(pathlib.Path(value), 'a')
    written(pathlib.Path('c.txt'), 'a')
    assert patterns.split(value) == [value]
    assert patterns.split(f'c.txt,{value},{{d,e}}.txt') == ['c.txt', value, 'd.txt', 'e.txt']


@pytest.mark.parametrize('kind', ['texts', 'questions'])
def test_several_files_are_predicted(
    folders: dict[str, pathlib.Path],
    run_predict: Callable[..., tuple[int, str, str]],
    kind: str,
) -> None:
    rows = TEXTS if kind == 'texts' else QUESTIONS
    name = 'text' if kind == 'texts' else 'id'
    more = [{**row, name: f'more {row[name]}'} for row in rows]
    file('a.jsonl', rows), file('b.jsonl', more)
    model = f'--checkpoint={folders[kind]}'
    for value, expected in {'b.jsonl,a.jsonl': more + rows, '?.jsonl': rows + more}.items():
        code, _, said = run_predict(model, f'--input={value}', '--output=out.csv')
        assert code == 0, said
        with pathlib.Path('out.csv').open() as opened:
            found = [row[name] for row in csv.DictReader(opened)]
        assert found == [row[name] for row in expected]
        assert said.count('a.jsonl: ') == said.count('b.jsonl: ') == 1
        pathlib.Path('out.csv').unlink()
    mistakes = {'a.jsonl,no': '--input=no does not exist', 'a.jsonl,.': '--input=. is a folder'}
    if kind == 'questions':
        mistakes['a.jsonl,a.jsonl'] = "has the 'id' of a.jsonl:1"
    for value, message in mistakes.items():
        code, _, said = run_predict(model, f'--input={value}')
        assert code == 2 and message in said, said

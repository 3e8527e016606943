"""Files of every task that are divided by a column, which says train, dev or test."""

import csv
import json
import pathlib

import pytest
import small_task_data
import small_tasks
from small_task_data import write_rows

FOLDS = ['train'] * 4 + ['dev'] * 2 + ['test']


def _split_files(folder: pathlib.Path) -> dict[str, tuple[str, str]]:
    """Maps names to (task, file). Each file has seven examples with a column `fold`."""
    sentences = [(['anna', 'went', 'it'][: 2 + i % 2], fold) for i, fold in enumerate(FOLDS)]
    tagged = [
        {'words': w, 'tags': ['B-PER', *['O'] * (len(w) - 1)], 'fold': f} for w, f in sentences
    ]
    lists = [
        {**row, 'words': ' '.join(row['words']), 'tags': ' '.join(row['tags'])} for row in tagged
    ]
    by_word = [
        {'word': word, 'tag': tag, 'n': n, 'fold': '' if i else row['fold']}
        for n, row in enumerate(tagged)
        for i, (word, tag) in enumerate(zip(row['words'], row['tags'], strict=True))
    ]
    by_word = [{**row, 'sentence': row.pop('n')} for row in by_word]
    asked = [
        {'question': 'who ?', 'context': f'anna went {i}', 'answer_text': 'anna', 'fold': fold}
        for i, fold in enumerate(FOLDS)
    ]
    answers = [
        {'question': 'who ?', 'context': row['context'], 'fold': row['fold']}
        | {'answers': [{'text': 'anna', 'answer_start': 0}]}
        for row in asked
    ]
    pairs = [{'source': f'a {i}', 'target': 'the film', 'fold': f} for i, f in enumerate(FOLDS)]
    files = {
        'a.jsonl': ('ner', tagged),
        'b.csv': ('ner', lists),
        'c.csv': ('ner', by_word),
        'd.jsonl': ('squad', answers),
        'e.csv': ('squad', asked),
        'f.csv': ('translate', pairs),
    }
    return {name: (task, write_rows(folder / name, rows)) for name, (task, rows) in files.items()}


@pytest.mark.parametrize('name', ['a.jsonl', 'b.csv', 'c.csv', 'd.jsonl', 'e.csv', 'f.csv'])
def test_a_column_says_the_split_of_other_tasks(tmp_path: pathlib.Path, name: str) -> None:
    task, file = _split_files(tmp_path)[name]
    if task == 'translate':
        pytest.importorskip('sacrebleu')
    data = small_task_data.make(task, train_file=file, split_field='fold')
    assert (len(data.train), len(data.eval.rows), len(data.tests[0].rows)) == (4, 2, 1)
    assert data.note == f"the column 'fold' of {name}"
    with pytest.raises(ValueError, match=r"has no column 'other', it has \["):
        small_task_data.make(task, train_file=file, split_field='other')


@pytest.mark.parametrize('name', ['a.jsonl', 'b.csv', 'c.csv', 'e.csv', 'f.csv'])
def test_rows_to_predict_need_no_labels(tmp_path: pathlib.Path, name: str) -> None:
    task, file = _split_files(tmp_path)[name]
    if task == 'translate':
        pytest.importorskip('sacrebleu')
    path = pathlib.Path(file)
    with path.open() as opened:
        is_json = path.suffix == '.jsonl'
        rows = [json.loads(line) for line in opened] if is_json else [*csv.DictReader(opened)]
    keys = ('tags', 'tag', 'answer_text', 'target')
    key, empty = next(key for key in keys if key in rows[0]), None if is_json else ''
    sizes = {'train': 4, 'dev': 2, 'test': 1}

    def without(*splits: str) -> str:
        split, changed = '', []
        for row in rows:
            split = row['fold'] or split  # a row for each word has it once
            changed.append({**row, key: empty if split in splits else row[key]})
        return write_rows(path, changed)

    data = small_task_data.make(task, train_file=without('test'), split_field='fold')
    found = (len(data.train), len(data.eval.rows), len(data.tests[0].rows))
    assert found == tuple(sizes.values()) and not data.tests[0].is_scored
    for split in ('train', 'dev') if task != 'squad' else ():
        message = rf"{name}:\d+ is for {split}, but it has no .* write 'test' in the column 'fold'"
        with pytest.raises(ValueError, match=message):
            small_task_data.make(task, train_file=without(split), split_field='fold')


def test_files_without_columns_have_no_column_of_splits(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'a.conll').write_text('anna train B-PER\nwent train O\n\nit dev O\n')
    with pytest.raises(ValueError, match=r"a.conll:1 has no column 'fold', it has \['column_2'"):
        small_task_data.make('ner', train_file=str(tmp_path / 'a.conll'), split_field='fold')
    content = 'word fold tag\nanna train B-PER\nwent train O\n\nit dev O\n'
    (tmp_path / 'b.conll').write_text(content)
    data = small_task_data.make('ner', train_file=str(tmp_path / 'b.conll'), split_field='fold')
    assert (len(data.train), len(data.eval.rows)) == (1, 1)
    file = small_tasks.write_questions(tmp_path / 'a.json', 3, 0, False)
    with pytest.raises(ValueError, match=r"has no column 'fold', it has \['question', 'context'\]"):
        small_task_data.make('squad', train_file=str(file), split_field='fold')

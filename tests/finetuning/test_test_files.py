"""Test files of fine-tuning: their predictions, their scores, and the placeholders of labels."""

import json
import pathlib

import numpy as np
import pytest
import small_tasks
from etils import epath
from small_task_data import make, written


@pytest.mark.parametrize('impossible', [False, True])
def test_answers_to_a_test_file(tmp_path: pathlib.Path, impossible: bool) -> None:
    """A test file may have no right answers."""
    files = [
        str(small_tasks.write_questions(tmp_path / f'{name}.json', 9, 0, impossible))
        for name in ('train', 'dev', 'test')
    ]
    content = json.loads(pathlib.Path(files[2]).read_text())
    for paragraph in content['data'][0]['paragraphs']:
        del paragraph['qas'][0]['answers']
        paragraph['qas'][0].pop('is_impossible', None)
    written(tmp_path / 'test.json', json.dumps(content))
    job = make('squad', **dict(zip(('train_file', 'eval_file', 'test_file'), files, strict=True)))
    test = job.tests[0]
    assert not test.is_scored
    logits = np.zeros((len(test.rows), 16), np.float32)
    decoded = job.processor.decode(test, {'start_logits': logits, 'end_logits': logits})
    job.processor.write(test, decoded, epath.Path(tmp_path))
    assert len(json.loads((tmp_path / 'test' / 'predictions.json').read_text())) == 9
    assert (tmp_path / 'test' / 'null_odds.json').exists() == impossible
    assert not (tmp_path / 'predictions.json').exists()


def test_a_test_file_that_can_not_be_submitted_is_found_first(tmp_path: pathlib.Path) -> None:
    for split, rows in {'train': '\t1', 'dev': '\t0', 'test': ''}.items():
        first = 'sentence1\tsentence2' + '\tlabel' * bool(rows)
        written(tmp_path / f'{split}.tsv', f'{first}\na film\tthe plot{rows}\n')
    with pytest.raises(ValueError, match=r'1 examples of wnli test; .* each of its 146'):
        make('wnli', dir=str(tmp_path))
    (tmp_path / 'test.tsv').unlink()
    job = make('wnli', dir=str(tmp_path))
    assert job.tests == []
    assert 'test files that are missing: wnli test gets no predictions: 1' in str(job.summary)


def test_a_test_file_with_labels_is_scored(tmp_path: pathlib.Path) -> None:
    texts = str(small_tasks.write_texts(tmp_path / 'a.jsonl', 9, 0))
    tags = str(small_tasks.write_tags(tmp_path / 'a.conll', 9, 0))
    asked = str(small_tasks.write_questions(tmp_path / 'a.json', 9, 0, False))
    names = ('logits', 'tags', 'start_logits', 'end_logits')
    for task, file in (('text', texts), ('ner', tags), ('squad', asked)):
        job = make(task, train_file=file, eval_file=file, test_file=file)
        found = dict.fromkeys(names, np.zeros((len(job.eval.rows), 16), np.int32))
        assert job.eval.is_scored and job.tests[0].is_scored
        decoded = job.processor.decode(job.eval, found)
        assert job.processor.score(job.tests[0], decoded) == job.processor.score(job.eval, decoded)


def test_what_test_files_have_instead_of_labels(tmp_path: pathlib.Path) -> None:
    train = written(tmp_path / 'train.conll', 'anna\tB-PER\nwent\tO\n')
    words = written(tmp_path / 'words.conll', 'anna\nwent\n')
    others = written(tmp_path / 'others.conll', 'anna NNP\nwent VBD\n')
    none = written(tmp_path / 'none.conll', 'anna\t_\nwent\t_\n')
    some = written(tmp_path / 'some.conll', 'anna\tB-PER\nwent\t?\n')
    for file, counted in (
        (words, {}),
        (none, {f'sentences with placeholders for tags, read without tags (first: {none}:1)': 1}),
        (some, {f'sentences with placeholders for tags, read without tags (first: {some}:1)': 1}),
        (others, {f'test files without a known tag, not scored (first: {others})': 1}),
    ):
        job = make('ner', train_file=train, eval_file=train, test_file=file)
        assert not job.tests[0].is_scored
        assert job.summary.lines() == counted | {'sentences to train on, their tags read as BIO': 1}
    texts = written(tmp_path / 'train.csv', 'text,label\na film,good\nthe plot,bad\n')
    bare = written(tmp_path / 'bare.csv', 'text\na film\n')
    assert (
        make('text', train_file=texts, eval_file=texts, test_file=bare).tests[0].is_scored is False
    )
    for labels in ('?', '0', '-1', 'good\na plot,', 'good\na plot,?'):
        odd = written(tmp_path / 'odd.csv', f'text,label\na film,{labels}\n')
        job = make('text', train_file=texts, eval_file=texts, test_file=odd)
        line = 3 if '\n' in labels else 2
        name = f'test files with rows without a known label, not scored (first: {odd}:{line})'
        assert not job.tests[0].is_scored and job.summary.lines()[name] == 1


@pytest.mark.parametrize('impossible', [False, True])
def test_a_test_file_of_the_other_version_is_not_scored(
    tmp_path: pathlib.Path, impossible: bool
) -> None:
    write = small_tasks.write_questions
    train = str(write(tmp_path / 'train.json', 9, 0, impossible))
    other = write(tmp_path / 'other.json', 9, 1, not impossible)
    content = json.loads(other.read_text())
    if impossible:  # a 2.0 file without its answers
        content['version'] = 'v2.0'
        for paragraph in content['data'][0]['paragraphs']:
            paragraph['qas'][0]['answers'] = []
    test = written(other, json.dumps(content))
    job = make('squad', train_file=train, eval_file=train, test_file=test)
    assert not job.tests[0].is_scored
    assert job.summary.lines()[f'test files that cannot be scored (first: {test})'] == 1

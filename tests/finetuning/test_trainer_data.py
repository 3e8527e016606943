"""Options of fine-tuning that concern its data and scores; nothing is trained here."""

import json
import pathlib
import random
from typing import Any

import numpy as np
import pytest
import small_tasks
from small_task_data import make, write_rows

from bert_jax import api
from bert_jax.config import Config, DataConfig, validate
from bert_jax.finetuning import baseline
from bert_jax.finetuning.classification import MultiLabelProcessor


def test_label_sets_of_tables_are_those_of_jsonl(tmp_path: pathlib.Path) -> None:
    rng = random.Random(0)
    pairs = [(f'the plot {i}', [x for x in 'abc' if rng.random() < 0.4]) for i in range(40)]
    lists = write_rows(tmp_path / 'a.jsonl', [{'text': t, 'label': x} for t, x in pairs])
    cells = write_rows(tmp_path / 'a.csv', [{'text': t, 'label': ' | '.join(x)} for t, x in pairs])
    one, other = (
        make('text', train_file=file, eval_file=file, multi_label=True, label_separator='|')
        for file in (lists, cells)
    )
    assert one.train.fingerprint() == other.train.fingerprint()
    assert one.processor.facts == other.processor.facts
    assert one.processor.facts.labels == ('a', 'b', 'c') and one.processor.facts.multi_label
    without = sum(not found for _, found in pairs)
    assert one.summary.lines()['texts without labels (train)'] == without > 0
    batch = one.train.batch(np.arange(3), 4, 16)
    assert batch['label_targets'].shape == (4, 3) and not batch['label_targets'][3].any()
    wrong = write_rows(tmp_path / 'b.jsonl', [{'text': 'it', 'label': 'good'}])
    with pytest.raises(ValueError, match=r"b.jsonl:1 has 'good' in 'label'; expected a list"):
        make('text', train_file=wrong, multi_label=True)


def test_the_baseline_of_label_sets(tmp_path: pathlib.Path) -> None:
    rows = [{'text': 'it', 'label': x} for x in (['a', 'b'], ['a'], ['a', 'c'])]
    file = write_rows(tmp_path / 'a.jsonl', rows)
    found = baseline.of(make('text', train_file=file, eval_file=file, multi_label=True))
    assert (found.name, found.value) == ('micro_f1', pytest.approx(2 * 3 / (3 + 5)))
    rare = write_rows(tmp_path / 'b.jsonl', [*rows[:1], *[{'text': 'it', 'label': []}] * 3])
    found = baseline.of(make('text', train_file=rare, eval_file=rare, multi_label=True))
    assert found.meaning == 'if every text has the label a alone' and 0 < found.value < 1


def test_class_weights_are_in_the_rows_to_train_on(tmp_path: pathlib.Path) -> None:
    rows = [{'text': f'it {i}', 'label': label} for i, label in enumerate('aaab')]
    file = write_rows(tmp_path / 'a.jsonl', rows)
    data = make('text', train_file=file, eval_file=file, class_weights='balanced')
    np.testing.assert_allclose(data.train.labels['example_weights'], [2 / 3] * 3 + [2])
    assert 'example_weights' not in data.eval.rows.labels
    batch = data.train.batch(np.arange(4), 5, 16)
    np.testing.assert_allclose(batch['example_weights'], [2 / 3] * 3 + [2, 0])
    assert baseline.of(data).value == 0.75, 'weights do not change scores'
    plain = make('text', train_file=file, eval_file=file)
    assert plain.train.fingerprint() != data.train.fingerprint(), 'it is another run'

    words = {'words': ['it', 'anna', 'went'], 'tags': ['O', 'B-PER', 'O']}
    tags = write_rows(tmp_path / 'b.jsonl', [words])
    data = make('ner', train_file=tags, eval_file=tags, class_weights='B-PER=5')
    assert [w for w in data.train.labels['label_weights'].tolist() if w] == [1, 5, 1]
    assert {*data.eval.rows.labels['label_weights'].tolist()} == {0, 1}

    sets = [{'text': 'it', 'label': x} for x in (['a'], ['a', 'b'], [], ['a'])]
    file = write_rows(tmp_path / 'c.jsonl', sets)
    data = make('text', train_file=file, eval_file=file, class_weights='balanced', multi_label=True)
    assert isinstance(data.processor, MultiLabelProcessor)
    np.testing.assert_allclose(data.processor.task.positive_weights, [1 / 3, 3])


def test_class_weights_need_labels(tmp_path: pathlib.Path) -> None:
    file = write_rows(
        tmp_path / 'a.jsonl', [{'text': 'it', 'label': 1.5}, {'text': 'a', 'label': 2}]
    )
    with pytest.raises(ValueError, match='this task has no labels; remove it'):
        make('text', train_file=file, eval_file=file, regression=True, class_weights='balanced')


@pytest.mark.parametrize('suffix', ['jsonl', 'csv'])
def test_a_column_says_the_split(tmp_path: pathlib.Path, suffix: str) -> None:
    rows = [
        {'text': f'the plot {i}', 'label': 'ab'[i % 2], 'fold': fold}
        for i, fold in enumerate(['train'] * 20 + ['Dev'] * 4 + ['test'] * 3)
    ]
    file = write_rows(tmp_path / f'a.{suffix}', rows)
    data = make('text', train_file=file, split_field='fold')
    assert (len(data.train), len(data.eval.rows), len(data.tests[0].rows)) == (20, 4, 3)
    assert data.note == f"the column 'fold' of a.{suffix}" and data.tests[0].is_scored
    for row in rows[-3:]:
        row['label'] = ''
    file = write_rows(tmp_path / f'b.{suffix}', [*rows[:20], *rows[-3:]])
    data = make('text', train_file=file, split_field='fold')
    assert not data.tests[0].is_scored, 'its labels are not known'
    assert (len(data.train), len(data.eval.rows)) == (18, 2)
    assert data.note.startswith(f'a tenth of the rows to train on in b.{suffix}')


def test_names_of_numbers(tmp_path: pathlib.Path) -> None:
    rows = [{'text': f'the plot {i}', 'label': i % 2} for i in range(20)]
    file = write_rows(tmp_path / 'a.jsonl', rows)
    test = write_rows(tmp_path / 'test.jsonl', [{'text': 'the film', 'label': -1}])
    data = make('text', train_file=file, test_file=test, label_names='pos,neg')
    assert data.processor.facts.labels == ('neg', 'pos') and not data.tests[0].is_scored
    first = data.eval.examples[0]
    assert first.label == ('pos', 'neg')[int(first.text.rsplit()[-1]) % 2]
    file = write_rows(tmp_path / 'b.jsonl', [{**row, 'label': [row['label']]} for row in rows])
    data = make('text', train_file=file, multi_label=True, label_names='pos,neg')
    assert data.processor.facts.labels == ('neg', 'pos')
    with pytest.raises(ValueError, match=r"b\.jsonl:2 has '1'; expected a number from 0 to 0"):
        make('text', train_file=file, multi_label=True, label_names='pos')


def test_the_share_that_is_held_out(tmp_path: pathlib.Path) -> None:
    file = small_tasks.write_texts(tmp_path / 'a.jsonl', 200, 0, most=30)
    counts = [
        len(make('text', train_file=str(file), eval_share=share).eval.rows)
        for share in (0.1, 0.25, 0.5)
    ]
    assert counts == [pytest.approx(n, abs=4) for n in (20, 50, 100)]
    data = make('text', train_file=str(file), eval_share=0.25)
    assert data.note == '25% of a.jsonl; config.data.eval_file is empty'


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        ({'regression': True, 'multi_label': True}, 'data.regression is True; expected False'),
        (
            {'regression': True, 'label_names': 'a,b'},
            'label_names is .*; expected empty',
        ),
        ({'split_field': 'fold', 'eval_file': 'x'}, 'expected empty because data.eval_file is'),
        ({'label_separator': ''}, 'data.label_separator'),
        ({'eval_share': 1.0}, r'data.eval_share is 1.0; expected more than 0, less than 1'),
    ],
)
def test_settings_that_do_not_fit_together(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validate(Config(data=DataConfig(task='text', **data)))


SCORES = {  # the kind of the task, its settings, and the names in the message
    'labels': ('text', {}, 'accuracy, macro_f1, matthews, score, f1/LABEL, loss'),
    'label sets': ('text', {'multi_label': True}, 'micro_f1, macro_f1, .*, f1/LABEL, loss'),
    'numbers': ('text', {'regression': True}, 'pearson, spearman, mse, score, loss'),
    'tags': ('ner', {}, 'precision, recall, f1, .*, f1/PER, score, loss'),
    'questions': ('squad', {}, '.*f1, .*loss'),
}


@pytest.mark.parametrize('kind', SCORES)
def test_a_wrong_main_score_is_answered_with_the_names(tmp_path: pathlib.Path, kind: str) -> None:
    task, data, names = SCORES[kind]
    path = tmp_path / 'a.jsonl'
    if task == 'ner':
        file = write_rows(path, [{'words': ['anna', 'went'], 'tags': ['B-PER', 'O']}])
    elif task == 'squad':
        file = str(small_tasks.write_questions(tmp_path / 'a.json', 4, 0, False))
    else:
        values = {'labels': 'ab', 'label sets': [['a'], []], 'numbers': [1, 2]}[kind]
        file = write_rows(path, [{'text': 'it', 'label': value} for value in values])
    files = {'train_file': file, 'eval_file': file}
    message = f"main_score is 'f2'; the scores of this task are {names}"
    with pytest.raises(ValueError, match=message):
        baseline.of(make(task, {'main_score': 'f2'}, **data | files))
    loss = baseline.of(make(task, {'main_score': 'loss'}, **data | files))
    assert loss == baseline.of(make(task, **data | files)), 'a loss has no baseline'


def test_the_baseline_of_a_chosen_score(tmp_path: pathlib.Path) -> None:
    rows = [{'text': 'it', 'label': label} for label in 'aab']
    file = write_rows(tmp_path / 'a.jsonl', rows)
    found = baseline.of(make('text', {'main_score': 'f1/a'}, train_file=file, eval_file=file))
    assert (found.name, found.value) == ('f1/a', pytest.approx(0.8))
    lower = baseline.Baseline('mse', 0.5, 'if every prediction is 0')
    assert baseline.advice(lower, 0.4, 9) == '' and 'not below' in baseline.advice(lower, 0.6, 9)


LISTS: dict[str, tuple[Any, Any, dict, dict]] = {  # texts, labels -> settings, the first record
    'labels': (['a film'], ['good'], {}, {'text': 'a film', 'label': 'good'}),
    'numbers as names': (['a film'], [np.int64(3)], {}, {'text': 'a film', 'label': 3}),
    'pairs': ([('a', 'b')], ['x'], {}, {'text': 'a', 'text_b': 'b', 'label': 'x'}),
    'numbers': (['a'], np.array([0.5]), {'regression': True}, {'text': 'a', 'label': 0.5}),
    'label sets': (['a'], [{'y', 'x'}], {'multi_label': True}, {'text': 'a', 'label': ['x', 'y']}),
    'tags': ([['a', 'b']], [('O', 'B-x')], {}, {'words': ['a', 'b'], 'tags': ['O', 'B-x']}),
}


@pytest.mark.parametrize('kind', LISTS)
def test_lists_become_files(tmp_path: pathlib.Path, kind: str) -> None:
    texts, labels, data, record = LISTS[kind]
    config = api.configure(texts, labels, tmp_path, (texts, labels), {'train.epochs': 5.0})
    assert config.data.task == ('ner' if kind == 'tags' else 'text') and config.train.epochs == 5
    assert {key: getattr(config.data, key) for key in data} == data
    for file in (config.data.train_file, config.data.eval_file):
        assert json.loads(pathlib.Path(file).read_text()) == record


@pytest.mark.parametrize(
    ('texts', 'labels', 'settings', 'message'),
    [
        (['a'], ['x', 'y'], {}, '1 texts and 2 labels'),
        ([], [], {}, 'at least one'),
        ('a', ['x'], {}, 'not one string'),
        ([1], ['x'], {}, r'texts\[0\] is 1; expected a string'),
        (['a', ' '], ['x', 'y'], {}, r"texts\[1\] is ' '; expected a string"),
        ([('a', 1)], ['x'], {}, r"texts\[0\] is \('a', 1\); expected a string"),
        ([['a', None]], [['O', 'O']], {}, r'texts\[0\] has the word None; expected a string'),
        (['a', 'b'], ['x', None], {}, r'^labels\[1\] is None; expected a string or a number'),
        (['a', 'b'], [0.5, np.nan], {}, r'^labels\[1\] is nan; expected'),
        (['a', 'b'], ['x', ''], {}, r"^labels\[1\] is ''; expected"),
        (['a'], [['x', None]], {}, r"^labels\[0\] is \['x', None\]; expected strings"),
        (['a'], ['x'], {'config.train.epochs': 1}, r"without 'config.': 'train.epochs'"),
        (['a', 'b'], ['x', ['y']], {}, r'labels of texts\[1\] are .*; give lists for all texts or'),
        (['a'], ['x'], {'optim.lr': 1.0}, 'config.optim.lr'),
        (['a', 'b'], ['x', 'y'], {'eval.num_beams': 5}, 'beams=5 has no effect: .*=translate'),
        (['a'], ['x'], {'train.epochs': 'many'}, 'config.train.epochs'),
    ],
)
def test_wrong_lists_are_refused(
    tmp_path: pathlib.Path, texts: Any, labels: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        api.configure(texts, labels, tmp_path / 'w', None, settings)
    assert not (tmp_path / 'w').exists()

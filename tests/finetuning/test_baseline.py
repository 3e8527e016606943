"""The baseline of every kind of task, and training files without a file to evaluate on."""

import dataclasses
import pathlib
from typing import Any

import pytest
import small_tasks
from etils import epath
from small_task_data import write_rows

from bert_jax.config import Config, TrainConfig
from bert_jax.config.data import FILE_TASKS
from bert_jax.finetuning.runs import FineTuning
from bert_jax.preflight.resolve import resolve

LABELS = {'train': 'aab', 'dev': 'abbb'}  # the most frequent label of train is right once in four
NUMBERS = {'train': [1.0, 2.0, 6.0], 'dev': [1.0, 2.0]}
TAGS = {'train': ['O', 'O', 'B-X'], 'dev': ['O', 'O', 'O', 'B-X']}
WORDS = {'train': ['NOUN', 'NOUN', 'VERB'], 'dev': ['NOUN', 'VERB', 'VERB']}


def texts(labels: dict[str, Any], **more: Any) -> tuple[str, dict[str, Any], dict[str, list[dict]]]:
    rows = {
        split: [{'text': f'the plot {i}', 'label': label} for i, label in enumerate(values)]
        for split, values in labels.items()
    }
    return 'text', more, rows


def words(tags: dict[str, list[str]]) -> tuple[str, dict[str, Any], dict[str, list[dict]]]:
    return 'ner', {}, {s: [{'words': ['it'] * len(t), 'tags': t}] for s, t in tags.items()}


def questions(impossible: bool) -> tuple[str, dict[str, Any], dict[str, list[dict]]]:
    answer = {
        'question': 'who ?',
        'context': 'anna went',
        'answers': [{'text': 'anna', 'answer_start': 0}],
    }
    none = {'question': 'what ?', 'context': 'anna went', 'answers': [], 'is_impossible': True}
    rows = [answer, answer, none] if impossible else [answer]
    data = {'max_seq_length': 32, 'max_query_length': 4, 'doc_stride': 8}
    return 'squad', data, {'train': rows, 'dev': rows}


def translations() -> tuple[str, dict[str, Any], dict[str, list[dict]]]:
    rows = [{'source': 'the plot was good', 'target': 'the plot was good'}]
    return 'translate', {}, {'train': rows, 'dev': rows}


# name -> the files, and the baseline: the name of the score, its value, and what is predicted
KINDS: dict[str, tuple[Any, tuple[str, float, str]]] = {
    'labels': (texts(LABELS), ('accuracy', 0.25, 'if every label is a')),
    'numbers': (texts(NUMBERS, regression=True), ('pearson', 0.0, 'if every prediction is 3')),
    'entities': (words(TAGS), ('f1', 0.0, 'if every tag is O')),
    'parts of speech': (words(WORDS), ('accuracy', 1 / 3, 'if every tag is NOUN')),
    'questions': (questions(False), ('f1', 200 / 3, 'if every answer is the whole text')),
    'translations': (translations(), ('bleu', 100.0, 'if every text is copied')),
    'questions 2.0': (questions(True), ('f1', 100 / 3, 'if no question has an answer')),
}


def resolved(config: Config, workdir: pathlib.Path) -> FineTuning:
    found = resolve(config, epath.Path(workdir))
    assert isinstance(found, FineTuning)
    return found


def test_every_kind_of_task_is_here() -> None:
    tasks = {files[0] for files, _ in KINDS.values()}
    assert tasks == {*FILE_TASKS}


@pytest.mark.parametrize('kind', KINDS)
def test_the_baseline(tmp_path: pathlib.Path, source: pathlib.Path, kind: str) -> None:
    (task, data, rows), (name, value, meaning) = KINDS[kind]
    files = {
        'train_file': write_rows(tmp_path / 'train.jsonl', rows['train']),
        'eval_file': write_rows(tmp_path / 'dev.jsonl', rows['dev']),
    }
    runs = resolved(small_tasks.configured(source, task, data=data | files), tmp_path / 'w')
    baseline = runs.baselines[task]
    assert (baseline.name, baseline.value) == (name, pytest.approx(value))
    assert meaning in baseline.meaning
    (run,) = runs.runs()
    assert run.start_lines['baseline'] == f'{name} {value:.3f} {baseline.meaning}'
    assert run.data_info['baseline']['value'] == baseline.value, 'plots read it'


def test_the_baseline_of_glue(tmp_path: pathlib.Path, source: pathlib.Path) -> None:
    """Its score is GLUE's main score. A constant has no correlation, so it is 0 for CoLA."""
    (tmp_path / 'CoLA').mkdir()
    lines = ''.join(f'x\t{int(i % 3 > 0)}\t\tthe plot {i}\n' for i in range(9))
    for split in ('train', 'dev'):
        (tmp_path / 'CoLA' / f'{split}.tsv').write_text(lines)
    config = small_tasks.configured(source, 'cola', data={'dir': str(tmp_path)})
    baseline = resolved(config, tmp_path / 'w').baselines['cola']
    assert (baseline.name, baseline.value) == ('matthews', 0.0)


@pytest.mark.parametrize('task', ['text', 'ner', 'squad'])
def test_a_tenth_is_held_out(tmp_path: pathlib.Path, source: pathlib.Path, task: str) -> None:
    """All seeds have the same rows, and a line says the number of rows."""
    path = tmp_path / f'train.{"jsonl" if task == "text" else "conll" if task == "ner" else "json"}'
    if task == 'text':
        small_tasks.write_texts(path, 100, 0)
    elif task == 'ner':
        small_tasks.write_tags(path, 100, 0)
    else:
        small_tasks.write_questions(path, 100, 0, True)
    data = {'train_file': str(path), 'max_query_length': 4, 'doc_stride': 8}
    config = small_tasks.configured(source, task, data=data, train={'seeds': 2})
    first, second = resolved(config, tmp_path / 'w').runs()
    assert (
        f'held out (a tenth of {path.name}; config.data.eval_file is empty)'
        in first.start_lines['data']
    )
    assert first.data_info == second.data_info
    other = dataclasses.replace(config, data=dataclasses.replace(config.data, seed=7))
    loaded, again = (resolved(c, tmp_path / 'w').datasets[task] for c in (config, other))
    assert loaded.eval.examples == again.eval.examples
    assert 5 <= len(loaded.eval.examples) <= 15
    assert loaded.eval.is_scored
    if task == 'text':
        assert len(loaded.eval.examples) + len(loaded.train) == 100
        assert 'files' not in first.data_info and first.data_info['name'] == f'text, {path}'
        data = dataclasses.replace(config.data, train_file=f'{tmp_path}/*.jsonl')
        (run, _) = resolved(dataclasses.replace(config, data=data), tmp_path / 'w').runs()
        assert run.data_info['files']['train_file'] == [str(path)]
        assert run.data_info['name'] == f'text, {tmp_path}/*.jsonl (1 file)'
        assert run.data_info['fingerprint'] == first.data_info['fingerprint']


@pytest.mark.parametrize(
    ('epochs', 'log_every', 'expected'),
    [(3.0, 100, 1), (10.0, 100, 5), (100.0, 100, 50), (1000.0, 100, 100), (100.0, 7, 7)],
)
def test_a_short_run_reports_at_least_twenty_times(
    epochs: float, log_every: int, expected: int
) -> None:
    """The configuration does not change, and pretraining is not affected."""
    from bert_jax.config import DataConfig, Phase

    steps = int(epochs * 10)
    train = TrainConfig(phases=(Phase(steps, 16, 8, 1),), log_every=log_every)
    config = Config(data=DataConfig(task='text'), train=train)
    assert config.log_every == expected and config.train.log_every == log_every
    assert steps // config.log_every >= 20
    assert Config(train=train).log_every == log_every

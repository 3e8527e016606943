"""The official files: real ones where there are some, else written here in their layout."""

import csv
import subprocess
import sys

import numpy as np
import pytest

from bert_jax.config.data import GLUE_TASKS
from bert_jax.data.labelled import glue
from bert_jax.data.labelled.examples import Example
from bert_jax.data.labelled.labels import label_ids, label_names, label_values
from bert_jax.data.summary import Summary

REAL = ('cola', 'sst2', 'mrpc', 'stsb', 'rte')
# The first lines of the official files.
MNLI = (
    'index promptID pairID genre sentence1_binary_parse sentence2_binary_parse sentence1_parse '
    'sentence2_parse sentence1 sentence2'
)
COLA = 'source label original_label sentence'  # does not stand in the file
STSB = 'index genre filename year old_index source1 source2 sentence1 sentence2'
HEADERS = {
    'cola': {'train': COLA, 'dev': COLA, 'test': 'index sentence'},
    'sst2': {'train': 'sentence label', 'dev': 'sentence label', 'test': 'index sentence'},
    'mrpc': {
        'train': '\ufeffQuality,#1 ID,#2 ID,#1 String,#2 String',
        'dev': 'Quality,#1 ID,#2 ID,#1 String,#2 String',
        'test': '\ufeffindex,#1 ID,#2 ID,#1 String,#2 String',
    },
    'stsb': {'train': f'{STSB} score', 'dev': f'{STSB} score', 'test': STSB},
    'qqp': {
        'train': 'id qid1 qid2 question1 question2 is_duplicate',
        'dev': 'id qid1 qid2 question1 question2 is_duplicate',
        'test': 'id question1 question2',
    },
    'mnli': {
        'train': f'{MNLI} label1 gold_label',
        'dev_matched': f'{MNLI} label1 label2 label3 label4 label5 gold_label',
        'dev_mismatched': f'{MNLI} label1 label2 label3 label4 label5 gold_label',
        'test_matched': MNLI,
        'test_mismatched': MNLI,
    },
    'qnli': {
        'train': 'index question sentence label',
        'dev': 'index question sentence label',
        'test': 'index question sentence',
    },
    'rte': {
        'train': 'index sentence1 sentence2 label',
        'dev': 'index sentence1 sentence2 label',
        'test': 'index sentence1 sentence2',
    },
    'wnli': {
        'train': 'index sentence1 sentence2 label',
        'dev': 'index sentence1 sentence2 label',
        'test': 'index sentence1 sentence2',
    },
    'ax': {'test': 'index sentence1 sentence2'},
}
SPLITS = [(task, split) for task, headers in HEADERS.items() for split in headers]
QUOTES = ('"Bare quote', 'He said "hi')  # MRPC and STS-B have such


def columns(task, split):
    header = HEADERS[task][split]
    return header.split(',' if ',' in header else None)


def made(task, split, number=5):
    """Rows of the official layout, and what is to be read of them, in the same order."""
    spec, rows, wanted = glue.TASKS[task], [], []
    for i in range(number):
        texts = [f'{split} {i} {column} {QUOTES[i % 2]}' for column in spec.texts]
        label = f'{i * 0.75:.3f}' if not spec.labels else spec.labels[i % len(spec.labels)]
        known = {'index': str(i), 'id': str(i), spec.label: label}
        known |= dict(zip(spec.texts, texts, strict=True))
        rows.append([known.get(name.strip('\ufeff'), f'x{i}') for name in columns(task, split)])
        texts.append(None)
        wanted.append((texts[0], texts[1], None if split.startswith('test') else label))
    return rows, wanted


def put(directory, task, split, rows=None):
    """The file in the task's folder below `directory`."""
    rows = made(task, split)[0] if rows is None else rows
    name = 'diagnostic' if task == 'ax' else split
    path = directory / glue.TASKS[task].folder / f'{name}.tsv'
    path.parent.mkdir(exist_ok=True)
    header = [] if HEADERS[task][split] == COLA else [columns(task, split)]
    path.write_bytes('\n'.join('\t'.join(row) for row in [*header, *rows]).encode())
    return path


@pytest.mark.parametrize('task, split', SPLITS)
def test_the_layout_of_every_file(tmp_path, task, split):
    path = put(tmp_path, task, split)
    examples = glue.read(task, tmp_path, split)
    assert [e[:3] for e in examples] == made(task, split)[1]
    first = 1 if HEADERS[task][split] == COLA else 2
    assert [e.where for e in examples] == [f'{path}:{i}' for i in range(first, first + 5)]
    assert glue.read(task, path.parent, split) == examples


def test_columns_are_found_by_name(tmp_path):
    path = tmp_path / 'train.tsv'
    path.write_text('label\tindex\tnew\tsentence2\tsentence1\r\nentailment\t0\tx\tB\tA\r\n')
    assert glue.read('rte', tmp_path, 'train') == [Example('A', 'B', 'entailment', f'{path}:2')]


@pytest.mark.parametrize('task', REAL)
@pytest.mark.parametrize('split', ['train', 'dev'])
def test_real_files_are_whole(shared_data, task, split):
    spec, directory = glue.TASKS[task], shared_data('glue')
    summary = Summary()
    examples = glue.read(task, directory, split, summary)
    assert not summary.counts and len(examples) == spec.splits[split]
    assert examples == glue.read(task, shared_data(f'glue/{spec.folder}'), split)
    for example in examples:
        path, _, number = example.where.rpartition(':')
        assert path == f'{directory}/{spec.folder}/{split}.tsv' and int(number) > 0
        assert bool(example.text_b) == (len(spec.texts) == 2)
    if not spec.labels:
        values = label_values(examples)
        assert values.min() == 0 and values.max() == 5 and 2 < values.mean() < 3
    else:
        assert label_names(examples) == sorted(spec.labels)
        assert label_ids(examples, spec.labels).max() == 1


def test_real_texts_and_labels_are_those_of_another_parser(shared_data):
    """The other parser is Python's csv module, with columns by their places."""
    places = {
        'cola': (3, 1),
        'sst2': (0, 1),
        'mrpc': (3, 4, 0),
        'stsb': (7, 8, 9),
        'rte': (1, 2, 3),
    }
    for task, at in places.items():
        path = shared_data(f'glue/{glue.TASKS[task].folder}/dev.tsv')
        with path.open(newline='') as file:
            rows = list(csv.reader(file, delimiter='\t', quoting=csv.QUOTE_NONE))
        wanted = [[row[i].strip() for i in at] for row in rows[task != 'cola' :]]
        found = glue.read(task, path.parent, 'dev')
        assert [[part for part in example[:3] if part is not None] for example in found] == wanted


def test_halves_of_lines_are_counted(tmp_path):
    rows = made('qqp', 'train')[0]
    rows[1:1] = [['9', '1', '2', '"'], ['Is it?', '0']]
    path = put(tmp_path, 'qqp', 'train', rows)
    summary = Summary()
    examples = glue.read('qqp', tmp_path, 'train', summary)
    assert [e[:3] for e in examples] == made('qqp', 'train')[1]
    assert [e.where for e in examples] == [f'{path}:{i}' for i in (2, 5, 6, 7, 8)]
    assert summary.counts[glue.ODD_LINES] == 2
    assert summary.first[glue.ODD_LINES] == f'{path}:3'
    assert summary.counts['examples missing from the official qqp train'] == 363_841


def test_a_test_file_is_read_whole_or_not_at_all(tmp_path):
    rows = made('qqp', 'test')[0]
    rows[1] = ['1', '', 'Is it?']  # Quora has a few of these
    rows[2].append('a text with a tab')
    put(tmp_path, 'qqp', 'test', rows)
    summary = Summary()
    assert len(glue.read('qqp', tmp_path, 'test', summary)) == 5
    assert summary.counts['examples with an empty text, kept'] == 1
    assert summary.counts[glue.LONG_LINES] == 1
    rows[3].pop()
    path = put(tmp_path, 'qqp', 'test', rows)
    with pytest.raises(ValueError, match=rf'{path}:5 has 2 columns; expected 3'):
        glue.read('qqp', tmp_path, 'test')


def test_the_diagnostic_set_lies_beside_the_folder_of_mnli(tmp_path):
    path = put(tmp_path, 'ax', 'test')
    (tmp_path / 'MNLI').mkdir()
    assert glue.find('ax', tmp_path / 'MNLI', 'test') == path


def test_mistakes_are_named(tmp_path):
    path = put(tmp_path, 'rte', 'train', [['0', 'a', 'b', 'yes']])
    with pytest.raises(ValueError, match=rf"{path}:2 has the label 'yes'; expected one of entail"):
        glue.read('rte', tmp_path, 'train')
    for score in ('5.2', '-1', 'nan', 'good'):
        path = put(tmp_path, 'stsb', 'train', [[*'01234567', 'b', score]])
        with pytest.raises(ValueError, match=rf"{path}:2 has the score '{score}'; expected a num"):
            glue.read('stsb', tmp_path, 'train')
    path = put(tmp_path, 'rte', 'dev', [])
    with pytest.raises(
        ValueError, match=rf'{path} has no examples of rte dev: at most a line of column names'
    ):
        glue.read('rte', tmp_path, 'dev')
    with pytest.raises(ValueError, match=rf"{path}:1 has no column 'question', it has \['index'"):
        glue.read('qnli', tmp_path / 'RTE', 'dev')
    with pytest.raises(
        ValueError, match=r'SST-2/train\.tsv has no examples of cola train: .*left out'
    ):
        glue.read('cola', put(tmp_path, 'sst2', 'train').parent, 'train')
    with pytest.raises(ValueError, match=rf'expected {tmp_path}/SST-2/dev\.tsv or {tmp_path}/dev'):
        glue.read('sst2', tmp_path, 'dev')


def test_the_tasks_are_whole():
    metrics = ('accuracy', 'f1', 'macro_f1', 'matthews', 'pearson', 'spearman')
    assert tuple(glue.TASKS) == (*GLUE_TASKS, 'ax')  # ax has no training set
    for name, task in glue.TASKS.items():
        assert task.name == name and 0 < len(task.metrics) <= 2 and set(task.metrics) <= {*metrics}
        assert len(task.texts) == len(task.tfds_texts or task.texts) in (1, 2)
        assert set(task.submissions) <= set(task.test_splits)
        assert (not task.labels) == (name == 'stsb')


ONE_FILE = ['CoLA.tsv', 'SST-2.tsv', 'MRPC.tsv', 'STS-B.tsv', 'QQP.tsv']
NLI_FILES = ['MNLI-m.tsv', 'MNLI-mm.tsv', 'QNLI.tsv', 'RTE.tsv', 'WNLI.tsv', 'AX.tsv']
FILES = ONE_FILE + NLI_FILES  # as the leaderboard names them
SUBMITTED = [(name, split) for name, task in glue.TASKS.items() for split in task.test_splits]


@pytest.mark.parametrize('task, split', SUBMITTED)
def test_submissions(tmp_path, task, split):
    spec = glue.TASKS[task]
    number = spec.splits[split]
    if not spec.labels:
        predictions = np.full(number, 2.5, np.float32)
        predictions[:3] = (-0.25, 3.14159, 5.01)
        wanted = ['0.000', '3.142', '5.000', '2.500']
    else:
        predictions = np.arange(number) % len(spec.labels)
        wanted = list(spec.labels)
    path = glue.write_submission(task, predictions, tmp_path / 'new', split)
    assert path == tmp_path / 'new' / FILES[SUBMITTED.index((task, split))]
    lines = path.read_text().split('\n')
    assert lines[0] == 'index\tprediction' and lines[-1] == '' and len(lines) == number + 2
    assert lines[1 : len(wanted) + 1] == [f'{i}\t{name}' for i, name in enumerate(wanted)]
    assert lines[-2].startswith(f'{number - 1}\t')


def test_predictions_that_can_not_be_submitted(tmp_path):
    ids = np.zeros(146, np.int32)
    with pytest.raises(ValueError, match=r'145 examples of wnli test; .* each of its 146'):
        glue.write_submission('wnli', ids[1:], tmp_path)
    with pytest.raises(ValueError, match='stsb are not all finite'):
        glue.write_submission('stsb', np.full(1379, np.nan), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('task', ['cola', 'stsb', 'qqp', 'mnli', 'qnli', 'ax'])
def test_tfds_gives_the_same(tmp_path, monkeypatch, task):
    """The builder of TFDS parses official files, which are written here instead of downloaded."""
    tfds = pytest.importorskip('tensorflow_datasets')
    paths = {split: put(tmp_path, task, split) for split in glue.TASKS[task].splits}
    manager = tfds.download.DownloadManager
    monkeypatch.setattr(manager, 'download_and_extract', lambda *_: str(tmp_path))
    monkeypatch.setattr(manager, 'download', lambda *_: str(paths['test']))
    for split in paths:
        summary = Summary()
        examples = glue.read_tfds(task, split, str(tmp_path), summary)
        (counted,) = summary.lines()
        assert counted.startswith(f'examples missing from the official {task} {split} (first: tf')
        assert [e[:3] for e in examples] == made(task, split)[1]
        theirs = split.replace('dev', 'validation')
        assert examples[1].where == f'tfds:glue/{task}:{theirs}[1]'


def test_tfds_that_can_not_be_had(tmp_path, monkeypatch):
    tfds = pytest.importorskip('tensorflow_datasets')

    def offline(*_):
        raise OSError('no network\nand more')

    monkeypatch.setattr(tfds.download.DownloadManager, 'download_and_extract', offline)
    with pytest.raises(ValueError, match=r'TFDS cannot load glue/rte \(OSError: no network\)$'):
        glue.read_tfds('rte', 'dev', str(tmp_path))


def test_reading_and_scoring_need_no_framework():
    code = (
        'import sys; from bert_jax.finetuning import official_scores, squad_scores; '
        'from bert_jax.data.labelled import examples, glue; '
        "print(sorted({'tensorflow', 'jax', 'flax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == '[]\n'

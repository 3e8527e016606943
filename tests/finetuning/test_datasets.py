"""Fine-tuning reads the files of a task; nothing is trained here."""

import dataclasses
import json
import pathlib
import types
from typing import Any

import jax
import numpy as np
import pytest
import small_tasks
from etils import epath
from small_task_data import VOCABULARY, make, written

from bert_jax.config import Config, DataConfig, TrainConfig
from bert_jax.config.data import FILE_TASKS, GLUE_TASKS
from bert_jax.data.labelled import glue
from bert_jax.data.labelled.texts import REPLACED
from bert_jax.finetuning import class_report, datasets, runs
from bert_jax.finetuning.datasets import check_files
from bert_jax.finetuning.task_data import TaskFacts
from bert_jax.models.heads import TASK_HEADS
from bert_jax.parallel.signals import Stopper


def test_jsonl_is_trained_on_like_the_files_of_the_tasks(tmp_path: pathlib.Path) -> None:
    """The formats that predictions read: the same rows and labels."""
    tags = small_tasks.write_tags(tmp_path / 'a.conll', 9, 0)
    blocks = [
        [x.split('\t') for x in b.split('\n')] for b in tags.read_text().strip().split('\n\n')
    ]
    records: list[Any] = [
        dict(zip(('words', 'tags'), zip(*b, strict=True), strict=True)) for b in blocks
    ]
    words = written(tmp_path / 'a.jsonl', '\n'.join(map(json.dumps, records)))
    asked = small_tasks.write_questions(tmp_path / 'b.json', 9, 0, True)
    (article,) = json.loads(asked.read_text())['data']
    records = [{'context': p['context'], **p['qas'][0]} for p in article['paragraphs']]
    questions = written(tmp_path / 'b.jsonl', '\n'.join(map(json.dumps, records)))
    for task, usual, lines in (('ner', str(tags), words), ('squad', str(asked), questions)):
        one, other = (make(task, train_file=f, eval_file=f, test_file=f) for f in (usual, lines))
        assert one.train.fingerprint() == other.train.fingerprint()
        assert one.eval.rows.fingerprint() == other.eval.rows.fingerprint()
        assert one.processor.facts == other.processor.facts and other.tests[0].is_scored


def test_what_is_odd_about_texts_is_counted(tmp_path: pathlib.Path) -> None:
    lines = ['text,label', 'a film,pos', 'a film,neg', 'Ünder,Pos', '\u200b,neg', 'it [SEP],pos']
    train = written(tmp_path / 'a.csv', '\n'.join([*lines, 'it was \ufffd bad,neg']))
    job = make('text', train_file=train, eval_file=train)
    assert job.summary.lines() == {
        f'texts that occur before with another label (first: {train}:3)': 1,
        f"labels that may mean the same: 'Pos' and 'pos' (first: {train})": 1,
        f'texts of unknown tokens alone (first: {train}:4)': 2,
        f'texts without a token (first: {train}:5)': 2,
        f'texts of which more than half is unknown tokens (first: {train}:6)': 2,
        f'texts with the name of a special token, read as characters (first: {train}:6)': 2,
        f'{REPLACED} (first: {train}:7)': 2,
    }
    assert job.summary.columns == {train: "text='text', label='label'"}
    copy = written(tmp_path / 'b.csv', 'text,label\na film,pos\na plot,neg\n')
    lines = make('text', train_file=train, eval_file=copy).summary.lines()
    assert lines[f'texts to evaluate on that are also trained on (first: {copy}:2)'] == 1


def test_every_task_of_the_table_has_a_processor() -> None:
    assert set(datasets.PROCESSORS) == {*TASK_HEADS}
    for head, processor in datasets.PROCESSORS.items():
        facts = TaskFacts(('O', 'B-x'))
        config = Config(model=small_tasks.MODEL)
        made = datasets.processor_for(('pooler', head), config, VOCABULARY, facts)
        assert isinstance(made, processor) and head in made.task.heads
    with pytest.raises(ValueError, match='no task head, only pooler; fine-tune it first'):
        datasets.processor_for(('pooler',), Config(), VOCABULARY, TaskFacts())


def test_what_is_odd_about_tags_is_counted(tmp_path: pathlib.Path) -> None:
    train = written(tmp_path / 'train.conll', 'anna\tB-PER\nwent\tO\n')
    dev = written(tmp_path / 'dev.conll', 'anna B-PER\n\u200b O\nbert B-LOC\n' + 'it O\n' * 20)
    assert make('ner', train_file=train, eval_file=dev).summary.lines() == {
        'sentences to train on, their tags read as BIO': 1,
        f"words that the tokenizer drops, tagged O (first: {dev}:1 '\\u200b')": 1,
        f"words with the unknown tag 'B-LOC', scored as wrong (first: {dev}:1 'bert')": 1,
        f'sentences in several windows (first: {dev}:1)': 1,
    }


def test_questions_that_can_not_be_scored_are_found_first(tmp_path: pathlib.Path) -> None:
    train = small_tasks.write_questions(tmp_path / 'train.json', 9, 0, False)
    text = train.read_text().replace('"answers": [{"text"', '"none": [{"text"')
    dev = written(tmp_path / 'dev.json', text)
    with pytest.raises(ValueError, match=r"dev.json: data\[0\].* has no 'answers' to score by"):
        make('squad', train_file=str(train), eval_file=dev)
    with pytest.raises(ValueError, match=r'no rows for the split train; .*: .*without a known an'):
        make('squad', train_file=dev, eval_file=str(train))


def test_what_is_written_may_go_to_a_bucket(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With path objects of the standard library, a folder named gs: would be made here."""
    made: list[str] = []
    bucket = epath.Path('gs://bucket/run')
    for method in ('mkdir', 'write_text', 'write_bytes'):
        note = lambda path, *_, **__: made.append(str(path))  # noqa: E731
        monkeypatch.setattr(type(bucket), method, note)
    texts = str(small_tasks.write_texts(tmp_path / 'a.jsonl', 9, 0))
    tags = str(small_tasks.write_tags(tmp_path / 'a.conll', 9, 0))
    asked = str(small_tasks.write_questions(tmp_path / 'a.json', 9, 0, False))
    for task, file in (('text', texts), ('ner', tags), ('squad', asked)):
        job = make(task, train_file=file, eval_file=file, test_file=file)
        (test,) = job.tests
        names = ('logits', 'tags', 'start_logits', 'end_logits')
        decoded = job.processor.decode(
            test, dict.fromkeys(names, np.zeros((len(test.rows), 16), np.int32))
        )
        job.processor.write(test, decoded, bucket)
    glue.write_submission('wnli', np.zeros(146, np.int32), bucket)
    assert len(made) == 7 and all(path.startswith('gs://bucket/run') for path in made), made


@pytest.mark.parametrize(
    'data, message',
    [
        ({'task': 'rte'}, 'config.data.dir is empty'),
        ({'task': 'ner'}, "config.data.train_file is empty; the task 'ner' needs one"),
        ({'task': 'cola,rte', 'dir': 'glue'}, r'no rte dev: expected glue/RTE/dev.tsv'),
    ],
)
def test_mistakes_are_found_before_the_first_task_is_trained(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, data: dict[str, str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ('CoLA/train', 'CoLA/dev', 'RTE/train'):
        (tmp_path / 'glue' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'glue' / f'{name}.tsv').touch()
    with pytest.raises(ValueError, match=message):
        check_files(DataConfig(**data))
    check_files(DataConfig(task='cola', dir='glue'))
    check_files(DataConfig(task='all', dir='tfds'))


def test_the_table_has_the_tasks_of_the_configuration() -> None:
    assert set(datasets.KINDS) == {*FILE_TASKS}
    assert DataConfig(task='all').tasks == GLUE_TASKS
    assert DataConfig(task='rte,cola').tasks == ('rte', 'cola')


@pytest.mark.parametrize('best', [False, True])
def test_the_predictions_in_a_workdir_are_of_the_kept_parameters(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, best: bool
) -> None:
    """The last evaluation leaves its own, which may not be those of the best epoch."""
    tags = str(small_tasks.write_tags(tmp_path / 'a.conll', 9, 0))
    job = make('ner', train_file=tags, eval_file=tags, test_file=tags)
    written: dict[str, str] = {}
    processor = types.SimpleNamespace(
        writes_eval=True,
        has_classes=True,
        task=job.processor.task,
        decode=lambda split, outputs: outputs['of'],
        score=lambda split, decoded: {'f1': 0.5},
        write=lambda split, decoded, folder: written.update({split.name: decoded}),
        report=lambda split, decoded: {'classes': decoded},
    )
    job = dataclasses.replace(job, processor=processor)
    config = Config(train=TrainConfig(best=best))
    run: Any = types.SimpleNamespace(config=config, task=None, workdir=epath.Path(tmp_path))
    params = jax.numpy.float32(0)
    monkeypatch.setattr(runs, 'load_params', lambda workdir, abstract: 'best')
    monkeypatch.setattr(runs, 'predict', lambda config, task, params, rows: {'of': params})
    assert runs._predict(run, job, params, Stopper()) == {'test_f1': 0.5}
    assert written == ({'eval': 'best', 'test': 'best'} if best else {'test': params})
    assert class_report.read(epath.Path(tmp_path)) == ({'classes': 'best'} if best else {})


def glue_folder(folder: pathlib.Path, splits: dict[str, str]) -> str:
    folder.mkdir()
    for split, text in splits.items():
        (folder / f'{split}.tsv').write_text(text)
    return str(folder)


def test_scores_of_glue(tmp_path: pathlib.Path) -> None:
    """MNLI's two dev sets apart, MRPC's two scores, STS-B's two correlations."""
    header = 'sentence1\tsentence2\tgold_label\n'
    three = [f'a film\tthe plot\t{label}\n' for label in ('entailment', 'neutral', 'neutral')]
    texts = header + ''.join(three)
    splits = {'train': texts, 'dev_matched': texts, 'dev_mismatched': header + three[0]}
    job = make('mnli', dir=glue_folder(tmp_path / 'mnli', splits))
    assert job.processor.facts.labels[:2] == ('entailment', 'neutral')
    decoded = job.processor.decode(job.eval, {'logits': np.eye(3)[[0, 1, 0, 2]]})
    found = job.processor.score(job.eval, decoded)
    assert found['accuracy_matched'] == pytest.approx(2 / 3) and found['accuracy_mismatched'] == 0
    assert found['score'] == pytest.approx(1 / 3)

    lines = 'Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n' + ''.join(
        f'{label}\t1\t2\ta film\tthe plot\n' for label in (1, 1, 1, 0)
    )
    job = make('mrpc', dir=glue_folder(tmp_path / 'mrpc', {'train': lines, 'dev': lines}))
    assert job.processor.facts.pairs
    found = job.processor.score(job.eval, np.array([1, 1, 0, 1]))
    assert found['accuracy'] == 0.5 and found['f1'] == pytest.approx(2 / 3)
    assert found['score'] == pytest.approx((0.5 + 2 / 3) / 2)

    lines = 'sentence1\tsentence2\tscore\n' + ''.join(
        f'a film\tthe plot\t{score}\n' for score in (0.0, 1.0, 2.0, 5.0)
    )
    job = make('stsb', dir=glue_folder(tmp_path / 'stsb', {'train': lines, 'dev': lines}))
    assert job.processor.facts.labels == ()
    found = job.processor.score(
        job.eval, job.processor.decode(job.eval, {'values': np.array([0.1, 0.2, 0.4, 0.3])})
    )
    truth, given = np.array([0.0, 1.0, 2.0, 5.0]), np.array([0.1, 0.2, 0.4, 0.3])
    assert found['pearson'] == pytest.approx(np.corrcoef(truth, given)[0, 1])
    assert found['spearman'] == pytest.approx(0.8)
    assert found['score'] == pytest.approx((found['pearson'] + 0.8) / 2)


def test_one_kind_of_texts(tmp_path: pathlib.Path) -> None:
    single = written(tmp_path / 'a.csv', 'text,label\na film,good\nthe plot,bad\n')
    pairs = written(tmp_path / 'b.csv', 'text,text_b,label\na film,it,good\nthe plot,it,bad\n')
    for train, dev, said in ((single, pairs, 'a'), (pairs, single, 'no')):
        with pytest.raises(ValueError, match=rf'{dev}:2 has {said} second text, unlike'):
            make('text', train_file=train, eval_file=dev)
    assert make('text', train_file=pairs, eval_file=pairs, test_file=pairs).processor.facts.pairs


def test_one_label_is_nothing_to_learn(tmp_path: pathlib.Path) -> None:
    tags = written(tmp_path / 'a.conll', 'anna O\n')
    with pytest.raises(ValueError, match=r'a.conll has no tag but O'):
        make('ner', train_file=tags, eval_file=tags)
    file = written(tmp_path / 'a.csv', 'text,label\na film,good\nthe plot,good\n')
    with pytest.raises(ValueError, match=r"a.csv has no label but 'good'; expected two labels"):
        make('text', train_file=file, eval_file=file)


@pytest.mark.parametrize(
    ('head', 'pairs', 'flags'),
    [
        ('classifier', False, "--text='...'"),
        ('classifier', True, "--text='...' --text_b='...'"),
        ('tagger', None, "--text='...'"),
        ('span', None, "--text='...' --context='...'"),
    ],
)
def test_the_command_for_one_example(head: str, pairs: bool | None, flags: str) -> None:
    facts = TaskFacts(('a', 'b'), pairs)
    processor = datasets.processor_for((head,), Config(), VOCABULARY, facts)
    assert ' '.join(processor.example_flags) == flags

"""Fine-tuning from files to scores, predictions and results, on tasks that a tiny model learns."""

import dataclasses
import json
import pathlib
import random
import signal
import subprocess
import sys
import time
import types
from typing import Any

import numpy as np
import pytest
import small_run
import small_tasks
from etils import epath

from bert_jax.config import Config, MeshConfig
from bert_jax.config.errors import Interrupted
from bert_jax.finetuning import predictions, runs, settings
from bert_jax.inference import model_dir
from bert_jax.inference.trained_model import Bert, load
from bert_jax.preflight.resolve import resolve

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('one_device')]


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return small_tasks.pretrained_folder(tmp_path_factory.mktemp('source') / 'tiny')


@pytest.fixture
def texts(tmp_path: pathlib.Path) -> dict[str, Any]:
    train = small_tasks.write_texts(tmp_path / 'train.jsonl', 200, 0)
    held_out = small_tasks.write_texts(tmp_path / 'dev.jsonl', 50, 1)
    return {'train_file': str(train), 'eval_file': str(held_out)}


def fine_tune(config: Config, workdir: epath.Path) -> None:
    resolve(config, workdir).run()


def results(workdir: pathlib.Path) -> dict[str, Any]:
    return json.loads((workdir / 'results.json').read_text())


def said(workdir: pathlib.Path, file: pathlib.Path) -> list[dict[str, Any]]:
    return list(predictions.records(load(workdir), file))


def test_own_texts(tmp_path: pathlib.Path, source: pathlib.Path, texts: dict) -> None:
    test = small_tasks.write_texts(tmp_path / 'test.jsonl', 30, 2)
    config = small_tasks.configured(source, 'text', data=texts | {'test_file': str(test)})
    fine_tune(config, epath.Path(tmp_path / 'w'))
    assert results(tmp_path / 'w')['mean']['accuracy'] == 1
    assert results(tmp_path / 'w')['mean']['test_accuracy'] == 1
    truth = [json.loads(line)['label'] for line in test.read_text().splitlines()]
    lines = (tmp_path / 'w' / 'test_predictions.jsonl').read_text().splitlines()
    assert [json.loads(line)['label'] for line in lines] == truth
    found = said(tmp_path / 'w', test)
    assert [record['label'] for record in found] == truth
    assert all(sum(r['probabilities'].values()) == pytest.approx(1) for r in found)
    evals = [m for m in small_run.metrics(tmp_path / 'w') if m['split'] == 'eval']
    assert [line['step'] for line in evals] == [13, 26, 39, 52, 65, 78]  # ceil(200 / 16) an epoch


@pytest.mark.parametrize(('warmup_steps', 'expected'), [(0, 2), (7, 7)])
def test_epochs_as_steps(warmup_steps: int, expected: int) -> None:
    """Warm-up is a part of them, where it is not said in steps."""
    config = small_tasks.configured(pathlib.Path('none'), 'text', train={'epochs': 3.0})
    optim = dataclasses.replace(config.optim, warmup_steps=warmup_steps, warmup_fraction=0.1)
    job: Any = types.SimpleNamespace(train=range(100))  # 7 batches of 16
    found = settings.with_steps(dataclasses.replace(config, optim=optim), job)
    assert (found.num_steps, found.optim.warmup_steps) == (21, expected)
    assert found.train.eval_every == found.train.checkpoint_every == 7


def test_a_regression(tmp_path: pathlib.Path, source: pathlib.Path, texts: dict) -> None:
    for name in texts.values():
        path = pathlib.Path(name)
        path.write_text(path.read_text().replace('"pos"', '1.5').replace('"neg"', '-0.5'))
    data = texts | {'regression': True, 'test_file': texts['eval_file']}
    config = small_tasks.configured(source, 'text', data=data)
    fine_tune(config, epath.Path(tmp_path / 'w'))
    assert results(tmp_path / 'w')['mean']['pearson'] > 0.99
    values = [r['value'] for r in said(tmp_path / 'w', pathlib.Path(texts['eval_file']))]
    lines = pathlib.Path(texts['eval_file']).read_text().splitlines()
    truth = [json.loads(line)['label'] for line in lines]
    np.testing.assert_allclose(values, truth, atol=0.3)
    written = (tmp_path / 'w' / 'test_predictions.jsonl').read_text().splitlines()
    np.testing.assert_allclose([json.loads(x)['value'] for x in written], values, atol=1e-4)


def test_tags(tmp_path: pathlib.Path, source: pathlib.Path) -> None:
    files = {
        'train_file': str(small_tasks.write_tags(tmp_path / 'train.conll', 200, 0)),
        'eval_file': str(small_tasks.write_tags(tmp_path / 'dev.conll', 50, 1)),
        'test_file': str(small_tasks.write_tags(tmp_path / 'test.conll', 20, 2)),
    }
    config = small_tasks.configured(source, 'ner', data=files)
    fine_tune(config, epath.Path(tmp_path / 'w'))
    assert results(tmp_path / 'w')['mean']['f1'] == 1
    for written, file in (('predictions', 'dev'), ('test_predictions', 'test')):
        there = (tmp_path / 'w' / f'{written}.conll').read_text()
        assert there == (tmp_path / f'{file}.conll').read_text()
    found = said(tmp_path / 'w', tmp_path / 'test.conll')
    words, tags, probabilities = found[0].values()
    assert len(probabilities) == len(words) and all(0.5 < p <= 1 for p in probabilities)
    block = '\n'.join(f'{w}\t{t}' for w, t in zip(words, tags, strict=True))
    assert (tmp_path / 'test.conll').read_text().startswith(block + '\n\n')


def test_tasks_of_glue(tmp_path: pathlib.Path, source: pathlib.Path) -> None:
    """Two, in one table, with a submission; the second's mistakes are found before the first is
    trained."""
    for folder in ('RTE', 'WNLI'):
        (tmp_path / folder).mkdir()
        for split, count in (('train', 40), ('dev', 12), ('test', 146 if folder == 'WNLI' else 0)):
            texts = small_tasks.write_texts(tmp_path / 'texts', count, len(split))
            lines = map(json.loads, texts.read_text().splitlines())
            names = ('not_entailment', 'entailment') if folder == 'RTE' else ('0', '1')
            rows = ['sentence1\tsentence2' + '\tlabel' * (split != 'test')]
            for line in lines:
                label = names[line['label'] == 'pos']
                rows.append(f'{line["text"]}\tit was' + f'\t{label}' * (split != 'test'))
            if count:
                (tmp_path / folder / f'{split}.tsv').write_text('\n'.join(rows) + '\n')
    data = {'dir': str(tmp_path), 'max_seq_length': 32}
    config = small_tasks.configured(source, 'rte,wnli', data=data, train={'epochs': 1.0})
    label = (tmp_path / 'WNLI' / 'train.tsv').read_text()
    (tmp_path / 'WNLI' / 'train.tsv').write_text(label + 'a film\tthe plot\tyes\n')
    with pytest.raises(ValueError, match=r"train.tsv:42 has the label 'yes'"):
        fine_tune(config, epath.Path(tmp_path / 'w'))
    assert not (tmp_path / 'w').exists()
    (tmp_path / 'WNLI' / 'train.tsv').write_text(label)
    fine_tune(config, epath.Path(tmp_path / 'w'))
    scores = [results(tmp_path / 'w' / name)['mean']['score'] for name in ('rte', 'wnli')]
    table = json.loads((tmp_path / 'w' / 'glue.json').read_text())
    assert [row['score'] for row in table['tasks'].values()] == scores
    assert table['average'] == scores[0], 'without WNLI'
    assert '| rte |' in (tmp_path / 'w' / 'glue.md').read_text()
    submission = (tmp_path / 'w' / 'wnli' / 'submission' / 'WNLI.tsv').read_text().splitlines()
    assert len(submission) == 147 and {line[-1] for line in submission[1:]} <= {'0', '1'}


@pytest.mark.skipif(small_run.QUICK, reason='the step is tested on eight elsewhere')
def test_on_eight_devices(
    tmp_path: pathlib.Path,
    source: pathlib.Path,
    texts: dict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Parameters and batches split over them: the losses and scores of one."""
    test = small_tasks.write_texts(tmp_path / 'test.jsonl', 30, 2)
    config = small_tasks.configured(
        source, 'text', data=texts | {'test_file': str(test)}, train={'epochs': 2.0, 'log_every': 1}
    )
    fine_tune(config, epath.Path(tmp_path / 'one'))
    monkeypatch.undo()
    fine_tune(
        dataclasses.replace(config, mesh=MeshConfig(data=2, fsdp=4)), epath.Path(tmp_path / 'eight')
    )
    one, eight = (small_run.metrics(tmp_path / name) for name in ('one', 'eight'))
    assert [line['step'] for line in one] == [line['step'] for line in eight]
    losses = [[line['loss'] for line in lines] for lines in (one, eight)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert (tmp_path / 'one' / 'test_predictions.jsonl').read_text() == (
        tmp_path / 'eight' / 'test_predictions.jsonl'
    ).read_text()


@pytest.mark.parametrize('impossible', [True] if small_run.QUICK else [False, True])
def test_questions(tmp_path: pathlib.Path, source: pathlib.Path, impossible: bool) -> None:
    write = small_tasks.write_questions
    files = {
        'train_file': str(write(tmp_path / 'train.json', 300, 0, impossible)),
        'eval_file': str(write(tmp_path / 'dev.json', 40, 1, impossible)),
    }
    data = files | {'max_query_length': 4, 'doc_stride': 8, 'max_seq_length': 32}
    config = small_tasks.configured(source, 'squad', data=data, train={'epochs': 10.0})
    fine_tune(config, epath.Path(tmp_path / 'w'))
    scores = results(tmp_path / 'w')['mean']
    assert scores['f1'] > 95, scores
    assert ('NoAns_f1' in scores) == impossible
    predictions = json.loads((tmp_path / 'w' / 'predictions.json').read_text())
    found = {r['id']: r['answer'] for r in said(tmp_path / 'w', tmp_path / 'dev.json')}
    assert found == predictions and len(found) == 40
    assert ('' in predictions.values()) == impossible


def test_seeds_and_going_on(tmp_path: pathlib.Path, source: pathlib.Path, texts: dict) -> None:
    train = {'seeds': 2, 'epochs': 1.0, 'seed': 5}
    config = small_tasks.configured(source, 'text', data=texts, train=train)
    fine_tune(config, epath.Path(tmp_path / 'w'))
    found = results(tmp_path / 'w')
    assert [row['seed'] for row in found['seeds']] == [5, 6]
    losses = [row['loss'] for row in found['seeds']]
    assert losses[0] != losses[1]
    assert found['mean']['loss'] == pytest.approx(np.mean(losses))
    assert found['std']['loss'] == pytest.approx(np.std(losses, ddof=1))
    before = {f: f.stat().st_mtime_ns for f in (tmp_path / 'w').rglob('metrics.jsonl')}
    more = dataclasses.replace(config, train=dataclasses.replace(config.train, seeds=3))
    fine_tune(more, epath.Path(tmp_path / 'w'))
    again = results(tmp_path / 'w')
    assert again['seeds'][:2] == found['seeds'] and len(again['seeds']) == 3
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())


def test_a_signal_in_the_last_evaluation_keeps_the_next_seed_from_training(
    tmp_path: pathlib.Path,
    source: pathlib.Path,
    texts: dict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = {'seeds': 2, 'epochs': 1.0}
    config = small_tasks.configured(source, 'text', data=texts, train=train)
    score = runs.EvalSet.score

    def interrupted(self: runs.EvalSet, predictions: Any) -> dict[str, float]:
        signal.raise_signal(signal.SIGTERM)
        return score(self, predictions)

    with monkeypatch.context() as patch:
        patch.setattr(runs.EvalSet, 'score', interrupted)
        with pytest.raises(Interrupted) as error:
            fine_tune(config, epath.Path(tmp_path / 'w'))
    assert error.value.number == signal.SIGTERM
    assert small_run.saved_steps(tmp_path / 'w' / 'seed_0') == [13]
    assert not small_run.metrics(tmp_path / 'w' / 'seed_1')
    fine_tune(config, epath.Path(tmp_path / 'w'))
    assert [row['seed'] for row in results(tmp_path / 'w')['seeds']] == [0, 1]


def test_the_best_epoch_is_kept(tmp_path: pathlib.Path, source: pathlib.Path, texts: dict) -> None:
    """With a rate that ruins what was learnt."""
    train = {'best': True, 'epochs': 4.0, 'keep': 1}
    optim = {'learning_rate': 0.02, 'schedule': 'constant'}
    config = small_tasks.configured(source, 'text', data=texts, train=train, optim=optim)
    fine_tune(config, epath.Path(tmp_path / 'w'))
    evals = [m for m in small_run.metrics(tmp_path / 'w') if m['split'] == 'eval']
    best = max(evals, key=lambda line: line['score'])
    assert best['step'] < evals[-1]['step'], evals
    assert json.loads((tmp_path / 'w' / 'best.json').read_text()) == {'step': best['step']}
    assert results(tmp_path / 'w')['seeds'][0]['step'] == best['step']
    assert [p.name for p in (tmp_path / 'w').glob('best-*')] == [f'best-{best["step"]}']
    records = said(tmp_path / 'w', pathlib.Path(texts['eval_file']))
    lines = pathlib.Path(texts['eval_file']).read_text().splitlines()
    right = [r['label'] == json.loads(x)['label'] for r, x in zip(records, lines, strict=True)]
    assert np.mean(right) == pytest.approx(best['accuracy'])


@pytest.mark.parametrize(
    'change, message',
    [
        ({'task': 'txt'}, "config.data.task is 'txt'; expected pretrain, text"),
        ({'task': 'sst2'}, 'config.data.dir is empty'),
        ({'train_file': ''}, 'config.data.train_file is empty'),
        ({'max_seq_length': 64}, 'max_seq_length is 64; expected 8 to 32'),
        ({'text_field': 'txt'}, r'train.jsonl:1 .*txt'),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: pathlib.Path, source: pathlib.Path, texts: dict, change: dict, message: str
) -> None:
    config = small_tasks.configured(source, 'text', data=texts | change)
    with pytest.raises(ValueError, match=message):
        fine_tune(config, epath.Path(tmp_path / 'w'))
    assert not (tmp_path / 'w').exists()


def test_a_label_that_is_only_held_out(
    tmp_path: pathlib.Path, source: pathlib.Path, texts: dict
) -> None:
    with pathlib.Path(texts['eval_file']).open('a') as file:
        file.write('{"text": "a film", "label": "odd"}\n')
    config = small_tasks.configured(source, 'text', data=texts)
    with pytest.raises(ValueError, match=r"dev.jsonl:51 .*'odd'"):
        fine_tune(config, epath.Path(tmp_path / 'w'))


EPOCHS = 4 if small_run.QUICK else 12


def command(source: pathlib.Path, workdir: pathlib.Path, texts: dict) -> list[str]:
    values = {
        **{f'data.{name}': value for name, value in texts.items()},
        **{'init_from': source, 'train.epochs': EPOCHS, 'train.checkpoint_every': 7},
        **{'train.log_every': 1, 'model.scan_unroll': 1, 'data.max_seq_length': 32},
        'train.batch_size': 16,
    }
    flags = [f'--config.{name}={value}' for name, value in values.items()]
    config = f'--config={small_run.ROOT / "configs/finetune_text.py"}'
    return [sys.executable, '-m', 'bert_jax.main', config, f'--workdir={workdir}', *flags]


def test_killed_five_times(tmp_path: pathlib.Path, source: pathlib.Path, texts: dict) -> None:
    """SIGKILL at random moments: the same metrics, parameters and scores, bit for bit. Batches are
    of two lengths."""
    small_tasks.write_texts(pathlib.Path(texts['train_file']), 200, 0, most=20)

    def start(workdir: pathlib.Path) -> subprocess.Popen:
        return subprocess.Popen(
            command(source, workdir, texts),
            env=small_run.environment(),
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    assert start(whole).wait(timeout=300) == 0
    last = small_run.saved_steps(whole)[-1]
    rng = random.Random(0)
    for target in sorted(rng.sample(range(1, last - 1), 1 if small_run.QUICK else 5)):
        process = start(killed)
        while process.poll() is None:
            if any(line['step'] >= target for line in small_run.metrics(killed)):
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert start(killed).wait(timeout=300) == 0
    assert small_run.numbers(killed) == small_run.numbers(whole)
    assert results(killed) == results(whole)
    a, b = (small_run.saved_arrays(workdir, last) for workdir in (killed, whole))
    assert a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def test_a_finetuned_workdir_is_a_start(
    tmp_path: pathlib.Path, source: pathlib.Path, texts: dict
) -> None:
    """Its encoder and, where the labels are as many, its head."""
    config = small_tasks.configured(source, 'text', data=texts)
    fine_tune(config, epath.Path(tmp_path / 'first'))
    again = dataclasses.replace(config, init_from=str(tmp_path / 'first'))
    again = dataclasses.replace(again, train=dataclasses.replace(again.train, num_steps=1))
    fine_tune(again, epath.Path(tmp_path / 'second'))
    assert results(tmp_path / 'second')['mean']['accuracy'] == 1
    bert: Bert = load(tmp_path / 'second')
    assert bert.labels == ('neg', 'pos') and bert.heads == ('pooler', 'classifier')
    assert model_dir.load(tmp_path / 'second').data.task == 'text'

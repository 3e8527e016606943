"""Runs of fine-tuning with several seeds, with the best epoch, after a signal and after a kill."""

import dataclasses
import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import small_run
import small_tasks
from etils import epath
from small_finetuning import fine_tune, results, said

from bert_jax import main
from bert_jax.config.errors import Interrupted
from bert_jax.finetuning import runs
from bert_jax.inference import model_dir
from bert_jax.inference.trained_model import Bert
from bert_jax.training import workdir

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('one_device')]


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


def test_runs_whose_start_is_gone(
    tmp_path: pathlib.Path,
    source: pathlib.Path,
    texts: dict,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The runs that have begun have all that they need, and so has a prediction."""
    start = tmp_path / 'start'
    shutil.copytree(source, start)
    train = {'seeds': 2, 'epochs': 1.0, 'num_steps': 1}
    config = small_tasks.configured(start, 'text', data=texts, train=train)
    folder = epath.Path(tmp_path / 'w')
    main.run(config, folder)
    started = workdir.read_data(folder / 'seed_1')['start']
    start.rename(tmp_path / 'away')
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, num_steps=0))
    main.run(config, folder)
    said_lines = capsys.readouterr().err
    assert f'{start} does not exist. The run continues and does not need it' in said_lines
    assert [row['step'] for row in results(tmp_path / 'w')['seeds']] == [13, 13]
    assert workdir.read_data(folder / 'seed_1')['start'] == started
    assert workdir.read_config(folder / 'seed_1').init_from == str(start)
    assert len(said(tmp_path / 'w' / 'seed_1', pathlib.Path(texts['eval_file']))) == 50
    more = dataclasses.replace(config, train=dataclasses.replace(config.train, seeds=3))
    with pytest.raises(ValueError, match=r'start does not exist, and it is needed in \S*/seed_2,'):
        main.run(more, folder)


def test_a_signal_in_the_last_evaluation_keeps_the_next_seed_from_training(
    tmp_path: pathlib.Path,
    source: pathlib.Path,
    texts: dict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = {'seeds': 2, 'epochs': 1.0}
    config = small_tasks.configured(source, 'text', data=texts, train=train)
    score = runs.HeldOutExamples.score

    def interrupted(self: runs.HeldOutExamples, predictions: Any) -> dict[str, float]:
        signal.raise_signal(signal.SIGTERM)
        return score(self, predictions)

    with monkeypatch.context() as patch:
        patch.setattr(runs.HeldOutExamples, 'score', interrupted)
        with pytest.raises(Interrupted) as error:
            fine_tune(config, epath.Path(tmp_path / 'w'))
    assert error.value.number == signal.SIGTERM
    assert small_run.saved_steps(tmp_path / 'w' / 'seed_0') == [13]
    assert not small_run.metrics(tmp_path / 'w' / 'seed_1')
    fine_tune(config, epath.Path(tmp_path / 'w'))
    assert [row['seed'] for row in results(tmp_path / 'w')['seeds']] == [0, 1]


def test_the_best_epoch_is_kept(tmp_path: pathlib.Path, source: pathlib.Path, texts: dict) -> None:
    """A high learning rate makes the later epochs worse than the first ones."""
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


def command(source: pathlib.Path, folder: pathlib.Path, texts: dict) -> list[str]:
    values = {
        **{f'data.{name}': value for name, value in texts.items()},
        **{'init_from': source, 'train.epochs': 12, 'train.checkpoint_every': 7},
        **{'train.log_every': 1, 'model.scan_unroll': 1, 'data.max_seq_length': 32},
        'train.batch_size': 16,
    }
    flags = [f'--config.{name}={value}' for name, value in values.items()]
    config = f'--config={small_run.ROOT / "configs/finetune_text.py"}'
    return [sys.executable, '-m', 'bert_jax.main', config, f'--workdir={folder}', *flags]


@pytest.mark.skipif(small_run.QUICK, reason='test_kill and test_trainer_runs break runs off')
def test_killed_five_times(tmp_path: pathlib.Path, source: pathlib.Path, texts: dict) -> None:
    """A run that SIGKILL ends at random moments has the same metrics, parameters and scores, bit
    for bit. Batches have two lengths."""
    small_tasks.write_texts(pathlib.Path(texts['train_file']), 200, 0, most=20)

    def start(folder: pathlib.Path) -> subprocess.Popen:
        return subprocess.Popen(
            command(source, folder, texts),
            env=small_run.environment(),
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    assert start(whole).wait(timeout=300) == 0
    last = small_run.saved_steps(whole)[-1]
    rng = random.Random(0)
    for target in sorted(rng.sample(range(1, last - 1), 5)):
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
    a, b = (small_run.saved_arrays(folder, last) for folder in (killed, whole))
    assert a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def test_a_finetuned_workdir_is_a_start(
    tmp_path: pathlib.Path, source: pathlib.Path, texts: dict
) -> None:
    """Its encoder is loaded and, if there are as many labels, its head."""
    config = small_tasks.configured(source, 'text', data=texts)
    fine_tune(config, epath.Path(tmp_path / 'first'))
    again = dataclasses.replace(config, init_from=str(tmp_path / 'first'))
    again = dataclasses.replace(again, train=dataclasses.replace(again.train, num_steps=1))
    fine_tune(again, epath.Path(tmp_path / 'second'))
    assert results(tmp_path / 'second')['mean']['accuracy'] == 1
    bert: Bert = Bert.load(tmp_path / 'second')
    assert bert.labels == ('neg', 'pos') and bert.heads == ('pooler', 'classifier')
    assert model_dir.load(tmp_path / 'second').data.task == 'text'

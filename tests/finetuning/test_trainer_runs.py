"""Runs with several labels from lists, and runs that end early, killed or not."""

import csv
import dataclasses
import json
import pathlib
import random
from typing import Any

import pytest
import small_run
import small_tasks
from etils import epath
from small_finetuning import fine_tune, results

import bert_jax
from bert_jax.config import Config
from bert_jax.finetuning import predictions, runs
from bert_jax.training import checkpoint, loop

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('one_device')]
LABELS = ('anna', 'bad', 'good')


def label_sets(count: int, seed: int = 0) -> tuple[list[str], list[list[str]]]:
    """Returns texts and their labels. The labels of a text are among its words."""
    rng, texts, labels = random.Random(seed), [], []
    for _ in range(count):
        found = [label for label in LABELS if rng.random() < 0.4]
        words = rng.choices(small_tasks.WORDS[:7], k=4) + found
        rng.shuffle(words)
        texts.append(' '.join(words))
        labels.append(found)
    return texts, labels


def test_lists_with_several_labels(
    tmp_path: pathlib.Path, source: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    """Lists in Python become a model, its files and its predictions."""
    texts, labels = label_sets(300)
    settings = {
        'data.max_seq_length': 16,
        'data.class_weights': 'balanced',
        'optim.learning_rate': 1e-2,
        'train.batch_size': 16,
        'train.epochs': 8.0,
        'train.main_score': 'macro_f1',
    }
    given: Any = {'init_from': source, 'workdir': tmp_path / 'w', 'settings': settings}
    model = bert_jax.finetune(texts, labels, **given)
    found = results(tmp_path / 'w')
    assert found['main_score'] == 'macro_f1' == found['baseline']['name']
    assert found['mean']['macro_f1'] > found['baseline']['value'] + 0.2, found['mean']
    assert tuple(found['classes']) == LABELS
    assert all(scores['count'] > 5 for scores in found['classes'].values())
    shown = capsys.readouterr().err
    assert 'each class on the held-out examples' in shown and 'macro_f1' in shown

    new, _ = label_sets(20, seed=1)
    chosen, shares = model.classify(new), model.classify(new, all_labels=True)
    above = [[(x, p) for x, p in found.items() if p > 0.5] for found in shares]
    assert chosen == above and 20 < sum(map(len, chosen)) + 20 < 80
    assert [*shares[0]] == sorted(shares[0], key=lambda name: -shares[0][name])
    assert {*shares[0]} == {*LABELS}
    chosen_names = [sorted(name for name, _ in found) for found in chosen]
    with (tmp_path / 'new.csv').open('w') as file:
        file.write('text,label\n' + ''.join(f'{text},kept\n' for text in new))
    predictions.write_records(model, [tmp_path / 'new.csv'], tmp_path / 'out.csv')
    with (tmp_path / 'out.csv').open() as file:
        rows = [*csv.DictReader(file)]
    assert [json.loads(row['labels']) for row in rows] == chosen_names
    assert all(0 < float(row['probability_good']) < 1 and row['label'] == 'kept' for row in rows)
    model.eval = dataclasses.replace(model.eval, threshold=0.999999)
    assert not any(model.classify(new))

    before = (tmp_path / 'w' / 'metrics.jsonl').read_bytes()
    again = bert_jax.finetune(texts, labels, **given)
    assert again.labels == model.labels and again.multi_label
    assert (tmp_path / 'w' / 'metrics.jsonl').read_bytes() == before, 'it is complete'
    with pytest.raises(ValueError, match='holds a run on other examples'):
        bert_jax.finetune(texts[1:], labels[1:], **given)


class Killed(Exception):
    """Stands for a signal that kills the process."""


def test_a_run_that_ends_early_is_the_same_if_it_is_killed(
    tmp_path: pathlib.Path,
    source: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """It is killed before an evaluation, between the last evaluation and its checkpoint, and after
    it."""
    train = small_tasks.write_texts(tmp_path / 'train.jsonl', 200, 0)
    held_out = small_tasks.write_texts(tmp_path / 'dev.jsonl', 50, 1)
    config = small_tasks.configured(
        source,
        'text',
        data={'train_file': str(train), 'eval_file': str(held_out)},
        train={'patience': 2, 'eval_steps': 4, 'keep': 1, 'main_score': 'loss'},
        optim={'learning_rate': 0.02, 'schedule': 'constant'},  # it ruins what was learned
    )

    def run(workdir: str, config: Config = config) -> dict[str, Any]:
        fine_tune(config, epath.Path(tmp_path / workdir))
        return results(tmp_path / workdir)

    def killed(module: Any, name: str, when: Any) -> None:
        """Runs until `when`, of the arguments of the function, is true."""
        function = getattr(module, name)

        def or_killed(*args: Any, **named: Any) -> Any:
            if when(*args):
                raise Killed
            return function(*args, **named)

        with monkeypatch.context() as patch:
            patch.setattr(module, name, or_killed)
            with pytest.raises(Killed):
                run('killed')

    whole = run('whole')
    evals = [line for line in small_run.metrics(tmp_path / 'whole') if line['split'] == 'eval']
    last, best = evals[-1]['step'], min(evals, key=lambda line: line['loss'])
    assert len(evals) > 3 and last < 78, 'it ends early, and not at once'
    assert [line['step'] for line in evals] == [*range(4, last + 1, 4)]
    assert best['step'] == last - 8 == whole['seeds'][0]['step']
    assert whole['mean']['loss'] == best['loss'] and whole['main_score'] == 'loss'
    assert json.loads((tmp_path / 'whole' / 'best.json').read_text()) == {'step': best['step']}
    right = sum(row[i] for i, row in enumerate(whole['confusion']['counts']))
    assert right / 50 == pytest.approx(best['accuracy']), 'the matrix is that of the best'
    assert f'The run ends at step {last} of 78' in capsys.readouterr().err

    killed(loop._Loop, 'evaluate', lambda _, step, *__: step == last - 4)
    killed(checkpoint.Checkpoints, 'save', lambda _, step, *__: step == last)
    killed(runs, '_predict', lambda *_: True)
    assert small_run.saved_steps(tmp_path / 'killed') == [last]
    assert run('killed') == whole
    small_run.same_bits(tmp_path / 'killed', tmp_path / 'whole', last)
    assert run('killed') == whole and small_run.saved_steps(tmp_path / 'killed') == [last]

    more = dataclasses.replace(config, train=dataclasses.replace(config.train, patience=99))
    run('killed', more)
    assert small_run.saved_steps(tmp_path / 'killed') == [78], 'more patience goes on'

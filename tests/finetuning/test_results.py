import json
import pathlib
import types
from typing import Any

import numpy as np
import pytest
from etils import epath

from bert_jax.config import Config, DataConfig, Phase, TrainConfig
from bert_jax.finetuning import results
from bert_jax.finetuning.baseline import Baseline

BASELINE = Baseline('score', 0.5, 'if every label is a, the most frequent')
PROCESSOR: Any = types.SimpleNamespace(main_score='score', example_flags=("--text='...'",))


def configured(steps: int, patience: int = 0) -> Config:
    train = TrainConfig(phases=(Phase(steps, 16, 8, 1),), patience=patience)
    return Config(data=DataConfig(task='text'), train=train)


def test_mean_and_deviation_are_of_the_scores_that_all_seeds_have(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    """A seed may predict entities of a type that is not held out, and so has a score for it."""
    first = {'seed': 0, 'step': 9, 'score': 0.5, 'f1/x': 0.5, 'f1/y': 0.0}
    second = {'seed': 1, 'step': 9, 'score': 0.75, 'f1/x': 0.75, 'f1/z': 0.0}
    for i, scores in enumerate(([first, second], [second, first])):
        workdir = epath.Path(tmp_path / str(i))
        results.write(workdir, configured(9), PROCESSOR, scores, BASELINE)
        found = json.loads((tmp_path / str(i) / 'results.json').read_text())
        assert found['mean'] == {'score': 0.625, 'f1/x': 0.625}
        assert found['std'] == pytest.approx(
            dict.fromkeys(found['mean'], np.std([0, 0.25], ddof=1))
        )
        assert found['seeds'] == scores and found['best_seed'] == 1
        shown = capsys.readouterr().err
        assert 'f1/x' in shown and 'f1/y' not in shown


def test_the_table_of_tasks(tmp_path: pathlib.Path) -> None:
    scores = {
        'rte': [{'score': 0.5}, {'score': 0.75}],
        'cola': [{'score': 0.25}],
        'wnli': [{'score': 0.0}],
    }
    results.write_table(epath.Path(tmp_path), scores)
    found = json.loads((tmp_path / 'glue.json').read_text())
    assert found['average'] == np.mean([0.625, 0.25])
    assert found['tasks']['rte'] == {'score': 0.625, 'std': np.std([0, 0.25], ddof=1), 'seeds': 2}
    lines = (tmp_path / 'glue.md').read_text().splitlines()
    assert lines[2] == '| rte | 0.6250 | 0.1768 | 2 |' and lines[4] == '| wnli | 0.0000 |  | 1 |'
    assert 'without WNLI' in lines[-1]


@pytest.mark.parametrize(
    ('score', 'steps', 'said'),
    [
        (0.5, 9, ['is not above the baseline', '9 steps are few', 'config.train.epochs']),
        (0.55, 9, ['is not clearly above the baseline', '9 steps are few']),
        (0.5, 5000, ['is not above', 'lower config.optim.learning_rate']),
        (0.75, 9, []),
        (0.5, 8, ['stopped improving before the last step', 'config.train.main_score']),
    ],
)
def test_a_score_is_compared_with_the_baseline(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture, score: float, steps: int, said: list[str]
) -> None:
    """For one seed there is no table and no copy of a score; a warning follows if the score is
    low."""
    baseline = Baseline('accuracy', 0.5, 'if every label is a', error=0.1)
    scores = [{'seed': 0, 'step': steps, 'loss': 0.7, 'accuracy': score, 'score': score}]
    config = configured(steps)
    if 'stopped' in ' '.join(said):
        config = configured(steps + 1, patience=1)
    results.write(epath.Path(tmp_path), config, PROCESSOR, scores, baseline)
    shown = capsys.readouterr().err
    assert f'accuracy             {score:.4f}   (baseline: 0.5000)' in shown
    assert f'held-out examples, at step {steps}\n' in shown
    assert 'seed 0' not in shown and 'score  ' not in shown
    assert all(part in shown for part in said) and ('warning' in shown) == bool(said)
    assert f"--checkpoint={tmp_path} --text='...'" in shown.replace('\\\n      ', '')
    assert json.loads((tmp_path / 'results.json').read_text())['baseline']['value'] == 0.5

"""The picture of a run: smoothing, and what is said where there is no run."""

import json
import pathlib

import numpy as np
import pytest

from bert_jax.training.curves import draw, panels, read_metrics, smooth


def lines(split: str, steps: range) -> str:
    return ''.join(
        json.dumps({'step': n, 'split': split, 'mlm_loss': 7 - n / 100, 'nsp_accuracy': 0.5}) + '\n'
        for n in steps
    )


def test_smoothing_keeps_length_constants_and_ends() -> None:
    np.testing.assert_allclose(smooth(np.full(20, 3.0)), 3)
    np.testing.assert_allclose(smooth(np.arange(5.0))[2], 2)
    ramp = smooth(np.arange(100.0))
    assert len(ramp) == 100
    np.testing.assert_allclose(ramp[10:-10], np.arange(10, 90))


def test_a_picture_is_drawn(tmp_path: pathlib.Path) -> None:
    pytest.importorskip('matplotlib')
    metrics = lines('train', range(10, 100, 10)) + lines('eval', range(50, 101, 50))
    (tmp_path / 'metrics.jsonl').write_text(metrics)
    (tmp_path / 'corpus.json').write_text('{"unigram_entropy": 6.3}')
    draw(tmp_path, tmp_path / 'curves.png')
    assert (tmp_path / 'curves.png').read_bytes().startswith(b'\x89PNG')


def test_fine_tuning_has_its_loss_and_the_scores_of_evaluations(tmp_path: pathlib.Path) -> None:
    pytest.importorskip('matplotlib')
    train = [{'step': n, 'split': 'train', 'loss': 1 / n, 'learning_rate': 0.1} for n in (1, 2, 3)]
    scores = {'loss': 0.9, 'accuracy': 0.5, 'f1': 0.25, 'total': 8}
    evals = [{'step': 3, 'split': 'eval', **scores}]
    text = ''.join(json.dumps(line) + '\n' for line in [*train, *evals])
    (tmp_path / 'metrics.jsonl').write_text(text)
    assert panels(read_metrics(tmp_path)) == {
        'loss': [('train', 'loss'), ('eval', 'loss')],
        'scores': [('eval', 'accuracy'), ('eval', 'f1')],
    }
    (tmp_path / 'corpus.json').write_text('{"fingerprint": "0"}')
    draw(tmp_path, tmp_path / 'curves.png')
    assert (tmp_path / 'curves.png').read_bytes().startswith(b'\x89PNG')


def test_no_run_is_said(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match='--workdir'):
        read_metrics(tmp_path)
    (tmp_path / 'metrics.jsonl').write_text(lines('eval', range(1)))
    with pytest.raises(ValueError, match='no line of the train split'):
        read_metrics(tmp_path)

"""The picture of a run: smoothing, and what is said where there is no run."""

import json
import pathlib

import numpy as np
import pytest

from bert_jax.plot import draw, read_metrics, smooth


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


def test_no_run_is_said(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match='--workdir'):
        read_metrics(tmp_path)
    (tmp_path / 'metrics.jsonl').write_text(lines('eval', range(1)))
    with pytest.raises(ValueError, match='no line of the train split'):
        read_metrics(tmp_path)

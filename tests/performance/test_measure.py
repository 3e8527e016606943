"""Measuring a step; tests/test_benchmark.py measures pretraining steps by the command."""

import dataclasses

import jax
import pytest
from tiny_model import TINY

from bert_jax.config import MeshConfig
from bert_jax.performance import measure
from bert_jax.tasks.classification import ClassificationTask


def test_a_fine_tuning_step_is_measured() -> None:
    model = dataclasses.replace(TINY.model, num_hidden_layers=1)
    config = dataclasses.replace(TINY, model=model, mesh=MeshConfig(-1, 1, 1))
    config = measure.reshaped(config, 8, 16)
    result = measure.measure(config, ClassificationTask(model, 2), steps=3, warmup=1)
    assert result['fits'] and result['devices'] == jax.device_count()
    assert (result['batch_size'], result['max_seq_length']) == (8, 16)
    assert 0.5 < result['loss'] < 0.9, 'a fresh model has ln 2'
    assert result['tokens_per_second'] == pytest.approx(8 * 16 / result['seconds'])


def test_rows_keep_the_share_of_masked_positions() -> None:
    (phase,) = measure.reshaped(TINY, 4, 64).train.phases
    assert phase == TINY.train.phases[0]._replace(
        batch_size=4, max_seq_length=64, max_predictions_per_seq=10
    )
    with pytest.raises(ValueError, match='--max_seq_length=128; the model has 64 positions'):
        measure.reshaped(TINY, 4, 128)

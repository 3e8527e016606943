"""Measuring a step; tests/test_benchmark.py measures pretraining steps by the command."""

import dataclasses
import re

import jax
import pytest
from tiny_model import TINY

from bert_jax.config import MeshConfig
from bert_jax.performance import measure
from bert_jax.tasks.finetuning import ClassificationTask
from bert_jax.tasks.pretraining import PretrainTask


@pytest.mark.slow
def test_a_fine_tuning_step_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameters do not depend on the generator of dropout, as those of a run do not."""
    dropout = {'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0}
    model = dataclasses.replace(TINY.model, num_hidden_layers=1, **dropout)
    losses = []
    for generator in ('threefry2x32', 'rbg'):
        train = dataclasses.replace(TINY.train, prng_impl=generator)
        config = dataclasses.replace(TINY, model=model, mesh=MeshConfig(-1, 1, 1), train=train)
        task, said = ClassificationTask(model, 2), list[str]()
        config = measure.reshaped(config, task, 8, 16)
        monkeypatch.setattr(measure, 'LONG', 0.0)
        result = measure.measure(config, task, steps=2, warmup=1, say=said.append)
        parameters = sum(leaf.size for leaf in jax.tree.leaves(task.init(jax.random.key(0))))
        expected = f'8 x 16, {parameters:,} parameters: compiling, then timing 2 steps ...'
        assert said[0] == expected and said[1].startswith('3 steps take about 0.')
        assert result['fits'] and result['devices'] == jax.device_count()
        assert (result['batch_size'], result['max_seq_length']) == (8, 16)
        assert result['tokens_per_second'] == pytest.approx(8 * 16 / result['seconds'])
        assert 0.4 < result['loss'] < 1, 'a fresh model has ln 2'
        losses.append(result['loss'])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)

    monkeypatch.setattr(measure.chips, 'usable_memory', lambda: 2**20)
    monkeypatch.setattr(measure, '_timed_steps', lambda *_: pytest.fail('it would be killed'))
    result = measure.measure(config, task, steps=2, warmup=1, say=said.append)
    assert not result['fits'] and result['batch_size'] == 8
    assert re.match(r'8 x 16 needs [\d.]+ MiB on a device, but 1 MiB are available; ', said[-1])


def test_rows_keep_the_share_of_masked_positions() -> None:
    task = PretrainTask(TINY.model)
    (phase,) = measure.reshaped(TINY, task, 8, 64).train.phases
    assert phase == TINY.train.phases[0]._replace(
        batch_size=8, max_seq_length=64, max_predictions_per_seq=10
    )
    with pytest.raises(ValueError, match='--max_seq_length=128; the model has 64 positions'):
        measure.reshaped(TINY, task, 8, 128)
    with pytest.raises(ValueError, match='12 sequences does not divide over the 8 parts'):
        measure.reshaped(TINY, task, 12)

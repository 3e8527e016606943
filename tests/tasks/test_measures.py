"""The table of measures has every pretraining objective, and all displays of results use it."""

import json
import math
import pathlib
from collections.abc import Mapping

import pytest

from bert_jax.config import Config, ModelConfig
from bert_jax.tasks import measures
from bert_jax.tasks.measures import MEASURES
from bert_jax.tasks.pretraining import OBJECTIVES
from bert_jax.tasks.task import loss_and_means
from bert_jax.training import curve_panels, end_report, history


@pytest.mark.parametrize('objective', OBJECTIVES)
def test_each_loss_of_an_objective_has_an_entry(objective: str) -> None:
    weights = OBJECTIVES[objective].loss_weights
    for loss in weights if isinstance(weights, Mapping) else ():
        name, group = measures.parts(loss)
        assert group == 'loss' and name in MEASURES


@pytest.mark.parametrize('name', MEASURES)
def test_each_entry_is_shown(tmp_path: pathlib.Path, name: str) -> None:
    """In the picture and in the report at the end of a run, with the accuracy of chance."""
    measure, has_accuracy = MEASURES[name], MEASURES[name].answers is not None
    values = {f'{name}_loss': 0.5} | ({f'{name}_accuracy': 0.75} if has_accuracy else {})
    (tmp_path / 'metrics.jsonl').write_text(json.dumps({'split': 'train', 'step': 1} | values))
    (tmp_path / 'config.json').write_text(Config().to_json())
    run = history.read(str(tmp_path), 'run')
    wanted = [f'loss, {measure.unit}', *(['accuracy, %'] if has_accuracy else [])]
    titles = [panel.title for panel in curve_panels.upper([run])]
    assert titles == [f'{measure.label}: {what}' for what in wanted]
    lines = ' '.join(end_report.accuracies(values, {}, 7))
    assert (f'{measure.question}' in lines and '75.0%' in lines) == has_accuracy
    size = run.config.model.vocab_size
    accuracy, loss = run.untrained(f'{name}_accuracy'), run.untrained(f'{name}_loss')
    assert accuracy == {0: 1 / size, None: None}.get(measure.answers, 0.5)
    assert loss == (math.log(size) if measure.answers == 0 else None)
    assert run.baselines(f'{name}_accuracy') == ({'chance': 0.5} if measure.answers == 2 else {})


@pytest.mark.parametrize('name', OBJECTIVES)
def test_a_measure_without_examples_is_left_out(name: str) -> None:
    """A few held-out batches may have no pair of translations."""
    task = OBJECTIVES[name](ModelConfig(model_type='xlnet' if name == 'plm' else 'bert'))
    *others, last = task.loss_weights
    sums = dict.fromkeys(others, (3.0, 2.0)) | {last: (0.0, 0.0)}
    found = loss_and_means(task, sums)
    expected = sum(task.loss_weights[loss] * 1.5 for loss in others) if others else math.nan
    assert found['loss'] == pytest.approx(expected, nan_ok=True) and math.isnan(found[last])
    assert math.isnan(loss_and_means(task, sums | {last: (math.nan, 2.0)})['loss'])
    accuracy = f'{measures.parts(last)[0]}_accuracy'
    assert not end_report.accuracies({accuracy: math.nan}, {'frequent': 0.1}, 7)


def test_names_that_are_not_in_the_table() -> None:
    assert measures.parts('task_loss') == ('task', 'loss')
    assert measures.parts('loss') == measures.parts('grad_norm') == ('', '')
    assert measures.ordered(['new', 'nsp', 'mlm']) == ['mlm', 'nsp', 'new']
    assert measures.label('new') == 'new'

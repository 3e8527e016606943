"""The searches for the most tokens per second."""

from typing import Any

import jax
import pytest
from small_run import QUICK
from tiny_model import TINY

from bert_jax.performance import sweep, tables, topologies
from bert_jax.tasks.finetuning import ClassificationTask


@pytest.mark.parametrize(
    ('speeds', 'tried'),
    [
        ({8: 100, 16: 180, 32: 181, 64: 400}, [8, 16, 32]),  # not 2 % faster
        ({8: 100, 16: 200, 32: 400, 64: 800, 128: 1600}, [8, 16, 32, 64]),  # the largest
        ({8: 100, 16: 0}, [8, 16]),
        ({8: 0, 4: 0, 2: 100}, [8, 4, 2]),
        ({8: 0, 4: 0, 2: 0, 1: 100}, [8, 4, 2]),  # the smallest
    ],
)
def test_batch_sizes(speeds: dict[int, float], tried: list[int]) -> None:
    def measure(size: int) -> dict[str, Any]:
        speed = speeds[size]
        return {'size': size, 'fits': bool(speed)} | ({'tokens_per_second': speed} if speed else {})

    assert [result['size'] for result in sweep.search(measure, 8, 2, 64)] == tried


def test_an_error_ends_a_search() -> None:
    error = {'fits': False, 'error': 'vocab does not divide'}
    assert list(sweep.search(lambda size: error, 8, 1)) == [error]


@pytest.mark.slow
@pytest.mark.skipif(QUICK, reason='test_roofline compiles steps, and searches are tested above')
def test_a_sweep_compiled(four: list[jax.Device], monkeypatch: pytest.MonkeyPatch) -> None:
    """The task is one of fine-tuning, whose model takes each remat policy."""
    monkeypatch.setattr(sweep, 'REMAT_POLICIES', ('full',))
    monkeypatch.setattr(sweep, 'FIRST_ROWS', 4)
    monkeypatch.setattr(sweep, 'MOST_ROWS', 4)
    task = ClassificationTask(TINY.model, 2)
    plans = list(sweep.sweep(TINY, task, topologies.parse('v5e-4'), four))
    assert [plan['preset'] for plan in plans] == ['dp', 'fsdp', 'fsdp_tp']
    dp, fsdp, fsdp_tp = (plan['memory']['parameters'] for plan in plans)
    assert fsdp < dp / 3 and fsdp_tp < dp / 3
    for plan in plans:
        assert (plan['fits'], plan['remat'], plan['phase'][2]) == (True, 'full', 16)
        assert plan['tokens_per_second'] == pytest.approx(16 * 32 / plan['step_seconds'])
    fastest = max(plans, key=lambda plan: plan['tokens_per_second'])
    best = tables.best_line(plans, TINY)
    assert f'best: {fastest["preset"]}, remat full, 4 on a device' in best
    assert tables.sweep_table(plans).row_count == 3

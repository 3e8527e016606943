"""The search for the batch size; tests/test_plan.py and tests/test_benchmark.py test the sweeps."""

from typing import Any

import pytest

from bert_jax.performance import sweep


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

import json
import math
import pathlib

import pytest

from bert_jax.training import early_stopping

CASES = {  # scores of the evaluations, patience -> whether the run ends after the last one
    'off': ([0.5, 0.4, 0.3], 0, False),
    'no evaluation': ([], 1, False),
    'the first': ([0.5], 1, False),
    'better': ([0.5, 0.6], 1, False),
    'worse': ([0.5, 0.4], 1, True),
    'equal is not better': ([0.5, 0.5], 1, True),
    'better than the last but not than the best': ([0.5, 0.3, 0.4], 2, True),
    'not yet': ([0.5, 0.3, 0.4], 3, False),
    'better again': ([0.5, 0.3, 0.6, 0.5], 2, False),
    'not a number': ([0.5, None, math.nan], 2, True),
    'a number after none': ([None, 0.0], 1, False),
}


def lines(scores: list, name: str = 'score') -> list[dict]:
    return [{'step': 10 * i, 'split': 'eval', name: score} for i, score in enumerate(scores, 1)]


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('name', ['score', 'loss', 'mse'])
def test_when_a_run_ends(case: str, name: str) -> None:
    """A loss has the same cases with the opposite sign."""
    scores, patience, expected = CASES[case]
    if name in early_stopping.LOWER_IS_BETTER:
        scores = [None if score is None else -score for score in scores]
    evals, last = lines(scores, name), 10 * len(scores)
    assert early_stopping.is_due(evals, name, patience, last) == expected
    assert not early_stopping.is_due(evals, name, patience, last + 1), 'at its evaluation alone'


def test_evaluations_are_read_up_to_a_step(tmp_path: pathlib.Path) -> None:
    assert early_stopping.evaluations(tmp_path, 99) == []
    found = lines([0.1, 0.2, 0.3])
    text = ''.join(json.dumps(line) + '\n' for line in found)
    text += json.dumps({'step': 10, 'split': 'train'}) + '\nbroken\n{"step": 20, "split": "eval"'
    (tmp_path / 'metrics.jsonl').write_text(text)
    assert early_stopping.evaluations(tmp_path, 20) == found[:2]

"""Early stopping: which evaluation of a run is the best, and whether the run still improves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from bert_jax.training import history

LOWER_IS_BETTER = ('loss', 'mse')  # names of scores


def rank(name: str, metrics: Mapping[str, Any]) -> float:
    """The score `name` as a number that is larger if the result is better; -inf if it is missing
    or is not a number."""
    value = metrics.get(name)
    if value is None or math.isnan(value):
        return -math.inf
    return -float(value) if name in LOWER_IS_BETTER else float(value)


def evaluations(workdir: epath.PathLike, step: int) -> list[dict[str, Any]]:
    """Returns the lines of metrics.jsonl from evaluations up to `step`."""
    lines = history.whole_lines(workdir)
    return [line for line in lines if line['split'] == 'eval' and line['step'] <= step]


def is_due(evals: Sequence[Mapping[str, Any]], name: str, patience: int, step: int) -> bool:
    """Returns whether the run ends after its evaluation at `step`.

    It does if that is the last of `evals` and if the score `name` was not better in any of the last
    `patience` evaluations than in the best one before them. The answer depends on the evaluations
    alone, so a run that is resumed ends at the same step.
    """
    if not patience or not evals or evals[-1]['step'] != step:
        return False
    ranks = [rank(name, line) for line in evals]
    return len(ranks) - 1 - ranks.index(max(ranks)) >= patience


def message(name: str, patience: int, step: int, num_steps: int) -> str:
    """Returns a line that says why the run ends at `step`."""
    times = 'evaluation was' if patience == 1 else f'{patience} evaluations were'
    return (
        f'The run ends at step {step} of {num_steps}, because the last {times} not better than the '
        f'best one before ({name}; config.train.patience={patience}).'
    )

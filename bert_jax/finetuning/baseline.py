"""The score of predictions that ignore the text, and whether a run is better than this baseline."""

import dataclasses
import math

from bert_jax.config.console import plural
from bert_jax.finetuning.task_data import TaskData

FEW_STEPS = 1000


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A score of predictions that do not depend on the texts, such as the most frequent label.

    name: the name of the main score in messages. meaning: what the baseline predicts. error: the
    standard error of the score on the held-out examples if it is an accuracy; 0 for other scores.
    """

    name: str
    value: float
    meaning: str
    error: float = 0.0

    def __str__(self) -> str:
        return f'{self.name} {self.value:.3f} {self.meaning}'


def of(data: TaskData) -> Baseline:
    """The baseline of a task for its main score. The most frequent label and the mean come from the
    training data."""
    meaning, decoded = data.processor.baseline(data.train, data.eval)
    value = data.processor.score(data.eval, decoded)[data.processor.main_score]
    name, error = data.processor.metric, 0.0
    if name == 'accuracy':
        count = sum(
            len(tags) if isinstance(tags, list) else 1 for tags in decoded
        )  # words or texts
        error = math.sqrt(value * (1 - value) / count)
    return Baseline(name, value, meaning, error)


def advice(baseline: Baseline, value: float, steps: int) -> str:
    """A warning with advice if the score `value` is not above the baseline by more than its
    standard error; otherwise ''."""
    if value > baseline.value + baseline.error:
        return ''
    clearly = '' if value <= baseline.value else 'clearly '
    if steps < FEW_STEPS:
        what = (
            f'{plural(steps, "step is", "steps are")} few; raise config.train.epochs or '
            'config.optim.learning_rate. '
            'For example, a small model (MiniLM) that was trained on 450 reviews for 3 epochs '
            'reached an accuracy of 0.58 with learning_rate=5e-5, and of 0.86 with 3e-4'
        )
    else:
        what = 'lower config.optim.learning_rate, and check that the labels belong to the texts'
    return (
        f'The {baseline.name} ({value:.3f}) is not {clearly}above the baseline '
        f'({baseline.value:.3f}): the model has not learned the task yet. {what}.'
    )

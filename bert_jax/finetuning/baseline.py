"""The score that needs no reading, and whether a run is better than it."""

import dataclasses

from bert_jax.finetuning.task_data import TaskData

FEW_STEPS = 1000


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A score of predictions that do not depend on the texts, such as the most frequent label.

    name: the name of the main score in messages. meaning: what is predicted.
    """

    name: str
    value: float
    meaning: str

    def __str__(self) -> str:
        return f'{self.name} {self.value:.3f} {self.meaning}'


def of(data: TaskData) -> Baseline:
    """The baseline of a task, by its main score. The most frequent label and the mean are those of
    the training data."""
    meaning, decoded = data.processor.baseline(data.train, data.eval)
    value = data.processor.score(data.eval, decoded)[data.processor.main_score]
    return Baseline(data.processor.metric, value, meaning)


def advice(baseline: Baseline, value: float, steps: int) -> str:
    """A warning with what to do if the score `value` is not above the baseline; otherwise ''."""
    if value > baseline.value:
        return ''
    if steps < FEW_STEPS:
        what = (
            f'{steps} steps are few; raise config.train.epochs or config.optim.learning_rate. '
            'For example, 450 reviews in batches of 32 reached an accuracy of 0.5 with '
            'learning_rate=5e-5 and epochs=2, and of 0.8 with 3e-4 and 3'
        )
    else:
        what = 'lower config.optim.learning_rate, and check that the labels belong to the texts'
    return (
        f'The {baseline.name} ({value:.3f}) is not above the baseline ({baseline.value:.3f}): '
        f'the model has not learned the task yet. {what}.'
    )

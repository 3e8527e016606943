"""The score of predictions that ignore the text, and whether a run is better than this baseline."""

import dataclasses
import difflib
import math

from bert_jax.config.console import plural
from bert_jax.finetuning.task_data import TaskData
from bert_jax.training.early_stopping import LOWER_IS_BETTER

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
    """The baseline of a task for its main score, or for its own score if the main score is the
    loss. The most frequent label and the mean come from the training data. Raises ValueError if the
    task has no score of the name config.train.main_score."""
    processor, chosen = data.processor, data.processor.config.train.main_score
    meaning, decoded = processor.baseline(data.train, data.eval)
    scores = processor.score(data.eval, decoded)
    if chosen and chosen not in scores and chosen != 'loss':
        of_labels = ['f1/LABEL'] if processor.head == 'classifier' and processor.has_classes else []
        names = ', '.join([*scores, *of_labels, 'loss'])
        near = difflib.get_close_matches(chosen, (*scores, 'loss'), n=1)
        raise ValueError(
            f'config.train.main_score is {chosen!r}; the scores of this task are {names}'
            + (f'. Did you mean {near[0]}?' if near else '')
        )
    own = chosen in ('', 'loss')
    name, error = processor.metric if own else chosen, 0.0
    value = scores[processor.own_score if own else chosen]
    if name == 'accuracy':
        # The number of words or of texts.
        count = sum(len(tags) if isinstance(tags, list) else 1 for tags in decoded)
        error = math.sqrt(value * (1 - value) / count)
    return Baseline(name, value, meaning, error)


def advice(baseline: Baseline, value: float, steps: int, ended_early: bool = False) -> str:
    """A warning with advice if the score `value` is not above the baseline by more than its
    standard error, or below it if lower scores are better; otherwise ''.

    ended_early: whether early stopping may have ended the run.
    """
    side, sign = ('below', -1) if baseline.name in LOWER_IS_BETTER else ('above', 1)
    if sign * value > sign * baseline.value + baseline.error:
        return ''
    clearly = '' if sign * value <= sign * baseline.value else 'clearly '
    if ended_early:
        what = (
            'The score stopped improving before the last step; change config.optim.learning_rate, '
            'or choose a config.train.main_score that is low if all predictions are the same'
        )
    elif steps < FEW_STEPS:
        what = (
            f'{plural(steps, "step is", "steps are")} few; raise config.train.epochs or '
            'config.optim.learning_rate'
        )
    elif baseline.name == 'bleu':
        what = 'lower config.optim.learning_rate, and check that each target belongs to its source'
    else:
        what = 'lower config.optim.learning_rate, and check that the labels belong to the texts'
    return (
        f'The {baseline.name} ({value:.3f}) is not {clearly}{side} the baseline '
        f'({baseline.value:.3f}): the model has not learned the task yet. {what}.'
    )

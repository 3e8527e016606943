"""Describes the measures of the pretraining objectives: readable names and chance levels.

A task reports `NAME_loss` and perhaps `NAME_accuracy` for some entries of `MEASURES`. All code that
shows results reads this table, so a new objective needs only an entry in it.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple


@dataclasses.dataclass(frozen=True)
class Measure:
    """An entry of `MEASURES`.

    label: what is predicted, for the title of a diagram. question: what is predicted, for a
    sentence about an accuracy; '' if the measure has no accuracy. answers: the number of possible
    answers; 0 means the tokens of the vocabulary, and None means that no answer is right or wrong.
    counted: whether the baselines of the corpus, such as the unigram entropy, are values of this
    measure. unit: the unit of the loss.
    """

    label: str
    question: str = ''
    answers: int | None = None
    counted: bool = False
    unit: str = 'nats'


# In the order in which they are shown.
MEASURES: Mapping[str, Measure] = {
    'mlm': Measure('masked tokens', 'Masked tokens', answers=0, counted=True),
    'tlm': Measure('masked tokens of translations', 'Masked tokens of translations', answers=0),
    'plm': Measure('tokens in random order', 'Predicted tokens', answers=0, counted=True),
    'nsp': Measure('next sentence', 'Next sentence or not', answers=2),
    'sop': Measure('sentence order', 'Two texts in their order or swapped', answers=2),
    'kl': Measure("teacher's scores"),
    'cosine': Measure("teacher's hidden states", unit='1 - cosine'),
}
GROUPS = ('loss', 'accuracy')


class Baseline(NamedTuple):
    """A method without a model that predicts masked tokens. label: its name in a picture. method:
    a description for a table. phrase: what follows an accuracy in a sentence."""

    label: str
    method: str
    phrase: str


# By their names in corpus.json; `data.store.baselines` counts them.
BASELINES: Mapping[str, Baseline] = {
    'frequent': Baseline(
        'most frequent token', 'always the most frequent token', 'with the most frequent token'
    ),
    'pairs': Baseline('counted pairs', 'counting pairs: left neighbour', 'by counting pairs'),
    'triples': Baseline(
        'counted triples', 'counting triples: both neighbours', 'by counting triples'
    ),
}


def parts(metric: str) -> tuple[str, str]:
    """The name and the group of a metric: 'nsp_loss' -> ('nsp', 'loss'). Both are '' if it is not
    the loss or the accuracy of something."""
    name, _, group = metric.rpartition('_')
    return (name, group) if name and group in GROUPS else ('', '')


def label(name: str) -> str:
    """The label of a measure, or the name itself if it is not in the table."""
    return MEASURES[name].label if name in MEASURES else name


def unit(name: str) -> str:
    """The unit of the loss of a measure; nats if it is not in the table."""
    return MEASURES[name].unit if name in MEASURES else Measure.unit


def ordered(names: Iterable[str]) -> list[str]:
    """The names in the order of the table, and then those that are not in it."""
    order = {name: number for number, name in enumerate(MEASURES)}
    return sorted(names, key=lambda name: order.get(name, len(order)))


def is_counted(metric: str, group: str) -> bool:
    """Returns whether a metric of this group can be compared with the baselines of the corpus."""
    name, of = parts(metric)
    return of == group and name in MEASURES and MEASURES[name].counted


def chance(metric: str) -> float | None:
    """The accuracy of guessing between a few answers; None for every other metric."""
    name, group = parts(metric)
    answers = MEASURES[name].answers if name in MEASURES else None
    return 1 / answers if answers and group == 'accuracy' else None


def untrained(metric: str, vocab_size: int) -> float | None:
    """The value of a metric if all tokens of the vocabulary have the same probability; for other
    metrics see `chance`."""
    name, group = parts(metric)
    if name in MEASURES and MEASURES[name].answers == 0:
        return math.log(vocab_size) if group == 'loss' else 1 / vocab_size
    return chance(metric)

"""The interface between a fine-tuning task's files and the training loop.

A `Processor` knows one kind of task: it reads files, turns examples into rows, turns a model's
outputs into predictions, scores them and writes them. A `TaskData` is what one run receives: the
rows to train on and the splits to predict, made by a processor.
"""

import abc
import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from etils import epath

from bert_jax.config import Config, DataConfig
from bert_jax.data.labelled.rows import EncodedExamples, IndexedRows, permutation
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.tasks.head import HeadTask

Predictions = Mapping[str, np.ndarray]  # a task's outputs by name, a row of each array per row
Record = dict[str, Any]  # one example's prediction, as the predict command writes it
E = TypeVar('E')
W = TypeVar('W')
D = TypeVar('D')
EVAL = 'eval'  # the name of the split that is evaluated during training


@dataclasses.dataclass(frozen=True)
class TaskFacts:
    """What predictions need to know of the training files; a workdir's corpus.json holds it.

    labels: the names of the labels by id; none for numbers and for questions. pairs: whether an
    example is two texts, None if unknown. no_answer: whether a question may have no answer
    (SQuAD 2.0).
    """

    labels: tuple[str, ...] = ()
    pairs: bool | None = None
    no_answer: bool = False


@dataclasses.dataclass(frozen=True)
class Encoded(Generic[E, W]):
    """Examples and their rows: one row per example, or several if it is cut into windows.

    windows: which part of which example each row has; None if row i has example i.
    """

    examples: Sequence[E]
    rows: EncodedExamples
    windows: W


class Processor(abc.ABC, Generic[E, W, D]):
    """The host side of one kind of task: files in, scores and files out.

    A processor needs no training file. To predict with a trained model, make it from the model's
    configuration, tokenizer and facts (`datasets.processor_for`), and for each stretch of
    `window` examples of `read(path, summary)`:

        encoded = processor.encode(examples, summary)
        outputs = ...  # processor.task.predictions for each of encoded.rows, in order
        yield from processor.records(encoded, outputs)
    """

    head: ClassVar[str]  # the head of the model that the task trains
    main_score: ClassVar[str] = 'score'  # decides which epoch or seed is best
    writes_eval: ClassVar[bool] = False  # whether `write` writes predictions for EVAL
    window: ClassVar[int] = 4096  # examples that prediction holds in memory at a time

    def __init__(self, config: Config, tokenizer: Tokenizer, facts: TaskFacts):
        self.config, self.tokenizer, self.facts = config, tokenizer, facts

    @property
    @abc.abstractmethod
    def task(self) -> HeadTask:
        """The device side of the task."""

    @abc.abstractmethod
    def read(self, path: str | os.PathLike[str], summary: Summary) -> Iterator[E]:
        """The examples of a file to predict, in order; labels in the file are not needed.

        `summary` counts what is odd. Raises ValueError, with the file and line, for whatever is
        not an example of this task.
        """

    @abc.abstractmethod
    def encode(
        self,
        examples: Sequence[E],
        summary: Summary,
        *,
        training: bool = False,
        labelled: bool = False,
    ) -> Encoded[E, W]:
        """The rows of examples. `summary` counts what the rows do not show.

        training: whether to refuse or leave out examples that nothing can be learned from.
        labelled: whether the examples have labels to read. Raises ValueError for a label that
        is missing or unknown.
        """

    @abc.abstractmethod
    def decode(self, encoded: Encoded[E, W], outputs: Predictions) -> D:
        """The predictions for the examples from the outputs of the task for each row."""

    @abc.abstractmethod
    def records(self, encoded: Encoded[E, W], outputs: Predictions) -> Iterator[Record]:
        """One record per example, with the decoded prediction and its probability if there is
        one."""

    def _encoded(
        self,
        examples: Sequence[E],
        rows: IndexedRows,
        labels: Mapping[str, np.ndarray],
        windows: W,
    ) -> Encoded[E, W]:
        """labels: arrays by their names in a batch, as EncodedExamples has them."""
        pad_id = self.tokenizer.specials.pad
        return Encoded(examples, EncodedExamples.from_rows(rows, labels, pad_id), windows)

    @abc.abstractmethod
    def can_score(self, examples: Sequence[E]) -> bool:
        """Whether the examples of a test file have labels to score predictions by."""

    @abc.abstractmethod
    def score(self, encoded: Encoded[E, W], decoded: D) -> dict[str, float]:
        """The official scores of predictions for labelled examples; `main_score` is one of them."""

    @abc.abstractmethod
    def write(self, split: str, encoded: Encoded[E, W], decoded: D, folder: epath.Path) -> None:
        """Writes the predictions for the split of that name into the folder."""


@dataclasses.dataclass(frozen=True)
class EvalSplit(Generic[E, W, D]):
    """Examples to predict. is_scored: whether they have labels."""

    name: str
    processor: Processor[E, W, D]
    encoded: Encoded[E, W]
    is_scored: bool

    @property
    def rows(self) -> EncodedExamples:
        return self.encoded.rows

    @property
    def is_written(self) -> bool:
        return self.name != EVAL or self.processor.writes_eval

    def decode(self, predictions: Predictions) -> D:
        return self.processor.decode(self.encoded, predictions)

    def score(self, decoded: D) -> dict[str, float]:
        """The official scores; none if the examples have no labels."""
        return self.processor.score(self.encoded, decoded) if self.is_scored else {}

    def write(self, decoded: D, folder: epath.Path) -> None:
        """Writes the predictions into a workdir, if the task writes any for this split."""
        if self.is_written:
            self.processor.write(self.name, self.encoded, decoded, folder)


@dataclasses.dataclass(frozen=True)
class TaskData:
    """The data of a fine-tuning run. tests: the splits of test files by their names. summary:
    counts of what was read and of what was odd about it."""

    processor: Processor
    train: EncodedExamples
    eval: EvalSplit
    tests: Mapping[str, EvalSplit]
    summary: Summary

    @property
    def task(self) -> HeadTask:
        return self.processor.task

    @property
    def facts(self) -> TaskFacts:
        return self.processor.facts

    @property
    def main_score(self) -> str:
        return self.processor.main_score


def make_task_data(
    processor: Processor[E, W, D],
    summary: Summary,
    *,
    train: Sequence[E],
    held_out: Sequence[E],
    tests: Mapping[str, Sequence[E]],
) -> TaskData:
    """Encodes the examples of each split."""

    def split(name: str, examples: Sequence[E]) -> EvalSplit[E, W, D]:
        scored = name == EVAL or processor.can_score(examples)
        encoded = processor.encode(examples, summary, labelled=scored)
        return EvalSplit(name, processor, encoded, scored)

    return TaskData(
        processor=processor,
        train=processor.encode(train, summary, training=True, labelled=True).rows,
        eval=split(EVAL, held_out),
        tests={name: split(name, examples) for name, examples in tests.items()},
        summary=summary,
    )


def train_and_eval_files(data: DataConfig) -> tuple[str, str]:
    """The paths of both. Raises ValueError if one is not given."""
    for name in ('train_file', 'eval_file'):
        if not getattr(data, name):
            raise ValueError(f'config.data.{name} is empty; the task {data.task!r} needs one')
    return data.train_file, data.eval_file


def subsample(examples: Iterable[E], data: DataConfig) -> list[E]:
    """A random part of config.data.max_train_examples examples, in order, or all of them if that
    is 0. The part is the same for all seeds."""
    examples = list(examples)
    count = data.max_train_examples or len(examples)
    return [examples[i] for i in sorted(permutation(len(examples), 0)[:count].tolist())]

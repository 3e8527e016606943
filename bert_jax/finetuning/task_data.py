"""The interface between a fine-tuning task's files and the training loop.

A `Processor` knows one kind of task: it reads files, turns examples into rows and a model's
outputs into predictions, scores predictions and writes them. A `TaskData` is what one run
receives: a processor and its splits.
"""

import abc
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from etils import epath

from bert_jax.config import Config, DataConfig
from bert_jax.data.labelled.rows import EncodedExamples, IndexedRows, permutation
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.tasks.finetuning import HeadTask

Predictions = Mapping[str, np.ndarray]  # a task's outputs by name: [rows, ...]
Record = dict[str, Any]  # one example's prediction, as the predict command writes it
TRAIN, EVAL, PREDICT = 'train', 'eval', 'predict'  # names of splits; test splits have others


@dataclasses.dataclass(frozen=True)
class TaskFacts:
    """The facts of the training files that predictions need; a workdir's corpus.json holds them.

    labels: the names of the labels by id; none for numbers and for questions. pairs: whether an
    example is two texts, None if unknown. no_answer: whether a question may have no answer, as in
    SQuAD 2.0.
    """

    labels: tuple[str, ...] = ()
    pairs: bool | None = None
    no_answer: bool = False


@dataclasses.dataclass(frozen=True)
class Split:
    """Examples and their rows. is_scored: whether the examples have labels to score by. windows:
    which part of which example each row has; None if row i is example i."""

    name: str
    examples: Sequence[Any]
    rows: EncodedExamples
    is_scored: bool
    windows: Any = None


class Processor(abc.ABC):
    """The host side of one kind of task: files in, scores and files out.

    A processor needs no training file. To predict with a trained model, make it from the model's
    configuration, tokenizer and facts (`datasets.processor_for`), and for each stretch of
    `window` examples of `read(path, summary)`:

        split = processor.encode(examples, summary)
        outputs = ...  # processor.task.predictions for each of split.rows, in order
        yield from processor.records(split, outputs)
    """

    head: ClassVar[str]  # the head of the model that the task trains
    main_score: ClassVar[str] = 'score'  # decides which epoch and which seed is best
    writes_eval: ClassVar[bool] = False  # whether predictions for EVAL are written, too
    window: ClassVar[int] = 4096  # examples that prediction holds in memory at a time

    def __init__(self, config: Config, tokenizer: Tokenizer, facts: TaskFacts):
        self.config, self.tokenizer, self.facts = config, tokenizer, facts

    @property
    @abc.abstractmethod
    def task(self) -> HeadTask:
        """The device side of the task."""

    @abc.abstractmethod
    def read(self, path: str | os.PathLike[str], summary: Summary) -> Iterator[Any]:
        """The examples of a file to predict, in order; they need no labels.

        `summary` counts what is odd. Raises ValueError, with file and line, for whatever is not an
        example of this task.
        """

    @abc.abstractmethod
    def encode(self, examples: Sequence[Any], summary: Summary, split: str = PREDICT) -> Split:
        """The split of that name. `summary` counts what its rows do not show. Raises ValueError for
        a label that is missing or unknown, unless the split is PREDICT."""

    @abc.abstractmethod
    def decode(self, split: Split, outputs: Predictions) -> Any:
        """The predictions for the examples, from the outputs for the rows."""

    @abc.abstractmethod
    def records(self, split: Split, outputs: Predictions) -> Iterator[Record]:
        """The predictions as one record per example, with probabilities if there are any."""

    @abc.abstractmethod
    def score(self, split: Split, decoded: Any) -> dict[str, float]:
        """The official scores, `main_score` among them."""

    @abc.abstractmethod
    def write(self, split: Split, decoded: Any, folder: epath.Path) -> None:
        """Writes the predictions for the split into the folder."""

    def encoded(self, rows: IndexedRows, labels: Mapping[str, np.ndarray]) -> EncodedExamples:
        """labels: arrays by their names in a batch."""
        return EncodedExamples.from_rows(rows, labels, self.tokenizer.specials.pad)


@dataclasses.dataclass(frozen=True)
class TaskData:
    """The data of a fine-tuning run. summary: counts of what was read and of what was odd."""

    processor: Processor
    train: EncodedExamples
    eval: Split
    tests: Sequence[Split]
    summary: Summary


def make_task_data(
    processor: Processor,
    summary: Summary,
    train: Sequence[Any],
    held_out: Sequence[Any],
    tests: Mapping[str, Sequence[Any]],
) -> TaskData:
    """Encodes config.data.max_train_examples of the training examples, chosen at random but alike
    for all seeds, and all other examples. tests: by the names of their splits."""
    count = processor.config.data.max_train_examples or len(train)
    chosen = [train[i] for i in sorted(permutation(len(train), 0)[:count].tolist())]
    return TaskData(
        processor,
        processor.encode(chosen, summary, TRAIN).rows,
        processor.encode(held_out, summary, EVAL),
        [processor.encode(examples, summary, name) for name, examples in tests.items()],
        summary,
    )


def train_and_eval_files(data: DataConfig) -> tuple[str, str]:
    """The paths of both. Raises ValueError if one is missing."""
    for name in ('train_file', 'eval_file'):
        if not getattr(data, name):
            raise ValueError(f'config.data.{name} is empty; the task {data.task!r} needs one')
    return data.train_file, data.eval_file

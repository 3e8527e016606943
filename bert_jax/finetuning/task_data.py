"""The interface between the files of a fine-tuning task and the training loop."""

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from etils import epath

from bert_jax.config import Config
from bert_jax.config.console import plural
from bert_jax.data import model_languages
from bert_jax.data.labelled.bad_rows import OnError
from bert_jax.data.labelled.rows import EncodedExamples, permutation
from bert_jax.data.labelled.texts import Row, TextEncoder
from bert_jax.data.row_format import RowFormat
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.tasks.finetuning import HeadTask

Predictions = Mapping[str, np.ndarray]  # a task's outputs by name: [rows, ...]
Report = dict[str, Any]  # the scores of each class, see `class_report`
Record = dict[str, Any]  # one example's prediction, as the predict command writes it
FEW_ROWS = 100  # an accuracy of fewer examples may have a standard error of 5 % or more
TRAIN, EVAL, PREDICT = 'train', 'eval', 'predict'  # names of splits; test splits have others


@dataclasses.dataclass(frozen=True)
class TaskFacts:
    """Facts about the training data that predictions need; a workdir's corpus.json holds them.

    labels: the names of the labels by id; regressions and questions have none. pairs: whether an
    example is a pair of texts, None if unknown. no_answer: whether a question may have no answer,
    as in SQuAD 2.0. multi_label: whether a text may have several labels, or none.
    """

    labels: tuple[str, ...] = ()
    pairs: bool | None = None
    no_answer: bool = False
    multi_label: bool = False


@dataclasses.dataclass(frozen=True)
class Split:
    """Examples and their rows.

    is_scored: whether the examples have labels, so that predictions can be scored. windows: the
    part of an example that each row has; None if row i is example i.
    """

    name: str
    examples: Sequence[Any]
    rows: EncodedExamples
    is_scored: bool
    windows: Any = None


class Processor(abc.ABC):
    """Reads the files of one kind of task, encodes examples as rows, decodes a model's outputs,
    scores predictions and writes them."""

    head: ClassVar[str]  # the head of the model that the task trains
    own_score: ClassVar[str] = 'score'  # the `main_score`, unless the configuration names another
    writes_eval: ClassVar[bool] = False  # whether predictions for EVAL are written too
    window: ClassVar[int] = 1024  # the number of examples that are predicted together
    all_scores = False  # whether records have the probability of every label, for words too

    def __init__(self, config: Config, tokenizer: Tokenizer, facts: TaskFacts):
        self.config, self.tokenizer, self.facts = config, tokenizer, facts

    @property
    def main_score(self) -> str:
        """The score that decides which evaluation and which seed is best."""
        return self.config.train.main_score or self.own_score

    @property
    def has_classes(self) -> bool:
        """Returns whether `report` returns the scores of each class."""
        return False

    @property
    @abc.abstractmethod
    def task(self) -> HeadTask:
        """The model, the losses and the arrays of batches."""

    @property
    @abc.abstractmethod
    def metric(self) -> str:
        """The name of the metric that `own_score` copies, or 'score' if it is a mean of several
        metrics."""

    @property
    def example_flags(self) -> tuple[str, ...]:
        """The flags of `bert_jax predict` for one example, as they are typed in a shell."""
        flags = ("--text='...'",)
        if self.facts.pairs:
            return (*flags, "--text_b='...'")
        return (*flags, "--context='...'") if self.head == 'span' else flags

    @property
    def prediction_task(self) -> HeadTask:
        """The task with the outputs that `records` needs."""
        return self.task

    @abc.abstractmethod
    def read(
        self, path: str, summary: Summary, split: str = PREDICT, on_error: OnError | None = None
    ) -> Iterator[Any]:
        """Reads the examples of a file, one by one if its format allows that.

        `summary` counts what is unusual. Raises ValueError, with file and line, for whatever is not
        an example of this task, unless `on_error` is given (see `bad_rows.each`), and in TRAIN and
        EVAL for an example without a label. In PREDICT the examples have `columns`.
        """

    @abc.abstractmethod
    def from_texts(self, texts: Sequence[Any]) -> list[Any]:
        """The examples of texts in memory. A text is a string, or what the task reads instead: a
        pair of strings, or a list of words. Raises ValueError for anything else."""

    @abc.abstractmethod
    def find_facts(self, train: list[Any], held_out: list[Any]) -> TaskFacts:
        """The facts about a run's data. Raises ValueError if there is nothing to learn."""

    @abc.abstractmethod
    def text_and_label(self, example: Any) -> tuple[str, str]:
        """The text of an example, and its label, or '' if the task has no fixed set of labels. They
        decide which examples are held out if there is no file to evaluate on."""

    def missing(self, example: Any) -> str:
        """Returns what the example lacks for TRAIN and EVAL, or ''. `read` does not check this if
        config.data.split_field is given."""
        return ''

    def check_together(self, examples: Sequence[Any]) -> None:  # noqa: B027
        """Raises ValueError if the examples of several files do not fit together."""

    @abc.abstractmethod
    def encode(self, examples: Sequence[Any], summary: Summary, split: str = PREDICT) -> Split:
        """The rows of the examples. `summary` counts what was cut or left out. Raises ValueError
        for a label that is missing or unknown, unless the split is PREDICT."""

    @abc.abstractmethod
    def decode(self, split: Split, outputs: Predictions) -> Any:
        """The predictions for the examples, from the outputs for the rows."""

    @abc.abstractmethod
    def records(self, split: Split, outputs: Predictions) -> Iterator[Record]:
        """The predictions as one record per example, with probabilities if there are any."""

    @abc.abstractmethod
    def baseline(self, train: EncodedExamples, split: Split) -> tuple[str, Any]:
        """The predictions for `split` of a baseline that does not read the texts, as `decode`
        returns them, and a description of it."""

    @abc.abstractmethod
    def score(self, split: Split, decoded: Any) -> dict[str, float]:
        """The official scores, including `own_score`."""

    def report(self, split: Split, decoded: Any) -> Report | None:
        """The scores of each class (see `class_report`), or None if the task has no classes."""
        return None

    @abc.abstractmethod
    def write(self, split: Split, decoded: Any, folder: epath.Path) -> None:
        """Writes the predictions for the split into the folder."""

    @property
    def row_format(self) -> RowFormat:
        """The layout of rows of the model, for the language of the data."""
        return model_languages.row_format(self.config.model, self.config.data.language)

    def text_encoder(self, longest: int) -> TextEncoder:
        """An encoder of texts as rows of at most `longest` tokens."""
        types = self.config.model.type_vocab_size
        return TextEncoder(self.tokenizer, longest, types, self.row_format)

    def encoded(self, rows: Iterable[Row], labels: Mapping[str, np.ndarray]) -> EncodedExamples:
        """The rows with their labels. labels: arrays by their names in a batch."""
        return EncodedExamples.from_rows(rows, labels, self.tokenizer.specials.pad)


@dataclasses.dataclass(frozen=True)
class TaskData:
    """The data of a fine-tuning run. note: how the held-out examples were chosen, or ''. files: the
    files of each key of config.data, if one of the keys is a pattern or a list."""

    processor: Processor
    train: EncodedExamples
    eval: Split
    tests: Sequence[Split]
    summary: Summary
    note: str = ''
    files: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

    @property
    def rows(self) -> str:
        """A line about the numbers of rows."""
        held_out = len(self.eval.rows)
        line = f'{plural(len(self.train), "row")} to train on, {held_out:,} held out'
        line += f' ({self.note})' if self.note else ''
        if held_out < FEW_ROWS:
            column = self.processor.config.data.split_field
            remedy = 'give a file with more examples to evaluate on (config.data.eval_file)'
            remedy = f'mark more rows as dev in the column {column!r}' if column else remedy
            line += f'. The scores of so few examples are noisy: {remedy}'
        return line


def make_task_data(
    processor: Processor,
    summary: Summary,
    train: Sequence[Any],
    held_out: Sequence[Any],
    tests: Mapping[str, Sequence[Any]],
    note: str = '',
    files: Mapping[str, Sequence[str]] | None = None,
) -> TaskData:
    """Encodes the examples of all splits. Of the training examples, it chooses
    config.data.max_train_examples at random, the same ones for all seeds. tests: by split name.
    note, files: see `TaskData`."""
    count = processor.config.data.max_train_examples or len(train)
    chosen = [train[i] for i in sorted(permutation(len(train), 0)[:count].tolist())]
    return TaskData(
        processor,
        processor.encode(chosen, summary, TRAIN).rows,
        processor.encode(held_out, summary, EVAL),
        [processor.encode(examples, summary, name) for name, examples in tests.items()],
        summary,
        note,
        files or {},
    )

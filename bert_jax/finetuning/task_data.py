"""What a run of fine-tuning is told of its task; what all tasks' files have in common."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from bert_jax.config import DataConfig
from bert_jax.data.labelled.rows import EncodedExamples, permutation
from bert_jax.data.summary import Summary
from bert_jax.tasks.head import HeadTask

Predictions = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Split:
    """Rows to predict. decode: their predictions as labels, tags or answers. score: of what is
    decoded, where the rows have labels. write: what it leaves in a workdir."""

    rows: EncodedExamples
    decode: Callable[[Predictions], Any]
    score: Callable[[Any], dict[str, float]] | None = None
    write: Callable[[Any, epath.Path], None] | None = None


@dataclasses.dataclass(frozen=True)
class Job:
    """main_score: which of the held-out rows' scores counts. labels: their names by id. pairs:
    whether an example is two texts. tests: by their names."""

    task: HeadTask
    train: EncodedExamples
    held_out: Split
    main_score: str
    labels: tuple[str, ...]
    summary: Summary
    pairs: bool = False
    tests: Mapping[str, Split] = dataclasses.field(default_factory=dict)


def files(data: DataConfig) -> tuple[str, str]:
    for name in ('train_file', 'eval_file'):
        if not getattr(data, name):
            raise ValueError(f'config.data.{name} is empty; the task {data.task!r} needs one')
    return data.train_file, data.eval_file


def some(items: Sequence, data: DataConfig) -> list:
    """config.data.max_train_examples of them, the same for all seeds."""
    count = data.max_train_examples or len(items)
    return [items[i] for i in sorted(permutation(len(items), 0)[:count].tolist())]

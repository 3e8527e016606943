"""Pairs of a text and the text to write for it, such as a sentence and its translation."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from bert_jax.batch import HostBatch
from bert_jax.data.files import kind, lines
from bert_jax.data.labelled import examples
from bert_jax.data.labelled.bad_rows import OnError, each
from bert_jax.data.labelled.rows import EncodedExamples
from bert_jax.data.summary import Summary

ADVICE = 'correct it, or name the columns with config.data.source_field and target_field'
ROLES = ('source', 'target')


class Pair(NamedTuple):
    """A text to read and the text to write, None if it is not known. where: 'path:line'. columns:
    all values of the row, if the caller asked for them."""

    source: str
    target: str | None
    where: str
    columns: Mapping[str, Any] | None = None


def iter_pairs(
    path: str | os.PathLike[str],
    source: str,
    target: str,
    on_error: OnError | None = None,
    summary: Summary | None = None,
) -> Iterator[Pair]:
    """Reads the pairs of a .csv, .tsv or .jsonl file one by one; `source` and `target` name its
    columns. Texts are stripped. `summary` says which columns were read.

    Raises ValueError, with path:line, for a row without one of the two or with an empty one, unless
    `on_error` is given (see `each`), and for a file that cannot be read.
    """
    found = examples.iter_file(
        path,
        text=source,
        text_b=target,
        label='',
        on_error=on_error,
        summary=summary,
        advice=ADVICE,
        roles=ROLES,
    )

    def pair(example: examples.Example) -> Pair:
        if example.text_b is None:
            raise ValueError(f'{example.where} has no text in {target!r}; add it or remove the row')
        return Pair(example.text, example.text_b, example.where)

    yield from each(found, pair, on_error)


def iter_sources(
    path: str | os.PathLike[str],
    source: str,
    on_error: OnError | None = None,
    predicts: bool = True,
) -> Iterator[Pair]:
    """Reads source texts one by one, with all columns of their rows.

    The file is a .csv, .tsv or .jsonl with the column `source`, or a .txt with a text on each line,
    which may be empty. predicts: whether the texts are only predicted, for messages. Raises
    ValueError as `iter_pairs` does.
    """
    path = pathlib.Path(path).expanduser()
    if kind(path)[0] == '.txt':
        for number, line in enumerate(lines(path, on_error), 1):
            yield Pair(line.strip(), None, f'{path}:{number}')
        return
    found = examples.iter_file(
        path,
        text=source,
        label='',
        columns=True,
        on_error=on_error,
        advice=ADVICE,
        predicts=predicts,
    )
    for example in found:
        yield Pair(example.text, None, example.where, example.columns)


@dataclasses.dataclass(frozen=True)
class EncodedPairs(EncodedExamples):
    """Sources in the arrays of EncodedExamples, and the targets.

    targets: rows without a start token that end with the end token. longest_target: the width of
    the targets in a batch, unless its rows are shorter.
    """

    targets: EncodedExamples
    longest_target: int

    @property
    def lengths(self) -> np.ndarray:
        return np.maximum(super().lengths, self.targets.lengths)

    def fingerprint(self) -> str:
        return super().fingerprint()[:8] + self.targets.fingerprint()[:8]

    def batch(self, indices: np.ndarray, rows: int, length: int) -> HostBatch:
        """The arrays of `EncodedExamples.batch`, and target_ids, int32, and target_weights,
        float32, [rows, min(length, longest_target)] each."""
        targets = self.targets.batch(indices, rows, min(length, self.longest_target))
        return {
            **super().batch(indices, rows, length),
            'target_ids': targets['input_ids'],
            'target_weights': targets['attention_mask'].astype(np.float32),
        }

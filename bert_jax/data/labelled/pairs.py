"""Pairs of a text and the text to write for it, such as a sentence and its translation."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from bert_jax.batch import HostBatch
from bert_jax.data.files import kind, lines
from bert_jax.data.labelled import examples
from bert_jax.data.labelled.bad_rows import OnError, each
from bert_jax.data.labelled.examples import Example
from bert_jax.data.labelled.rows import EncodedExamples
from bert_jax.data.summary import Summary

ADVICE = 'correct it, or name the columns with config.data.source_field and target_field'


def iter_file(
    path: str | os.PathLike[str],
    source: str,
    target: str,
    *,
    need_target: bool = True,
    predicts: bool = False,
    on_error: OnError | None = None,
    summary: Summary | None = None,
) -> Iterator[Example]:
    """Reads the pairs of a .csv, .tsv or .jsonl file one by one; `source` and `target` name its
    columns. `text_b` of an example is the target, None if it is not known.

    If no target is needed, examples have all columns of their rows, and the file may be a .txt with
    a source on each line, which may be empty. predicts: whether the sources are only predicted; if
    so, targets are not read. Raises ValueError as `examples.iter_file` does, and for a row without
    a target that is needed.
    """
    path = pathlib.Path(path).expanduser()
    if kind(path)[0] == '.txt' and not need_target:
        for number, line in enumerate(lines(path, on_error), 1):
            yield Example(line.strip(), None, None, f'{path}:{number}')
        return

    # A column that is read as `text_b` must be in the file. A target that may be missing is
    # therefore read as the label of an example.
    def pair(example: Example) -> Example:
        if need_target and example.text_b is None:
            where = example.where
            raise ValueError(f'{where} has no text in {target!r}; add it or remove the row')
        return example if need_target else example._replace(text_b=example.label, label=None)

    found = examples.iter_file(
        path,
        text=source,
        text_b=target if need_target else examples.TEXT_B,
        label='' if need_target else target,
        columns=not need_target,
        on_error=on_error,
        summary=summary,
        advice=ADVICE,
        roles=('source', 'target') if need_target else ('source', examples.TEXT_B, 'target'),
        predicts=predicts,
    )
    yield from each(found, pair, on_error)


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

"""Reads the texts of a file: its lines, or the texts of a table or of JSON objects."""

import itertools
import pathlib
from collections.abc import Iterator, Sequence

from bert_jax.config import DataConfig
from bert_jax.data.file_kinds import text_kind
from bert_jax.data.files import kind, lines
from bert_jax.data.labelled import examples, records
from bert_jax.data.labelled.bad_rows import OnError
from bert_jax.data.labelled.examples import Example

LOOKED_AT = 20  # lines


def read_all(
    paths: Sequence[pathlib.Path], data: DataConfig, on_error: OnError | None = None
) -> Iterator[Example]:
    """Yields the texts of several files, in order; see `read`."""
    return itertools.chain.from_iterable(read(path, data, on_error) for path in paths)


def read(
    path: pathlib.Path, data: DataConfig, on_error: OnError | None = None
) -> Iterator[Example]:
    """Yields the texts and pairs of texts of a file, with their places.

    A .csv, .tsv, .jsonl or .json file has them in the columns that `data` names. In any other file,
    each line is a text, which may be empty. Raises ValueError for bad rows, unless `on_error` is
    given, and for a file whose lines look like something else, such as JSON or a table.
    """
    if kind(path)[0] in records.SUFFIXES:
        yield from examples.iter_file(
            path,
            text=data.text_field,
            text_b=data.text_b_field,
            label=data.label_field,
            columns=True,
            on_error=on_error,
            predicts=True,
        )
        return
    found = (line.rstrip('\r\n') for line in lines(path, on_error))
    beginning = list(itertools.islice(found, LOOKED_AT))
    if not beginning:
        raise ValueError(f'{path} is empty; expected a text on each line')
    looks = text_kind(beginning)
    if looks:
        raise ValueError(
            f'{path}:1 {beginning[0][:60]!r} looks like {looks}; expected a text on each line'
        )
    if beginning[0].strip() in (data.text_field, 'text') and len(beginning) > 1:
        raise ValueError(
            f'{path}:1 is {beginning[0].strip()!r}, the name of a column; remove this line, or '
            'give the file a name that ends in .csv'
        )
    for number, text in enumerate(itertools.chain(beginning, found), 1):
        yield Example(text, None, None, f'{path}:{number}')

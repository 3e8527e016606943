"""The rows of a file as objects, whatever its format: .csv, .tsv, .jsonl or .json."""

import pathlib
from collections.abc import Collection, Iterator

from bert_jax.data.files import COMPRESSIONS, kind
from bert_jax.data.labelled import json_files, tables
from bert_jax.data.labelled.bad_rows import OnError
from bert_jax.data.labelled.json_files import Record

JSON = ('.jsonl', '.json')
SUFFIXES = (*tables.SUFFIXES, *JSON)


def read(
    path: pathlib.Path,
    needed: Collection[str],
    optional: Collection[str] = (),
    advice: str = 'correct it',
    on_error: OnError | None = None,
) -> Iterator[Record]:
    """Yields the rows of a file, each with its place; see `json_files.records` and
    `tables.records`. The columns are checked only in a table, where all rows have the same ones."""
    if (suffix := kind(path)[0]) not in SUFFIXES:
        raise ValueError(
            f'{path}: expected a name that ends in {", ".join(SUFFIXES)}, with '
            f'{", ".join(COMPRESSIONS)} after it if it is compressed'
        )
    if suffix in JSON:
        return json_files.records(path, next(iter(needed)), on_error)
    return tables.records(path, needed, optional, advice, on_error)

"""Reads JSON objects: one on each line (.jsonl), or also in a list or alone (.json)."""

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from bert_jax.data.file_kinds import is_json, separator
from bert_jax.data.files import kind, lines
from bert_jax.data.labelled.bad_rows import OnError, each
from bert_jax.data.summary import Summary

SURROGATES = re.compile('[\ud800-\udfff]')
REJECTED = ('reject', 'ignore')  # values of Prodigy's key `answer`: the labels are wrong or unknown
Record = tuple[dict[str, Any], str]  # an object and its place, 'path:line' or 'path: [index]'


def records(path: pathlib.Path, name: str, on_error: OnError | None = None) -> Iterator[Record]:
    """Yields the objects of a file, each with its place.

    name: a key of the objects, for messages. In a .json file, the objects may be on lines, in a
    list, or in the list `data` of an object. Raises ValueError, with the place, if a value is not
    an object or has a key twice, unless `on_error` is given (see `each`).
    """
    if kind(path)[0] == '.json':
        content = whole(path)
        if content is not None:
            yield from each(_listed(content, path), lambda found: _object(*found, name), on_error)
            return
    numbered = (
        (number, line) for number, line in enumerate(lines(path, on_error), 1) if line.strip()
    )
    yield from each(numbered, lambda found: _of_line(path, *found, name), on_error)


def accepted(found: Iterator[Record], summary: Summary) -> Iterator[Record]:
    """The records except those that were rejected or ignored in Prodigy; `summary` counts these."""
    for record, where in found:
        if record.get('answer') in REJECTED and 'text' in record:
            summary.count('rows rejected or ignored in Prodigy, left out', where)
        else:
            yield record, where


def whole(path: pathlib.Path) -> Any:
    """Returns the JSON value in a file; None if the file has a value on each line. Raises
    ValueError if it is not JSON."""
    text = ''.join(lines(path))
    try:
        return loads(text)
    except json.JSONDecodeError as error:
        first, _, rest = text.lstrip().partition('\n')
        if rest.strip() and is_json(first, dict):
            return None
        raise ValueError(
            f'{path}:{error.lineno}:{error.colno} is not JSON ({error.msg}); the file may be '
            'incomplete'
        ) from error
    except ValueError as error:
        raise ValueError(f'{path} is not JSON ({error})') from error


def loads(text: str) -> Any:
    """The JSON value in the text. Raises ValueError if it is not JSON, if its lists are nested too
    deeply, or if an object has a key twice."""
    try:
        return json.loads(text, object_pairs_hook=_without_repetition)
    except RecursionError as error:
        raise ValueError(str(error)) from error


def characters(value: Any, name: str, where: str) -> str:
    """Returns `value`. Raises ValueError if it is not a string that UTF-8 can encode."""
    if not isinstance(value, str):
        raise ValueError(f'{where} has {short(value)} in {name!r}; expected a string')
    if SURROGATES.search(value):
        raise ValueError(f'{where} has half a surrogate pair in {name!r}, which is not a character')
    return value


def short(value: Any) -> str:
    """The value as JSON, in at most 60 characters."""
    shown = json.dumps(value)
    return shown if len(shown) <= 60 else shown[:57] + '...'


def _listed(content: Any, path: pathlib.Path) -> Iterator[tuple[Any, str]]:
    """Yields the values of a list, or of the list `data` of an object, each with its place. Any
    other value is yielded itself."""
    name = ''
    if isinstance(content, dict) and isinstance(content.get('data'), list):
        content, name = content['data'], 'data'
    if not isinstance(content, list):
        yield content, str(path)
        return
    for i, item in enumerate(content):
        yield item, f'{path}: {name}[{i}]'


def _of_line(path: pathlib.Path, number: int, line: str, name: str) -> Record:
    where = f'{path}:{number}'
    try:
        value = loads(line)
    except json.JSONDecodeError as error:
        table = separator(line) if number == 1 and line.strip()[0] not in '{["' else ''
        remedy = '; a table needs a name that ends in .csv or .tsv' if table else ''
        if line.strip() in ('[', '{'):
            remedy = '; JSON over several lines needs a name that ends in .json'
        raise ValueError(
            f'{where}:{error.pos + 1} is not JSON ({error.msg}), {line.strip()[:60]!r}; '
            f'expected an object on each line, {{"{name}": ...}}{remedy}'
        ) from error
    except ValueError as error:
        raise ValueError(f'{where} is not JSON ({error})') from error
    return _object(value, where, name)


def _object(value: Any, where: str, name: str) -> Record:
    if not isinstance(value, dict):
        remedy = ''
        if isinstance(value, list) and value and isinstance(value[0], dict):
            remedy = '; a list of objects needs a name that ends in .json'
        raise ValueError(
            f'{where} is {short(value)}; expected an object, {{"{name}": ...}}{remedy}'
        )
    return value, where


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'an object has the key {twice!r} twice')
    return found

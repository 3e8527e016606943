"""The files of a setting such as config.data.train_file, which may name several.

All files of a setting have the same columns, and no file is trained on and evaluated on.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence

from bert_jax.data import patterns
from bert_jax.data.files import kind
from bert_jax.data.labelled.records import JSON
from bert_jax.data.summary import Summary

KEYS = ('train_file', 'eval_file', 'test_file')


def paths(value: str, key: str) -> list[str]:
    """The files that `value` names; none if it is empty. They are local.

    `value` is a path or a pattern, such as reviews/*.csv, or several of them with commas between
    them. key: the name of the setting, for messages. Raises ValueError if a path does not exist or
    is a folder, and if no file matches a pattern.
    """
    found: list[str] = []
    for part in patterns.split(value) if value else ():
        path = os.path.expanduser(part)
        if not part:
            raise ValueError(f'{key}={value} has an empty name beside a comma')
        if os.path.isdir(path):
            raise ValueError(
                f'{key}={part} is a folder; name its files, for example '
                f'{os.path.join(part, "*.csv")}'
            )
        names = [path] if os.path.exists(path) else patterns.matching(path)
        names = [name for name in names if not os.path.isdir(name)]
        if not names:
            here = '' if os.path.isabs(path) else f' (from {pathlib.Path.cwd()})'
            wrong = 'matches no file' if patterns.WILD.search(part) else 'does not exist'
            raise ValueError(f'{key}={part} {wrong}{here}')
        found += names
    return found


def of_settings(values: Mapping[str, str], summary: Summary) -> dict[str, list[str]]:
    """The files of each key of `KEYS`, each file once; `summary` counts those that are repeated.

    Raises ValueError as `paths` does, and if several files are given and one of them belongs to two
    keys.
    """
    found: dict[str, list[str]] = {}
    for key in KEYS:
        found[key], again = patterns.once(paths(values[key], f'config.data.{key}'))
        if again:
            summary.count('files that are given twice, read once', again[0], len(again))
    for key in KEYS[1:]:
        if max(len(found[KEYS[0]]), len(found[key])) > 1:
            _, both = patterns.once([*found[KEYS[0]], *found[key]])
            if both:
                raise ValueError(
                    f'{both[0]} belongs to config.data.{KEYS[0]} and to config.data.{key}; scores '
                    'on texts that are trained on say little about others, so leave the file out '
                    'of one of them'
                )
    return found


def is_same(one: Sequence[str], other: Sequence[str]) -> bool:
    """Returns whether two keys have the same single file."""
    return len(one) == len(other) == 1 and os.path.samefile(one[0], other[0])


def is_list(value: str, files: Sequence[str]) -> bool:
    """Returns whether `value`, which names the files, is something else than one path."""
    return bool(value) and [os.path.expanduser(value)] != [*files]


def shown(files: Sequence[str]) -> str:
    """A short name of the files of a key."""
    return pathlib.PurePath(files[0]).name if len(files) == 1 else f'all {len(files)} files'


def check_columns(files: Sequence[str], summary: Summary) -> None:
    """Raises ValueError if the last file has other columns than the first one.

    summary: says which columns the files have. The rows of JSON may have different keys, so only
    the keys that are read are compared. A file without names of columns is not compared.
    """
    both = [str(pathlib.Path(file).expanduser()) for file in (files[0], files[-1])]
    one, other = (summary.headers.get(path, {}) for path in both)
    if not (one and other):
        return
    if any(kind(pathlib.PurePath(path))[0] in JSON for path in both):
        one, other = ({n: role for n, role in h.items() if role} for h in (one, other))
    wrong = [f'no column {name!r}, which {both[0]} has' for name in one if name not in other]
    wrong += [f'a column {n!r}, which {both[0]} does not have' for n in other if n not in one]
    if wrong:
        raise ValueError(f'{both[1]} has {wrong[0]}; the files of a setting need the same columns')

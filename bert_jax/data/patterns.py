"""Files of this machine that a user names by a path, a pattern, braces or a list with commas."""

import glob
import os
import re
from collections.abc import Iterable
from typing import TypeVar

COMMA = re.compile(r',(?![^{}]*\})')  # but not within braces
WILD = re.compile(r'[*?\[]')
MOST = 8  # parts between commas that may be one name in a list
Path = TypeVar('Path', bound=str | os.PathLike)


def split(value: str) -> list[str]:
    """The paths and patterns in a list with commas, without braces.

    A path that exists is one path, although it may have commas or braces in its name.
    """
    if _exists(value):
        return [value]
    names, parts = COMMA.split(value), list[str]()
    while names:
        ends = range(min(len(names), MOST), 0, -1)
        end = next((end for end in ends if _exists(','.join(names[:end]))), 0)
        parts += [','.join(names[:end])] if end else alternatives(names[0].strip())
        del names[: max(end, 1)]
    return parts


def alternatives(pattern: str) -> list[str]:
    """The patterns that the braces of `pattern` stand for: {a,b}.txt is a.txt and b.txt."""
    braces = re.search(r'\{([^{}]*,[^{}]*)\}', pattern)
    if not braces:
        return [pattern]
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    return [p for part in braces[1].split(',') for p in alternatives(before + part + after)]


def matching(pattern: str) -> list[str]:
    """The file of that name, or the files and folders that match the pattern, in order."""
    if os.path.isfile(pattern):
        return [pattern]
    names = sorted(glob.glob(pattern, recursive=True))
    if not names and '[' in pattern:  # in the name of a folder, such as corpus[1]/*.txt
        names = sorted(glob.glob(pattern.replace('[', '[[]'), recursive=True))
    return names


def once(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The files, each of them once, and the paths that are links to one of them or repeat it."""
    kept, again = list[Path](), list[Path]()
    seen = set[tuple[int, int]]()
    for path in paths:
        stat = os.stat(path)
        file = (stat.st_dev, stat.st_ino)
        (again if stat.st_ino and file in seen else kept).append(path)
        seen.add(file)
    return kept, again


def _exists(path: str) -> bool:
    return os.path.exists(os.path.expanduser(path))

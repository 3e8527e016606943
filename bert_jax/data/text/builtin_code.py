"""Program code that needs no download: the source of Python's standard library.

A module is a document, and each line of it is a statement. Docstrings and comments are left out.
Code is so regular that a very small model learns to fill in masked words within minutes.
"""

import ast
import functools
import pathlib
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from typing import Any

from bert_jax.data.summary import Summary
from bert_jax.data.text.builtin import SKIPPED, definitions


def identity() -> dict[str, Any]:
    """The version of Python, which determines the text."""
    return {'python': sys.version}


@functools.cache
def paths() -> dict[pathlib.Path, int]:
    """The modules of the standard library in a fixed order, with their sizes in bytes."""
    root = pathlib.Path(sysconfig.get_paths()['stdlib'])
    skipped = SKIPPED | {'pydoc_data'}  # it contains prose
    found = [p for p in sorted(root.rglob('*.py')) if skipped.isdisjoint(p.relative_to(root).parts)]
    return {path: path.stat().st_size for path in found}


def documents(summary: Summary) -> Iterator[list[str]]:
    """The documents as lists of lines; `summary` counts the modules and the bytes read."""
    for path, size in paths().items():
        summary.passed += size
        try:
            lines = _lines(path)
        except (SyntaxError, ValueError):  # templates are not valid Python
            summary.count('modules that do not parse, left out', str(path))
            continue
        if lines:
            summary.count('modules of the standard library')
            yield lines
        else:
            summary.count('modules without code, left out', str(path))


@functools.cache  # all lines are a few MB, and parsing takes seconds; they are read several times
def _lines(path: pathlib.Path) -> list[str]:
    """The lines of a module's code, without indentation."""
    with warnings.catch_warnings(action='ignore'):  # invalid escape sequences
        tree = ast.parse(path.read_bytes())
    for node in definitions(tree):
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
            if not node.body and not isinstance(node, ast.Module):
                node.body = [ast.Pass()]  # without its docstring, the body would be empty
    lines = map(str.strip, ast.unparse(tree).split('\n'))
    return [line for line in lines if line]

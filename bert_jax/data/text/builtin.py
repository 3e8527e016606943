"""English prose that needs no download: Python's language manual and the docstrings installed here.

Each topic of the manual and each module is a document. Code, tables, signatures and headings are
left out. Repeated paragraphs are left out too, so that held-out documents do not repeat others.
"""

import ast
import functools
import importlib.metadata
import importlib.util
import inspect
import pathlib
import pydoc_data.topics
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from typing import Any

from bert_jax.data.summary import Summary

# Packages, and the names of their distributions.
PACKAGES = {
    'absl': 'absl-py',
    'flax': 'flax',
    'jax': 'jax',
    'ml_collections': 'ml-collections',
    'numpy': 'numpy',
    'optax': 'optax',
    'orbax': 'orbax-checkpoint',
}
# Folders with tests, copies of other packages, and data in the form of modules.
SKIPPED = {'test', 'tests', 'testing', '__pycache__', 'site-packages'}
SKIPPED |= {'idlelib', 'lib2to3', 'turtledemo', 'encodings'}
ROLE = re.compile(r':[\w:+-]+:`~?([^`<]+?)(?:\s*<[^`]*>)?`')
QUOTES = re.compile(r'`{1,2}([^`]+)`{1,2}_{0,2}')
MARKUP = ('>>>', '..', ':', '|', '+-', '* ', '- ', '#', '==', '@', '$')


def identity() -> dict[str, Any]:
    """The versions that determine the text: Python's and those of the packages."""
    return {
        'python': sys.version,
        **{name: importlib.metadata.version(name) for name in PACKAGES.values()},
    }


def documents(summary: Summary) -> Iterator[list[str]]:
    """The documents as lists of paragraphs; `summary` counts their sources."""
    topics, modules, broken = _read()
    summary.count('manual topics', number=len(topics))
    summary.count('modules', number=len(modules))
    if broken:
        summary.count('modules that do not parse, left out', number=broken)
    yield from topics
    yield from modules


@functools.cache  # the text is a few MB, and parsing 2,000 modules takes seconds
def _read() -> tuple[list[list[str]], list[list[str]], int]:
    seen: set[str] = set()
    contents = pydoc_data.topics.topics
    topics = [_prose([contents[topic]], seen) for topic in sorted(contents)]
    roots = [pathlib.Path(sysconfig.get_paths()['stdlib'])]
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        folders = sorted(spec.submodule_search_locations or []) if spec else []
        roots += map(pathlib.Path, folders)
    modules, broken = [], 0
    for root in roots:
        for path in sorted(root.rglob('*.py')):
            if SKIPPED.isdisjoint(path.relative_to(root).parts):
                try:
                    modules.append(_prose(_docstrings(path), seen))
                except (SyntaxError, ValueError):  # templates, and files of older Pythons
                    broken += 1
    return topics, modules, broken


def _docstrings(path: pathlib.Path) -> list[str]:
    """The docstrings of a module, in order. The module is not imported."""
    with warnings.catch_warnings(action='ignore'):  # invalid escape sequences in packages
        tree = ast.parse(path.read_bytes())
    return [text for node in definitions(tree) if (text := ast.get_docstring(node))]


def definitions(node: ast.AST) -> Iterator[Any]:
    """The module, its classes and its functions. Expressions, most of a tree, are not searched."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield from definitions(child)


def _prose(texts: list[str], seen: set[str]) -> list[str]:
    """The paragraphs of `texts` that are English prose and not in `seen`. Adds them to `seen`."""
    kept = []
    for text in texts:
        for block in re.split(r'\n\s*\n', inspect.cleandoc(text)):
            paragraph = _paragraph(block)
            if paragraph and paragraph not in seen:
                seen.add(paragraph)
                kept.append(paragraph)
    return kept


def _paragraph(block: str) -> str:
    """A block of prose on one line, or '' if it is code, a table, a list or a heading."""
    lines = block.split('\n')
    margin = len(lines[0]) - len(lines[0].lstrip())
    ragged = any(len(line) - len(line.lstrip()) != margin for line in lines)
    if ragged or lines[0].strip().startswith(MARKUP):
        return ''
    text = ' '.join(line.strip() for line in lines)
    text = QUOTES.sub(r'\1', ROLE.sub(r'\1', text)).replace('**', '').rstrip(':')
    letters = sum(c.isalpha() or c == ' ' for c in text)
    prose = text.endswith(('.', '!', '?')) and len(text.split()) >= 6 and letters > 0.88 * len(text)
    return text if prose else ''

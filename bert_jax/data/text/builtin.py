"""English prose and program code of Python and the packages installed here; no download is needed.

Prose: each topic of Python's language manual is a document, and so are the docstrings of a module.
Code, tables, signatures and headings are left out. Repeated paragraphs are left out too, so that
held-out documents do not repeat others.

Code: each module of the standard library is a document, and each line of it is a statement.
Docstrings and comments are left out. Code is so regular that a very small model learns to fill in
masked words within minutes.
"""

import ast
import functools
import importlib.metadata
import importlib.util
import inspect
import itertools
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
LIBRARY = pathlib.Path(sysconfig.get_paths()['stdlib'])
ROLE = re.compile(r':[\w:+-]+:`~?([^`<]+?)(?:\s*<[^`]*>)?`')
QUOTES = re.compile(r'`{1,2}([^`]+)`{1,2}_{0,2}')
MARKUP = ('>>>', '..', ':', '|', '+-', '* ', '- ', '#', '==', '@', '$')


def prose_identity() -> dict[str, Any]:
    """The versions that determine the prose: Python's and those of the packages."""
    return {
        'python': sys.version,
        **{name: importlib.metadata.version(name) for name in PACKAGES.values()},
    }


def prose(summary: Summary) -> Iterator[list[str]]:
    """The documents as lists of paragraphs; `summary` counts their sources."""
    topics, modules, broken = _read_prose()
    summary.count('manual topics', number=len(topics))
    summary.count('modules', number=len(modules))
    if broken:
        summary.count('modules that do not parse, left out', number=broken)
    yield from topics
    yield from modules


@functools.cache  # the text is a few MB, and parsing 2,000 modules takes seconds
def _read_prose() -> tuple[list[list[str]], list[list[str]], int]:
    """The paragraphs of each topic of the manual and of each module, and the number of modules that
    cannot be parsed."""
    seen: set[str] = set()
    contents = pydoc_data.topics.topics
    topics = [_paragraphs([contents[topic]], seen) for topic in sorted(contents)]
    roots = [LIBRARY]
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        folders = sorted(spec.submodule_search_locations or []) if spec else []
        roots += map(pathlib.Path, folders)
    modules, broken = [], 0
    for path in itertools.chain.from_iterable(map(_modules, roots)):
        try:
            nodes = _definitions(_parsed(path))
            texts = [text for node in nodes if (text := ast.get_docstring(node))]
            modules.append(_paragraphs(texts, seen))
        except (SyntaxError, ValueError):  # templates, and files of older Pythons
            broken += 1
    return topics, modules, broken


@functools.cache
def code_modules() -> dict[pathlib.Path, int]:
    """The modules of the standard library in a fixed order, with their sizes in bytes."""
    found = [path for path in _modules(LIBRARY) if 'pydoc_data' not in path.parts]  # it has prose
    return {path: path.stat().st_size for path in found}


def code(summary: Summary) -> Iterator[list[str]]:
    """The documents as lists of lines; `summary` counts the modules and the bytes read."""
    for path, size in code_modules().items():
        summary.passed += size
        try:
            lines = _code_lines(path)
        except (SyntaxError, ValueError):  # templates are not valid Python
            summary.count('modules that do not parse, left out', str(path))
            continue
        if lines:
            summary.count('modules of the standard library')
            yield lines
        else:
            summary.count('modules without code, left out', str(path))


@functools.cache  # all lines are a few MB, and parsing takes seconds; they are read several times
def _code_lines(path: pathlib.Path) -> list[str]:
    """The lines of a module's code, without indentation."""
    tree = _parsed(path)
    for node in _definitions(tree):
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
            if not node.body and not isinstance(node, ast.Module):
                node.body = [ast.Pass()]  # without its docstring, the body would be empty
    lines = map(str.strip, ast.unparse(tree).split('\n'))
    return [line for line in lines if line]


def _modules(root: pathlib.Path) -> list[pathlib.Path]:
    """The modules in a folder and below it, in a fixed order."""
    paths = sorted(root.rglob('*.py'))
    return [path for path in paths if SKIPPED.isdisjoint(path.relative_to(root).parts)]


def _parsed(path: pathlib.Path) -> ast.Module:
    """A module, which is not imported."""
    with warnings.catch_warnings(action='ignore'):  # invalid escape sequences in packages
        return ast.parse(path.read_bytes())


def _definitions(node: ast.AST) -> Iterator[Any]:
    """The module, its classes and its functions. Expressions, most of a tree, are not searched."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield from _definitions(child)


def _paragraphs(texts: list[str], seen: set[str]) -> list[str]:
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

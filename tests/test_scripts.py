"""The scripts in tests/: the flags in their commands and the names that they import exist."""

import ast
import functools
import inspect
import pathlib
import re
from typing import Any

from test_imports import parsed
from tiny_model import ROOT

SCRIPT = re.compile(r'(PYTHONPATH=tests )?python (tests/[\w/]+\.py)((?: --[^`\n]*)?)')
TESTS = {path.stem: path for path in (ROOT / 'tests').rglob('*.py')}


@functools.cache
def commands() -> set[tuple[str, ...]]:
    """For each command in READMEs and docstrings: PYTHONPATH, if set, the script, and the flags."""
    found = set[tuple[str, ...]]()
    for path in (*ROOT.glob('*/**/README.md'), *TESTS.values()):
        if 'python tests/' in (text := path.read_text()):
            text = text if path.suffix == '.md' else ast.get_docstring(parsed(path)) or ''
            found |= {match.groups() for match in SCRIPT.finditer(text.replace('\\\n', ' '))}
    return found


def missing(file: pathlib.Path, folders: set[pathlib.Path], seen: set[pathlib.Path]) -> set[str]:
    """The modules of tests that a file and those that it imports need, outside of `folders`."""
    seen.add(file)
    found = set[str]()
    for node in ast.walk(parsed(file)):
        named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        named += [node.module or ''] if isinstance(node, ast.ImportFrom) else []
        for module in (TESTS[name] for name in named if name in TESTS):
            if module.parent not in folders:
                found.add(module.stem)
            elif module not in seen:
                found |= missing(module, folders, seen)
    return found


def test_the_scripts_find_their_modules_and_flags() -> None:
    assert len(commands()) > 15
    for tests, name, words in commands():
        file = ROOT / name
        folders = {file.parent, *([ROOT / 'tests'] if tests else [])}
        assert not missing(file, folders, set()), name
        for flag in re.findall(r'--(\w+)(?=[= ]|$)', words):
            assert flag == 'config' or re.search(rf"DEFINE_\w+\('{flag}'", file.read_text()), flag


def imported(node: ast.ImportFrom) -> dict[str, Any]:
    """Returns the objects that an import statement imports, by name."""
    names = dict[str, Any]()
    exec(ast.unparse(node), names)
    return {alias.asname or alias.name: names[alias.asname or alias.name] for alias in node.names}


def check_names(script: str) -> int:
    """Asserts that the names of bert_jax that a script uses exist; returns the number of uses."""
    nodes, found, used = [*ast.walk(parsed(ROOT / script))], dict[str, Any](), 0
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('bert_jax'):
            found |= imported(node)
    variables = {
        node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    modules = {name for name, value in found.items() if inspect.ismodule(value)} - variables
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = node.value.id
            if name in modules:
                assert hasattr(found[name], node.attr), f'{script}: {name}.{node.attr}'
                used += 1
    return used


def test_what_the_scripts_use_exists() -> None:
    """No test runs most of these scripts, so a name that changes would not be noticed."""
    scripts = {name for _, name, _ in commands() if '/test_' not in name}
    assert len(scripts) >= 7
    for script in scripts:
        imports = re.search('^from bert_jax', (ROOT / script).read_text(), re.MULTILINE)
        assert check_names(script) or not imports, script

"""The scripts in tests/: the flags in their commands and the names that they import exist."""

import ast
import functools
import pathlib
import re

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


@functools.cache
def names(module: str) -> set[str]:
    """The names that a module of bert_jax defines or imports, and the modules in a package."""
    path = ROOT / module.replace('.', '/')
    found = {file.stem for file in path.glob('*')} - {'__pycache__'}
    for node in parsed(path / '__init__.py' if path.is_dir() else path.with_suffix('.py')).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        else:
            targets = (n for n in ast.walk(node) if isinstance(n, ast.Name))
            found |= {n.id for n in targets if isinstance(n.ctx, ast.Store)}
    return found


def check_names(script: str) -> int:
    """Asserts that the names of bert_jax that a script uses exist; returns the number of uses."""
    nodes, modules, used = [*ast.walk(parsed(ROOT / script))], dict[str, str](), 0
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('bert_jax'):
            for alias in node.names:
                assert alias.name in names(node.module), f'{script}: {alias.name}'
                module = f'{node.module}.{alias.name}'
                if (ROOT / module.replace('.', '/')).with_suffix('.py').exists():
                    modules[alias.asname or alias.name] = module
    variables = {
        node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = node.value.id
            if name in modules and name not in variables:
                assert node.attr in names(modules[name]), f'{script}: {name}.{node.attr}'
                used += 1
    return used


def test_what_the_scripts_use_exists() -> None:
    """No test runs most of these scripts, so a name that changes would not be noticed."""
    scripts = {name for _, name, _ in commands() if '/test_' not in name}
    assert len(scripts) >= 7
    for script in scripts:
        assert check_names(script), script

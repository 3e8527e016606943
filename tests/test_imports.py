"""Imports go one way: packages stand in rows, and a module imports from the rows above its own."""

import ast
import functools
import graphlib
import pathlib
import re

import pytest
import small_run
from tiny_model import ROOT

PACKAGE = ROOT / 'bert_jax'
COMMANDS = ('__main__', 'main', 'plan', 'benchmark', 'predict', 'plot', 'export', 'api')
ROWS = (
    ('config', 'batch'),
    ('parallel', 'data.tokenizers'),
    ('models',),
    ('tasks',),
    ('training',),
    ('inference', 'performance'),
    ('finetuning', 'convert'),
    ('preflight',),
    COMMANDS,
)
ROW = {name: number for number, row in enumerate(ROWS) for name in row}
READS_DATA = {*COMMANDS, 'finetuning', 'inference', 'preflight'}


def modules() -> dict[str, pathlib.Path]:
    """Returns all modules of the package by their dotted names below bert_jax. A package has its
    own name."""
    found = {}
    for path in PACKAGE.rglob('*.py'):
        parts = path.relative_to(PACKAGE).with_suffix('').parts
        found['.'.join(part for part in parts if part != '__init__')] = path
    return found


@functools.cache
def parsed(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: pathlib.Path, known: dict[str, pathlib.Path]) -> set[str]:
    """The modules of `known` that `path` imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(parsed(path)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f'{path}: relative import'
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        for name in names:
            if name.startswith('bert_jax.'):
                parts = name.split('.')[1:]
                longest = max(n for n in range(len(parts) + 1) if '.'.join(parts[:n]) in known)
                found.add('.'.join(parts[:longest]))
    return found


def package_of(module: str) -> str:
    """The package of a module: its first part, or data.tokenizers, which stands above the data."""
    return 'data.tokenizers' if module.startswith('data.tokenizers') else module.split('.')[0]


def test_packages_import_from_rows_above() -> None:
    known, checked = modules(), 0
    for module, path in known.items():
        here = package_of(module)
        for other in imports(path, known):
            there = package_of(other)
            checked += 1
            if there in (here, ''):  # '' has the version
                continue
            if there == 'data':
                assert here in READS_DATA, f'{module} imports {other}'
            elif here == 'data':
                assert there in ('config', 'batch', 'data.tokenizers'), f'{module} imports {other}'
            elif here:
                assert ROW[there] < ROW[here], f'{module} imports {other}'
    assert checked > 200


def test_no_circles_between_modules() -> None:
    known = modules()
    graph = {module: imports(path, known) - {module, ''} for module, path in known.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_files_and_functions_are_short() -> None:
    """A file has at most 300 lines, and a function fits on a screen."""
    long = []
    for folder in (PACKAGE, ROOT / 'tests', ROOT / 'configs'):
        for path in folder.rglob('*.py'):
            nodes = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef)]
            long += [f'{path}: {n.name}' for n in nodes if (n.end_lineno or 0) - n.lineno >= 60]
            long += [str(path)] if path.read_text().count('\n') > 300 else []
    assert not long


def test_configurations_import_the_configuration_alone() -> None:
    known = modules()
    presets = 'models.presets'  # data, which imports the configuration alone, too
    for path in (*(ROOT / 'configs').glob('*.py'), known[presets]):
        assert imports(path, known) <= {'config', presets}, path


def importers(libraries: str) -> list[str]:
    """The modules that import a library, which is given as a pattern."""
    imported = re.compile(rf'^\s*(import|from) ({libraries})\b', re.MULTILINE)
    return [name for name, path in modules().items() if imported.search(path.read_text())]


def test_only_data_imports_tensorflow_and_only_checkpoint_orbax() -> None:
    found = importers('tensorflow|clu')
    assert found and all(module.startswith(('data.', 'convert.')) for module in found), found
    assert importers('orbax') == ['training.checkpoint']


# The libraries that the extras `data` and `finetune` install.
EXTRAS = (
    *('tensorflow', 'tensorflow_datasets', 'tokenizers', 'sentencepiece', 'sentencex'),
    *('filelock', 'charset_normalizer', 'backports.zstd', 'sklearn', 'scipy'),
)


@pytest.mark.parametrize('modules', ['measure', 'roofline,sweep,tables'])
def test_training_works_without_the_libraries_of_data(modules: str) -> None:
    """The commands benchmark and plan work without them, too. JAX itself needs SciPy, so SciPy
    stays."""
    blocked = {name: None for name in EXTRAS if name != 'scipy'}
    done = small_run.ended(
        '-c',
        f'import sys; sys.modules.update({blocked}); import bert_jax.training.loop\n'
        f'import bert_jax.{"benchmark" if modules == "measure" else "plan"}\n'
        f'from bert_jax.performance import {modules}; from bert_jax.config import Config\n'
        'from bert_jax.preflight.resolve import without_data; without_data(Config())\n'
        'print(sorted(name for name in sys.modules if name.startswith("tensorflow.")))',
    )
    assert done.stdout == '[]\n', done.stderr


# Flags with a mistake in each command. None of them is about the content of a file.
MISTAKEN = {
    'main': ['--config=tiny', '--config.train.keep=0'],
    'plan': ['--config=tiny', '--topology=v5e-7'],
    'benchmark': ['--config=tiny', '--batch_size=no'],
    'predict': ['--checkpoint=x', '--mode=no'],
    'plot': ['--no=1'],
    'export': ['--checkpoint=x', '--no=1'],
    'convert.__main__': ['--from=hf', '--input=nowhere', '--output=x'],
    'data.prepare': ['--input=builtin', '--output=x', '--holdout=2'],
}
HEAVY = ('jax', 'tensorflow', 'orbax.checkpoint', 'sklearn', 'matplotlib')


@pytest.mark.parametrize('module', MISTAKEN)
def test_a_mistake_is_found_before_slow_imports(module: str) -> None:
    """A command that refuses its flags has not imported JAX, which takes seconds."""
    code = (
        f'import sys, bert_jax.{module} as command\n'
        'from absl import flags; from bert_jax.config import command_line\n'
        "values = getattr(command, 'FLAGS', flags.FLAGS)\n"
        "code = command_line.run('name', command.main, sys.argv, values)\n"
        f'print(code, *(name for name in {HEAVY} if name in sys.modules))'
    )
    done = small_run.ended('-c', code, *MISTAKEN[module])
    assert done.stdout.split() == ['2'], done.stderr

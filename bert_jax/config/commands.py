"""The commands of bert_jax by name."""

import ast
import pathlib

PACKAGE = pathlib.Path(__file__).resolve().parent.parent
COMMANDS = {  # name -> module below bert_jax
    'train': 'main',
    'predict': 'predict',
    'plot': 'plot',
    'convert': 'convert',
    'export': 'export',
    'prepare': 'data.prepare',
    'plan': 'plan',
    'benchmark': 'benchmark',
}


def summary(path: pathlib.Path) -> str:
    """The first line of the docstring of a Python file. The file is not executed."""
    return (ast.get_docstring(ast.parse(path.read_text())) or '').partition('\n')[0]


def describe(module: str) -> str:
    """The first clause of the docstring of a command's module."""
    path = PACKAGE.joinpath(*module.split('.'))
    path = path / '__main__.py' if path.is_dir() else path.with_suffix('.py')
    return summary(path).partition('. ')[0].partition(':')[0].rstrip('.')


def name_of(module: str) -> str:
    """The name of the command whose module is called 'bert_jax.plan'; '' if there is none."""
    short = module.removeprefix('bert_jax.').removesuffix('.__main__')
    return next((name for name, its_module in COMMANDS.items() if its_module == short), '')

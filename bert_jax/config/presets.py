"""The configurations in configs/, the folder beside the package, by name."""

import ast
import difflib
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parents[2] / 'configs'


def names() -> list[str]:
    """The names of the files in configs/, without .py."""
    return sorted(path.stem for path in FOLDER.glob('*.py') if path.stem != '__init__')


def descriptions() -> dict[str, str]:
    """The first line of each configuration's docstring, by name. The files are not executed."""
    found = {}
    for name in names():
        text = ast.get_docstring(ast.parse((FOLDER / f'{name}.py').read_text())) or ''
        found[name] = text.partition('\n')[0]
    return found


def resolve(value: str) -> str:
    """The path of the file that --config=VALUE means. The text after a colon is kept.

    value: the path of a file, or a name in configs/. Raises ValueError naming the nearest one.
    """
    path, colon, argument = value.partition(':')
    if pathlib.Path(path).is_file():
        return value
    if path in names():
        return f'{FOLDER / path}.py{colon}{argument}'
    nearest = difflib.get_close_matches(pathlib.Path(path).stem, names(), n=1, cutoff=0.5)
    hint = f'did you mean --config={nearest[0]}? ' if nearest else ''
    raise ValueError(f'--config={value}: no such file; {hint}{known()}')


def known() -> str:
    """A clause that lists the names, for messages."""
    return f'the names are {", ".join(names())}' if names() else f'{FOLDER} does not exist'

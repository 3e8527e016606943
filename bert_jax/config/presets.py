"""The configurations in configs/, the folder beside the package, by name."""

import difflib
import pathlib

from bert_jax.config import commands

FOLDER = commands.PACKAGE.parent / 'configs'


def names() -> list[str]:
    """The names of the files in configs/, without .py."""
    return sorted(path.stem for path in FOLDER.glob('*.py') if path.stem != '__init__')


def descriptions() -> dict[str, str]:
    """The first line of each configuration's docstring, by name."""
    return {name: commands.summary(FOLDER / f'{name}.py') for name in names()}


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

"""The command line of whatever takes `--config`: flags in, a validated configuration out."""

import difflib
import json
import logging
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from bert_jax.config import Config, default, flat, from_dict

CONFIG = config_flags.DEFINE_config_file('config', None, 'Configuration file, configs/*.py.')


def parse(argv: list[str]) -> tuple[Config, str]:
    """The configuration, with what the flags change, and the name of its file.

    Raises ValueError or flags.Error, each with one line that says what to change.
    """
    keys = flat(default().to_dict())
    for arg in argv[1:]:
        override = re.match(r'--?(?:no)?config\.([\w.]+)', arg)
        if override and override[1] not in keys:
            near = difflib.get_close_matches(override[1], keys, n=1, cutoff=0.0)[0]
            raise ValueError(
                f'config.{override[1]} is not a configuration key; did you mean config.{near}?'
            )
    if sum(bool(re.match(r'--?config\.train\.phases\b', arg)) for arg in argv[1:]) > 1:
        raise ValueError('--config.train.phases is given twice; give all phases in one list')
    if not any(re.match(r'--?(config(=|$)|help)', arg) for arg in argv[1:]):
        raise ValueError('--config=FILE is missing, such as --config=configs/tiny.py')
    app.define_help_flags()
    try:
        rest = flags.FLAGS(argv)
        values = CONFIG.value.to_dict()
    except flags.IllegalFlagValueError as error:
        wrong = re.match(r'flag --config\.([\w.]+)=(.*?): ', str(error))
        if wrong and wrong[1] in keys:
            kind = type(keys[wrong[1]]).__name__
            raise ValueError(f'config.{wrong[1]} must be {kind}, not {wrong[2]!r}') from error
        line = _last_line(error)
        raise ValueError(line if line.startswith('flag --') else f'--config: {line}') from error
    except flags.Error:
        raise
    except Exception as error:  # whatever the config file does, which is the user's code
        raise ValueError(f'--config: {_last_line(error)}') from error
    if rest[1:]:
        raise ValueError(f'unexpected arguments: {" ".join(rest[1:])}')
    name = pathlib.Path(config_flags.get_config_filename(flags.FLAGS['config'])).stem
    return from_dict(values), name


def run(name: str, main: Callable[[list[str]], int], argv: list[str]) -> int:
    """The exit code of `main`: its own; 2 a mistake, said in one line; 130 interrupted."""
    logging.basicConfig(format='%(message)s', level=logging.WARNING)
    try:
        return main(argv)
    except (ValueError, OSError, flags.Error) as error:
        print(f'{name}: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'{name}: interrupted', file=sys.stderr)
        return 130


def check_output(path: str) -> None:
    """Raises ValueError where `write` would not find a place: before hours are spent on what it
    is to write."""
    folder = pathlib.Path(path).parent
    if path and (not folder.is_dir() or pathlib.Path(path).is_dir()):
        problem = (
            'is a folder' if folder.is_dir() else f'is in no folder; make it: mkdir -p {folder}'
        )
        raise ValueError(f'--output={path} {problem}')


def write(found: list[dict[str, Any]], path: str) -> None:
    """The numbers as JSON, where a path is given."""
    if path:
        pathlib.Path(path).write_text(json.dumps(found, indent=2) + '\n')


def _last_line(error: Exception) -> str:
    """The message, without the traceback that config_flags puts before it."""
    return str(error).strip().split('\n')[-1].strip() or type(error).__name__

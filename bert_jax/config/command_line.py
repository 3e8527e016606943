"""The command line: flags in, a validated configuration out, and the exit codes of all commands.

0: success. 1: an unexpected error, with a traceback. 2: a user error, or a step that does not fit
in memory; the message is one line. 3: a loss that is not finite. 128 + N: interrupted by signal N.
"""

import errno
import json
import logging
import os
import pathlib
import re
import select
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import absl.logging
from absl import flags
from ml_collections import config_flags

from bert_jax.config import Config, fields, from_dict, keys
from bert_jax.config.console import StderrHandler, say
from bert_jax.config.errors import (
    OUT_OF_MEMORY_HINT,
    Interrupted,
    first_line,
    is_out_of_memory,
    unknown_key,
)

CONFIG = config_flags.DEFINE_config_file('config', None, 'Configuration file, configs/*.py.')
MISTAKES = (ValueError, ImportError, EOFError, flags.Error)
# Errors of files and disks are user errors too. Errors of networks and devices are not, because the
# same command may succeed later. Libraries raise an OSError without an errno for mistakes in files.
DISK = ('EACCES', 'EDQUOT', 'EEXIST', 'EISDIR', 'ENAMETOOLONG', 'ENOENT', 'ENOSPC', 'ENOTDIR')
DISK_ERRORS = {None, errno.EPERM, errno.EROFS, *(getattr(errno, name) for name in DISK)}


def run(
    name: str,
    main: Callable[[list[str]], int],
    argv: list[str],
    flag_values: flags.FlagValues = flags.FLAGS,
    leave: Callable[[int], int] = int,
) -> int:
    """Calls `main(argv)` and returns the exit code of the command `name`.

    An error ends the command with one line on stderr, or with a traceback if it is unexpected.
    flag_values: the flags of the command, for --help. leave: called with the exit code
    after an error; it returns the code or ends the process.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # read when TensorFlow is imported
    os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')  # importing Keras 3 takes seconds
    logging.basicConfig(
        handlers=[StderrHandler()], format='%(message)s', level=logging.WARNING, force=True
    )
    absl.logging.set_verbosity(absl.logging.WARNING)
    try:
        code = 0
        if {'-h', '-help', '--help'} & {*argv[1:]}:
            print(_help(sys.modules[main.__module__].__doc__ or '', flag_values))
        else:
            code = main(argv)
        sys.stdout.flush()  # inside the try block, so that an error is handled below
        return code
    except (KeyboardInterrupt, Interrupted) as stop:
        say(f'{name}: {str(stop) or "interrupted"}')
        return 128 + getattr(stop, 'number', signal.SIGINT)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads_stdout():
            return 128 + signal.SIGPIPE
        code, line = _outcome(error)
        if code == 1:
            traceback.print_exc()
        else:
            say(f'{name}: {line}')
        return leave(code)


def _outcome(error: Exception) -> tuple[int, str]:
    """The exit code and the message for `error`."""
    if isinstance(error, FloatingPointError):
        return 3, str(error)
    if is_out_of_memory(error):
        return 2, f'{first_line(error).removesuffix(".")}. {OUT_OF_MEMORY_HINT}'
    mistake = isinstance(error, MISTAKES)
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        mistake = mistake or error.errno in DISK_ERRORS
    return 2 if mistake else 1, str(error)


def _nobody_reads_stdout() -> bool:
    """Whether the reader of stdout has closed it (`| head`). If so, discards all later output."""
    poll = select.poll()
    poll.register(1, 0)
    closed = any(event & select.POLLERR for _, event in poll.poll(0))
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return closed


def _help(doc: str, flag_values: flags.FlagValues) -> str:
    """The command's docstring and the flags of this package."""
    modules = [
        module
        for module in flag_values.flags_by_module_dict()
        if module == sys.argv[0] or module.startswith('bert_jax')
    ]
    return '\n'.join([doc, *map(flag_values.module_help, modules)])


def parse_flags(argv: list[str], flag_values: flags.FlagValues) -> None:
    """Sets the flags. Raises flags.Error, or ValueError for arguments that are not flags."""
    _refuse_arguments(flag_values(argv)[1:])


def _refuse_arguments(rest: list[str]) -> None:
    if rest:
        raise ValueError(f"unexpected arguments: {' '.join(rest)}; quote a pattern such as '*.txt'")


def parse(argv: list[str]) -> tuple[Config, str]:
    """Returns the configuration, with the flags applied, and the name of its file.

    Raises ValueError or flags.Error with one line that names the flag.
    """
    for arg in argv[1:]:
        override = re.match(r'--?(?:no)?config\.([\w.]+)', arg)
        if override and override[1] not in keys.KEYS:
            raise unknown_key(override[1], keys.KEYS)
    if sum(bool(re.match(r'--?config\.train\.phases\b', arg)) for arg in argv[1:]) > 1:
        raise ValueError('--config.train.phases is given twice; give all phases in one list')
    if not any(re.match(r'--?config(=|$)', arg) for arg in argv[1:]):
        raise ValueError('--config=FILE is missing, such as --config=configs/tiny.py')
    try:
        rest = flags.FLAGS(argv)
        values = CONFIG.value.to_dict()
    except flags.IllegalFlagValueError as error:
        wrong = re.match(r'flag --config\.([\w.]+)=(.*?): ', str(error))
        if wrong and wrong[1] in keys.KEYS:
            kind = fields.value_type(keys.KEYS[wrong[1]]).__name__
            raise ValueError(f'config.{wrong[1]} must be {kind}, not {wrong[2]!r}') from error
        line = _last_line(error)
        raise ValueError(line if line.startswith('flag --') else f'--config: {line}') from error
    except flags.Error:
        raise
    except Exception as error:  # the file is the user's code and may raise anything
        raise ValueError(f'--config: {_last_line(error)}') from error
    _refuse_arguments(rest[1:])
    name = pathlib.Path(config_flags.get_config_filename(flags.FLAGS['config'])).stem
    return from_dict(values), name


def _last_line(error: Exception) -> str:
    """The message, without the traceback that config_flags puts before it."""
    return str(error).strip().split('\n')[-1].strip() or type(error).__name__


def check_output(path: str) -> None:
    """Raises ValueError if `write` could not write to --output. Call it before the long work."""
    folder = pathlib.Path(path).parent
    if path and pathlib.Path(path).is_dir():
        raise ValueError(f'--output={path} is a folder')
    if path and not folder.is_dir():
        raise ValueError(f'--output={path}: its folder does not exist; run: mkdir -p {folder}')


def write(results: list[dict[str, Any]], path: str) -> None:
    """Writes the results to `path` as JSON; does nothing if `path` is empty."""
    if path:
        pathlib.Path(path).write_text(json.dumps(results, indent=2) + '\n')

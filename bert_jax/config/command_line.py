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
from ml_collections import ConfigDict, config_flags

from bert_jax.config import (
    Config,
    disk,
    environment,
    fields,
    from_dict,
    keys,
    needs,
    presets,
    refuse_unread,
)
from bert_jax.config.console import StderrHandler, say
from bert_jax.config.errors import (
    OUT_OF_MEMORY_HINT,
    Interrupted,
    first_line,
    is_out_of_memory,
    unknown_key,
    unknown_url,
)

CONFIG = config_flags.DEFINE_config_file('config', None, 'A name in configs/, or a file.')
CONFIG_FLAG = re.compile(r'--?config(=|$)')
HELP = {'-h', '-help', '--help'}
PATHS = ('workdir', 'checkpoint', 'input')  # flags that name a path
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
    logging.basicConfig(
        handlers=[StderrHandler()], format='%(message)s', level=logging.WARNING, force=True
    )
    absl.logging.set_verbosity(absl.logging.WARNING)
    try:
        code = 0
        if HELP & {*argv[1:]}:
            print(_help(main.__module__, argv, flag_values))
        else:
            environment.prepare(name)
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
    if isinstance(error, OSError) and error.errno in disk.REASONS.keys() & DISK_ERRORS:
        where = error.filename or 'the output'
        return 2, f'{disk.REASONS[error.errno]} for {where}. {disk.remedy(error.errno)}'
    if line := unknown_url(error):
        return 2, line
    mistake = isinstance(error, MISTAKES)
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        mistake = mistake or error.errno in DISK_ERRORS
    return 2 if mistake else 1, str(error)


def _nobody_reads_stdout() -> bool:
    """Returns whether the reader of stdout has closed it, as `head` does.

    If so, all later output is discarded.
    """
    poll = select.poll()
    poll.register(1, 0)
    closed = any(event & select.POLLERR for _, event in poll.poll(0))
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return closed


def _help(module: str, argv: list[str], flag_values: flags.FlagValues) -> str:
    """The text of --help, with the values of the configuration if --config names one."""
    from bert_jax.config import help  # takes time, and nothing else needs it

    others = [arg for arg in argv if arg not in HELP]
    named = 'config' in flag_values and any(CONFIG_FLAG.match(arg) for arg in others)
    values = ConfigDict(_values(others)) if named else None
    loaded = sys.modules[module]
    spec = loaded.__spec__  # has the real name of the module that runs as __main__
    return help.text(spec.name if spec else module, loaded.__doc__ or '', flag_values, values)


def parse_flags(argv: list[str], flag_values: flags.FlagValues) -> None:
    """Sets the flags. Raises flags.Error, or ValueError for arguments that are not flags."""
    _refuse_arguments(flag_values(argv)[1:])
    _refuse_empty(flag_values)


def _refuse_arguments(rest: list[str]) -> None:
    if rest:
        raise ValueError(f"unexpected arguments: {' '.join(rest)}; quote a pattern such as '*.txt'")


def parse(argv: list[str]) -> tuple[Config, str, list[str]]:
    """Returns the configuration, with the flags applied, the name of its file, and the keys that
    the command line sets.

    Raises ValueError or flags.Error with one line that names the flag.
    """
    config = from_dict(_values(argv))
    typed = _typed_keys(argv)
    refuse_unread(config, typed)
    needs.check(config, typed)
    file = pathlib.Path(config_flags.get_config_filename(flags.FLAGS['config']))
    return config, file.stem, typed


def _typed_keys(argv: list[str]) -> list[str]:
    """The keys that the command line sets."""
    found = (re.match(r'--?(?:no)?config\.([\w.]+)', arg) for arg in argv[1:])
    return [match[1] for match in found if match]


def _values(argv: list[str]) -> dict[str, Any]:
    """The values of the configuration, with the flags applied, as nested dicts."""
    typed = _typed_keys(argv)
    for key in typed:
        if key not in keys.KEYS:
            raise unknown_key(key, keys.KEYS)
    if typed.count('train.phases') > 1:
        raise ValueError('--config.train.phases is given twice; give all phases in one list')
    if not any(CONFIG_FLAG.match(arg) for arg in argv[1:]):
        raise ValueError(f'--config=NAME is missing, such as --config=tiny; {presets.known()}')
    argv = _with_paths(argv)
    try:
        rest = flags.FLAGS(argv)
        values: dict[str, Any] = CONFIG.value.to_dict()
    except Exception as error:  # the file is the user's code and may raise anything
        raise _explained(error) from error
    _refuse_arguments(rest[1:])
    _refuse_empty(flags.FLAGS)
    return values


def _with_paths(argv: list[str]) -> list[str]:
    """The arguments with the path of the configuration's file instead of its name."""
    found = list(argv)
    for i, arg in enumerate(argv):
        flag, equals, value = arg.partition('=')
        if flag in ('--config', '-config') and equals:
            found[i] = f'{flag}={presets.resolve(value)}'
        elif flag in ('--config', '-config') and i + 1 < len(argv):
            found[i + 1] = presets.resolve(argv[i + 1])
    return found


def _explained(error: Exception) -> Exception:
    """Returns an error with a clear message in place of `error`, which comes from a flag or from
    the configuration's file."""
    if isinstance(error, flags.UnrecognizedFlagError):
        name, value = error.flagname, str(error.flagvalue).partition('=')[2]
        # The flag may be a key without its section.
        meant = [key for key in keys.KEYS if name in (key, key.rpartition('.')[2])]
        if not meant:
            return error
        written = ' or '.join(f'--config.{key}={value or "..."}' for key in meant)
        return ValueError(f'--{name} is not a flag, but a key of the configuration: {written}')
    # config_flags puts a traceback before the message.
    line = str(error).strip().split('\n')[-1].strip() or type(error).__name__
    if isinstance(error, flags.IllegalFlagValueError):
        wrong = re.match(r'flag --config\.([\w.]+)=(.*?): ', str(error))
        if wrong and wrong[1] in keys.KEYS:
            kind = fields.value_type(keys.KEYS[wrong[1]]).__name__
            return ValueError(f'config.{wrong[1]} must be {kind}, not {wrong[2]!r}')
        return ValueError(line if line.startswith('flag --') else f'--config: {line}')
    if isinstance(error, flags.Error):
        return error
    return ValueError(f'--config: {line}')


def _refuse_empty(flag_values: flags.FlagValues) -> None:
    """Raises ValueError if a path was given as empty text."""
    for name in [name for name in PATHS if name in flag_values]:
        if flag_values[name].present and flag_values[name].value in ('', ['']):
            raise ValueError(f'--{name} is empty; expected a path')


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

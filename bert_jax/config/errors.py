"""Errors about configuration keys, and functions that inspect the errors of libraries."""

import difflib
import re
import signal
from collections.abc import Iterable

OUT_OF_MEMORY_HINT = (
    'Use a smaller batch_size, a larger config.train.accum_steps or config.mesh.fsdp, or '
    'config.model.remat=full; in an evaluation, a smaller config.eval.batch_size'
)


class Interrupted(Exception):
    """Raised when a run has saved and stopped because of a signal to this or another process.

    number: the number of the signal.
    """

    def __init__(self, message: str, number: int = signal.SIGTERM):
        super().__init__(message)
        self.number = number


def config_error(key: str, value: object, expected: str) -> ValueError:
    """The error for a configuration key, such as 'optim.eps', whose value is not allowed."""
    return ValueError(f'config.{key} is {value!r}; expected {expected}')


def unknown_key(key: str, known: Iterable[str]) -> ValueError:
    """The error for a configuration key that does not exist. It names the nearest key, if one is
    similar."""
    known = list(known)
    name = key.rpartition('.')[2]
    # If the user left out the section, the name is the last part of a known key.
    same = [other for other in known if other.rpartition('.')[2] == name]
    nearest = difflib.get_close_matches(key, same or known, n=1, cutoff=0.0 if same else 0.6)
    hint = f'did you mean config.{nearest[0]}?' if nearest else '--help lists all keys'
    return ValueError(f'config.{key} is not a configuration key; {hint}')


def first_line(error: BaseException) -> str:
    """The first line of the message, at most 200 characters; without one, the error's type."""
    return str(error).strip().split('\n')[0][:200] or type(error).__name__


def unknown_url(error: BaseException) -> str:
    """The message for an error about a URL whose scheme no library reads, such as https://; '' for
    another error."""
    kind = str(error.args[0]) if isinstance(error, KeyError) and error.args else ''
    if not kind.endswith('://') and type(error).__name__ == 'UnimplementedError':
        found = re.match(r"File system scheme '(\w+)' not implemented", str(error))
        kind = f'{found[1]}://' if found else ''
    if not kind.endswith('://'):
        return ''
    return f'URLs that begin with {kind} are not supported; download the files and give their path'


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether the error says that a device has too little memory."""
    # The type is compared by its name, so that this module does not import JAX.
    return type(error).__name__ == 'JaxRuntimeError' and 'RESOURCE_EXHAUSTED' in str(error)

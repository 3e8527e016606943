"""Text for the user of a command: lines on stderr, their width, plurals and units."""

import contextlib
import logging
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import IO

WIDTH = 80  # columns of a line if the output is not a terminal


def say(line: str) -> None:
    """Prints a line on stderr. Once stderr has been closed (`2>&1 | head`), it prints nothing."""
    try:
        print(fitted(line, sys.stderr), file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = open(os.devnull, 'w')  # noqa: SIM115


def fitted(text: str, stream: IO[str], indent: int = 2) -> str:
    """The text for `stream`. If that is a terminal, lines that are longer than it is wide are
    wrapped at spaces, as `wrapped` does it. In a file each line stays whole, so that it can be
    searched for."""
    if not stream.isatty():
        return text
    width = max(shutil.get_terminal_size().columns, 20)
    return '\n'.join(
        wrapped(line, width, indent) if len(line) > width else line for line in text.split('\n')
    )


def wrapped(line: str, width: int = WIDTH, indent: int = 0) -> str:
    """Returns the line, wrapped at spaces to lines of at most `width` columns. indent: the number
    of additional spaces before all lines but the first."""
    own = len(line) - len(line.lstrip(' '))
    return textwrap.fill(
        line,
        width=width,
        subsequent_indent=' ' * (own + indent),
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )


def plural(count: int, noun: str, several: str = '') -> str:
    """Returns a number and its noun: '1 file', '2,048 files'. several: the plural of the noun, if
    it is not formed with an s."""
    return f'{count:,} {noun if count == 1 else several or noun + "s"}'


def readable_bytes(size: float) -> str:
    """A number of bytes with a unit, such as '1.25 GiB'."""
    for unit in ('B', 'KiB', 'MiB', 'GiB'):
        if size < 1024:
            return f'{size:.4g} {unit}'
        size /= 1024
    return f'{size:.4g} TiB'


@contextlib.contextmanager
def working(what: str, in_files: bool = True) -> Iterator[None]:
    """Shows on stderr what a command does while the block runs. In a terminal this is a live line
    with the time that has passed; otherwise it is a plain line. in_files: whether to print the
    plain line."""
    if not sys.stderr.isatty():
        if in_files:
            say(f'{what} ...')
        yield
        return
    from rich import console, progress  # takes time, and few commands need it

    columns = (progress.TextColumn('{task.description} ...'), progress.TimeElapsedColumn())
    out = console.Console(stderr=True)
    with progress.Progress(*columns, console=out, transient=True) as shown:
        shown.add_task(what)
        yield


class StderrHandler(logging.Handler):
    """Writes log records to the current sys.stderr, which a live progress bar replaces."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))

"""Lines on stderr for the user of a command."""

import logging
import os
import sys


def say(line: str) -> None:
    """Prints a line on stderr. Once stderr has been closed (`2>&1 | head`), it prints nothing."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = open(os.devnull, 'w')  # noqa: SIM115


class StderrHandler(logging.Handler):
    """Writes log records to the current sys.stderr, which a live progress bar replaces."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))

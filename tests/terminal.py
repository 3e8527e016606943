"""Runs a command on a pseudo-terminal and returns its output."""

import os
import pty
import re
import subprocess
from collections.abc import Mapping

from tiny_model import ROOT


def shown(command: list[str], columns: int = 80, **options: object) -> str:
    """Returns the output of `command` on a terminal of `columns` columns, with the codes that move
    the cursor. The command has to succeed."""
    ours, theirs = pty.openpty()
    environment: Mapping[str, str] = {
        **os.environ,
        'COLUMNS': str(columns),
        'TERM': 'xterm',
        'PYTHONPATH': str(ROOT),
    }
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        **{'env': environment} | options,  # type: ignore[call-overload]
    ) as process:
        os.close(theirs)
        output = b''
        while True:
            try:
                output += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        assert process.wait(timeout=60) == 0, output
    os.close(ours)
    return output.decode()


def lines(screen: str) -> list[str]:
    """Returns all lines that were shown, including lines that were overwritten later."""
    parts = re.split(r'[\r\n]+', screen)
    return [re.sub(r'\x1b\[[0-9;?]*[a-zA-Z]', '', part).rstrip() for part in parts]

"""Runs commands in processes of their own. They are forked from one that has imported libraries,
because imports take seconds."""

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from typing import NamedTuple

import small_run

# Reads one line of JSON for each command, and prints its exit code.
SERVER = textwrap.dedent("""
    import importlib, json, os, sys, traceback
    for library in sys.argv[1:]:
        importlib.import_module(library)
    for line in sys.stdin:
        code, argv, folder, outputs = json.loads(line)
        pid = os.fork()
        if not pid:
            os.chdir(folder)
            for descriptor, path in enumerate(outputs, 1):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
            sys.argv, ending = ['bert_jax', *argv], 1
            try:
                exec(code, {'__name__': 'code'})
                ending = 0
            except SystemExit as ended:
                ending = ended.code or 0
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(ending)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
""")
COMMAND = "import runpy; runpy.run_module('bert_jax', run_name='__main__', alter_sys=True)"


class Ended(NamedTuple):
    """The exit code and the output of a command that has ended."""

    code: int
    stdout: str
    stderr: str


@contextlib.contextmanager
def running(
    *libraries: str, devices: int = 1, **environment: str
) -> Iterator[Callable[..., Ended]]:
    """Yields a function that runs `bert_jax ARGUMENTS` in a folder, or other code with arguments.

    libraries: the modules that are imported once, before the first command.
    """
    with (
        tempfile.TemporaryDirectory() as temporary,
        subprocess.Popen(
            [sys.executable, '-W', 'ignore:os.fork', '-c', SERVER, *libraries],
            env=small_run.environment(devices) | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server,
    ):
        assert server.stdin and server.stdout
        requests, answers = server.stdin, server.stdout
        outputs = [f'{temporary}/stdout', f'{temporary}/stderr']

        def run(*argv: str, folder: pathlib.Path = small_run.ROOT, code: str = COMMAND) -> Ended:
            print(json.dumps([code, argv, str(folder), outputs]), file=requests, flush=True)
            ending = int(answers.readline())
            return Ended(ending, *(pathlib.Path(path).read_text() for path in outputs))

        yield run
        requests.close()

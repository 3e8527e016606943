"""Commands end with an exit code, one line for a mistake, and a traceback for any other error."""

import os
import subprocess
import sys
from collections.abc import Callable

import jax
import pytest
from absl import flags
from tiny_model import ROOT

from bert_jax.config import command_line
from bert_jax.config.errors import Interrupted

Unimplemented = type('UnimplementedError', (Exception,), {})  # the name of TensorFlow's error
ENDS: list[tuple[BaseException, int, bool]] = [  # what main raises, the exit code, a traceback?
    (ValueError('a mistake'), 2, False),
    (FileNotFoundError('gone.txt'), 2, False),
    (ImportError("no matplotlib; pip install '.[plot]'"), 2, False),
    (EOFError('a truncated archive'), 2, False),
    (flags.UnrecognizedFlagError('typo'), 2, False),
    (OSError(28, 'disk full'), 2, False),
    (OSError('a damaged archive'), 2, False),
    (KeyError('https://'), 2, False),
    (Unimplemented("File system scheme 'hf' not implemented (file: 'hf://a')"), 2, False),
    (Unimplemented('another'), 1, True),
    (FloatingPointError('not finite at step 3'), 3, False),
    (jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory\ntrace'), 2, False),
    (jax.errors.JaxRuntimeError('INTERNAL: ours'), 1, True),
    (KeyError('ours'), 1, True),
    (AttributeError('ours'), 1, True),
    (TypeError('ours'), 1, True),
    (OSError(5, 'input/output error'), 1, True),
    (ConnectionResetError(104, 'reset'), 1, True),
    (BrokenPipeError(32, 'a socket'), 1, True),
    (TimeoutError('no answer'), 1, True),
]


def raising(error: BaseException) -> Callable[[list[str]], int]:
    def main(argv: list[str]) -> int:
        raise error

    return main


@pytest.mark.parametrize(('error', 'code', 'traceback'), ENDS, ids=lambda value: str(value)[:20])
def test_an_error_ends_a_command(
    error: BaseException, code: int, traceback: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    left: list[int] = []
    leave = lambda code: left.append(code) or code  # noqa: E731
    assert command_line.run('name', raising(error), ['name'], leave=leave) == code
    said = capsys.readouterr().err
    assert left == [code]
    if traceback:
        assert said.startswith('Traceback') and type(error).__name__ in said
    else:
        assert said.startswith('name: ') and said.count('\n') == 1


@pytest.mark.parametrize(
    ('error', 'code'),
    [(Interrupted('saved'), 143), (Interrupted('saved', 2), 130), (KeyboardInterrupt(), 130)],
)
def test_a_signal_ends_a_command(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.run('name', raising(error), ['name'], leave=pytest.fail) == code
    assert capsys.readouterr().err in ('name: saved\n', 'name: interrupted\n')


def test_nobody_reads_the_output() -> None:
    code = (
        'import sys\n'
        'from bert_jax.config import command_line\n'
        'def main(argv):\n'
        '    for i in range(100_000): print(i)\n'
        '    return 0\n'
        "sys.exit(command_line.run('name', main, sys.argv))\n"
    )
    line = f'{sys.executable} -c "$CODE" | head -1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ['bash', '-c', line],
        env=os.environ | {'PYTHONPATH': str(ROOT), 'CODE': code},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (141, '0\n', '')


@pytest.mark.parametrize('define', [flags.DEFINE_string, flags.DEFINE_multi_string])
def test_an_empty_path_is_refused(define: Callable) -> None:
    values = flags.FlagValues()
    define('workdir', None, 'A folder.', flag_values=values)
    with pytest.raises(ValueError, match='--workdir is empty; expected a path'):
        command_line.parse_flags(['name', '--workdir='], values)

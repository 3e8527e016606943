"""Lines for the user of a command."""

import io
import logging
import sys
import textwrap

import pytest
import terminal

from bert_jax.config import console
from bert_jax.config.console import fitted, plural, readable_bytes, wrapped

LONG = 'name         ' + 'word ' * 40 + '/a/very/long/path/' * 6


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_number_and_its_noun() -> None:
    assert [plural(n, 'file') for n in (0, 1, 2048)] == ['0 files', '1 file', '2,048 files']
    assert plural(1, 'copy', 'copies') + plural(2, 'copy', 'copies') == '1 copy2 copies'


def test_sizes_have_a_unit() -> None:
    sizes = {1000: '1000 B', 30_000: '29.3 KiB', 2**20: '1 MiB', 5 * 2**28: '1.25 GiB'}
    sizes[3 * 2**41] = '6 TiB'
    assert {size: readable_bytes(size) for size in sizes} == sizes


def test_lines_are_wrapped_for_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('COLUMNS', '60')
    assert fitted(LONG, io.StringIO()) == LONG
    first, *others, path = fitted(f'short\n  {LONG}', Terminal()).split('\n')
    assert first == 'short' and '/a/very/' in path
    assert all(len(line) <= 60 and line.startswith('  ') for line in others)
    assert all(line.startswith('    ') for line in others[1:])
    assert ' '.join(line.strip() for line in [*others, path]) == LONG.strip()


def test_the_width_without_a_terminal_is_80() -> None:
    lines = wrapped(LONG, indent=13).split('\n')
    assert all(len(line) <= 80 for line in lines[:-1]) and lines[1].startswith(' ' * 13 + 'word')


def test_what_a_command_works_on(capsys: pytest.CaptureFixture) -> None:
    with console.working('plan: compiling'):
        pass
    with console.working('quiet', in_files=False):
        pass
    assert capsys.readouterr().err == 'plan: compiling ...\n'
    code = """
        import time
        from bert_jax.config.console import working
        with working('plan: compiling'):
            time.sleep(1.2)
    """
    shown = terminal.lines(terminal.shown([sys.executable, '-c', textwrap.dedent(code)]))
    assert {'plan: compiling ... 0:00:00', 'plan: compiling ... 0:00:01'} <= set(shown)


def test_the_log_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('COLUMNS', '60')
    out = Terminal()
    monkeypatch.setattr(console.sys, 'stderr', out)
    console.StderrHandler().emit(logging.makeLogRecord({'msg': 'word ' * 40}))
    assert max(map(len, out.getvalue().split('\n'))) <= 60

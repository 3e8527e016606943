"""The command `bert_jax`, also `python -m bert_jax`: it runs the command that the first argument
names.

`bert_jax plan ...` does the same as `python -m bert_jax.plan ...`.
"""

import difflib
import runpy
import signal
import sys
import textwrap

from bert_jax import __version__
from bert_jax.config.commands import COMMANDS, describe


def overview() -> str:
    """The text that lists all commands."""
    lines = [f'bert_jax {__version__}: pretrain, adapt and fine-tune BERT-family encoders', '']
    for name, module in COMMANDS.items():
        first = f'  bert_jax {name}'.ljust(22)
        lines += textwrap.wrap(
            describe(module), 80, initial_indent=first, subsequent_indent=' ' * 22
        )
    lines += ['', 'Each command explains its flags: bert_jax train --help']
    return '\n'.join(lines)


def main() -> int:
    """Runs the command that the first argument names, and returns its exit code."""
    name = sys.argv[1] if len(sys.argv) > 1 else 'help'
    if name in ('-h', '-help', '--help', 'help'):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # no error message with `| head`
        print(overview())
        return 0
    if name == '--version':
        print(__version__)
        return 0
    if name not in COMMANDS:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.0)[0]
        line = f'bert_jax: {name!r} is not a command; did you mean bert_jax {nearest}?'
        print(f'{line} All commands: {", ".join(COMMANDS)}', file=sys.stderr)
        return 2
    del sys.argv[1]
    runpy.run_module(f'bert_jax.{COMMANDS[name]}', run_name='__main__', alter_sys=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())

"""The commands in the READMEs and docstrings: their flags exist, and README.md's commands work."""

import ast
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
import small_run
from tiny_model import ROOT

from bert_jax.config import commands, presets

COMMAND = re.compile(r'^ *(?:python -m bert_jax\.(?P<module>[\w.]+)|bert_jax (?P<name>\w+)) (.*)$')
MODULES = {module: name for name, module in commands.COMMANDS.items()}


class Command(NamedTuple):
    source: str  # the file that has it
    name: str
    argv: list[str]

    def __str__(self) -> str:
        return f'{self.source}: bert_jax {self.name} {" ".join(self.argv)}'


def found(source: pathlib.Path, text: str) -> list[Command]:
    """The commands in the indented lines of a text. Sketches, which have '...', are left out."""
    lines = (line for line in text.replace('\\\n', ' ').splitlines() if '...' not in line)
    matches = [match for match in map(COMMAND.match, lines) if match]
    named = ((match['name'] or MODULES.get(match['module'], ''), match[3]) for match in matches)
    return [
        Command(str(source.relative_to(ROOT)), name, shlex.split(words, comments=True))
        for name, words in named
        if name in commands.COMMANDS
    ]


README = found(ROOT / 'README.md', (ROOT / 'README.md').read_text())


def everywhere() -> list[Command]:
    """The commands of all READMEs, of the configurations and of the commands' own docstrings."""
    readmes = [ROOT / 'README.md', *ROOT.glob('*/**/README.md')]
    listed = [command for path in readmes for command in found(path, path.read_text())]
    modules = (ROOT / 'bert_jax').rglob('*.py')
    for path in (*presets.FOLDER.glob('*.py'), *modules):
        listed += found(path, ast.get_docstring(ast.parse(path.read_text())) or '')
    return listed


# Parses the flags of each command in a process of its own, because commands share names of flags.
PARSE = textwrap.dedent("""
    import importlib, json, os, sys, traceback
    from absl import flags
    from bert_jax.config import command_line
    for module, argv in json.loads(sys.stdin.read()):
        pid = os.fork()
        if not pid:
            sys.argv = ['name', *argv]
            try:
                command = importlib.import_module(module)
                values = getattr(command, 'FLAGS', None)
                if values is None:
                    command_line.parse(sys.argv)
                else:
                    command_line.parse_flags(sys.argv, values)
            except BaseException as error:
                print(json.dumps(f'{type(error).__name__}: {error}'), flush=True)
            else:
                print(json.dumps(''), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
""")


def test_the_flags_of_all_commands_exist() -> None:
    listed = everywhere()
    assert {command.name for command in listed} == set(commands.COMMANDS)
    calls = []
    for command in listed:
        module = f'bert_jax.{commands.COMMANDS[command.name]}'
        module += '.__main__' if command.name == 'convert' else ''
        calls.append((module, [word for word in command.argv if word != '--help']))
    done = subprocess.run(
        [sys.executable, '-c', PARSE],
        input=json.dumps(calls),
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
        timeout=120,
    )
    errors = map(json.loads, done.stdout.splitlines())
    wrong = [
        f'{command}\n  {error}' for command, error in zip(listed, errors, strict=True) if error
    ]
    assert not wrong, '\n'.join(wrong)


# Runs each command in a process of its own. It is forked from a process that has imported the
# libraries, because imports take seconds. Reads one line of JSON for each command, and prints its
# exit code.
RUN = textwrap.dedent("""
    import json, os, runpy, sys, traceback
    import flax, jax, optax, orbax.checkpoint, tensorflow
    for line in sys.stdin:
        name, argv, folder, output = json.loads(line)
        pid = os.fork()
        if not pid:
            os.chdir(folder)
            for descriptor in (1, 2):
                os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
            sys.argv, code = ['bert_jax', name, *argv], 1
            try:
                runpy.run_module('bert_jax', run_name='__main__', alter_sys=True)
            except SystemExit as ended:
                code = ended.code
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(code or 0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
""")


# Flags that make a command short. They come after its own flags, so they replace their values.
SMALL_MODEL = {key: value for key, value in small_run.FLAGS.items() if key.startswith('model.')}
TWO_STEPS = {
    'train.phases': '((2,32,8,5),)',
    'optim.warmup_steps': 0,
    'data.holdout': 0.1,
    'data.sentences': 'line',
}
SHORT = {
    'pretraining': SMALL_MODEL | TWO_STEPS | {'data.vocab_file': 'vocab.txt'},
    'adaptation': TWO_STEPS,
    'finetuning': {'train.epochs': 0.5, 'train.batch_size': 16, 'data.max_seq_length': 32},
    'plan': SMALL_MODEL
    | {'train.phases': '((2,32,4096,5),)', 'optim.warmup_steps': 0, 'mesh.fsdp': 1},
}
# The order in which they run: a command needs what an earlier one has made.
ORDER = (
    'pretraining',
    'from',
    'adaptation',
    'finetuning',
    'predict',
    'plot',
    'to',
    'prepare',
    'plan',
)


def kind(command: Command) -> str:
    if command.name == 'train':
        words = ' '.join(command.argv)
        if 'init_from=' not in words:
            return 'pretraining'
        return 'finetuning' if 'finetune_' in words else 'adaptation'
    if command.name == 'convert':
        return 'to' if any(word.startswith('--to') for word in command.argv) else 'from'
    return command.name


def shortened(command: Command) -> list[str]:
    """The arguments of a command that takes seconds instead of hours."""
    name, argv = kind(command), list(command.argv)
    values = dict(SHORT.get(name, {}))
    if name == 'pretraining' and not any('data.corpus=text:' in word for word in argv):
        values['data.corpus'] = 'text:books'
    if name == 'to':  # the name may be the folder of another command
        argv = [f'{word}_out' if word.startswith('--output=') else word for word in argv]
    return [*argv, *(f'--config.{key}={value}' for key, value in values.items())]


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with the files that the commands of README.md name."""
    (tmp_path / 'books').mkdir()
    small_run.write_corpus(tmp_path).rename(tmp_path / 'books' / 'one.txt')
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    letters = str.maketrans('01234567', 'abcdefgh')  # texts differ, so that a tenth is held out
    rows = [f'{i:o} bad gab'.translate(letters) + f',label {i % 2}' for i in range(200)]
    for name in ('train.csv', 'dev.csv'):
        (tmp_path / name).write_text('\n'.join(['text,label', *rows]) + '\n')
    (tmp_path / 'new.csv').write_text('text\nabc bad\nfgh gab\n')
    return tmp_path


@pytest.fixture
def run(folder: pathlib.Path) -> Iterator[Callable[[str, list[str]], None]]:
    """Runs a command in the folder."""
    with subprocess.Popen(
        [sys.executable, '-c', RUN],
        env=small_run.environment() | {'XDG_CACHE_HOME': str(folder / 'cache')},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as forking:
        assert forking.stdin and forking.stdout
        requests, answers = forking.stdin, forking.stdout

        def command(name: str, argv: list[str]) -> None:
            output = folder / 'output'
            print(json.dumps([name, argv, str(folder), str(output)]), file=requests, flush=True)
            code = answers.readline()
            assert code == '0\n', f'bert_jax {name} {" ".join(argv)}\n{output.read_text()}'
            output.unlink(missing_ok=True)

        yield command
        requests.close()


@pytest.mark.slow
def test_the_commands_of_the_readme(
    folder: pathlib.Path, run: Callable[[str, list[str]], None]
) -> None:
    ordered = sorted(README, key=lambda command: ORDER.index(kind(command)))
    kinds = [kind(command) for command in ordered]
    assert {'pretraining', 'adaptation', 'finetuning', 'predict', 'to'} <= set(kinds)
    for command in ordered:
        if kind(command) == 'plan':
            pytest.importorskip('libtpu')
        if not (folder / 'FOLDER').exists() and kind(command) != 'pretraining':
            # A Hugging Face folder, made of the first model that was trained.
            trained = next((folder / 'runs').iterdir())
            run('convert', ['--to=hf', f'--input={trained}', '--output=FOLDER'])
        run(command.name, shortened(command))

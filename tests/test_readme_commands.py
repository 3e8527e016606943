"""The commands in the READMEs and docstrings: their flags exist, and README.md's commands work."""

import ast
import pathlib
import re
import shlex
from typing import NamedTuple

import forked
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


# Parses the flags of a command.
PARSE = """
import importlib, sys
from bert_jax.config import command_line
command = importlib.import_module(sys.argv.pop(1))
values = getattr(command, 'FLAGS', None)
command_line.parse_flags(sys.argv, values) if values else command_line.parse(sys.argv)
"""


def test_the_flags_of_all_commands_exist() -> None:
    listed = everywhere()
    assert {command.name for command in listed} == set(commands.COMMANDS)
    wrong = []
    with forked.running('bert_jax.config.command_line') as run:
        for command in listed:
            module = f'bert_jax.{commands.COMMANDS[command.name]}'
            module += '.__main__' if command.name == 'convert' else ''
            argv = [word for word in command.argv if word != '--help']
            done = run(module, *argv, code=PARSE)
            if done.code:
                wrong.append(f'{command}\n  {done.stderr}')
    assert not wrong, '\n'.join(wrong)


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


@pytest.mark.slow
def test_the_commands_of_the_readme(folder: pathlib.Path) -> None:
    ordered = sorted(README, key=lambda command: ORDER.index(kind(command)))
    kinds = [kind(command) for command in ordered]
    assert {'pretraining', 'adaptation', 'finetuning', 'predict', 'to'} <= set(kinds)
    libraries = 'flax', 'jax', 'optax', 'orbax.checkpoint', 'tensorflow'
    with forked.running(*libraries, XDG_CACHE_HOME=str(folder / 'cache')) as run:

        def succeed(*argv: str) -> None:
            done = run(*argv, folder=folder)
            assert not done.code, f'bert_jax {" ".join(argv)}\n{done.stdout}{done.stderr}'

        for command in ordered:
            if kind(command) == 'plan':
                pytest.importorskip('libtpu')
            if not (folder / 'FOLDER').exists() and kind(command) != 'pretraining':
                # A Hugging Face folder, made of the first model that was trained.
                trained = next((folder / 'runs').iterdir())
                succeed('convert', '--to=hf', f'--input={trained}', '--output=FOLDER')
            succeed(command.name, *shortened(command))

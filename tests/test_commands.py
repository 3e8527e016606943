"""The command bert_jax: its list of commands, their names, and the text of --help."""

import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import forked
import pytest
from tiny_model import ROOT

import bert_jax
from bert_jax.config import Config, fields, help, keys, presets
from bert_jax.config.commands import COMMANDS, describe

CONFIGURED = ('train', 'plan', 'benchmark')


Run = Callable[..., forked.Ended]


@pytest.fixture(scope='module')
def run() -> Iterator[Run]:
    with forked.running('jax', 'bert_jax.config.command_line') as function:
        yield function


@pytest.mark.parametrize('argv', [[], ['--help'], ['help']])
def test_the_list_of_commands(argv: list[str], run: Run) -> None:
    done = run(*argv)
    assert (done.code, done.stderr) == (0, '')
    lines = done.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    words = ' '.join(done.stdout.split())
    for name, module in COMMANDS.items():
        assert f' bert_jax {name} {describe(module)} ' in words
        assert len(describe(module)) > 10


def test_a_closed_pipe_is_no_error() -> None:
    line = f'{sys.executable} -m bert_jax | true; exit ${{PIPESTATUS[0]}}'
    values = os.environ | {'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        ['bash', '-c', line], env=values, capture_output=True, check=False, timeout=60
    )
    assert done.returncode in (0, 141) and done.stderr == b''


def test_version(run: Run) -> None:
    assert run('--version').stdout == f'{bert_jax.__version__}\n'


@pytest.mark.parametrize(('typed', 'meant'), [('trian', 'train'), ('plna', 'plan')])
def test_an_unknown_command(typed: str, meant: str, run: Run) -> None:
    done = run(typed, '--config=tiny')
    assert done.code == 2 and done.stdout == ''
    assert f'did you mean bert_jax {meant}?' in done.stderr and done.stderr.count('\n') == 1


@pytest.fixture(scope='module')
def helps(run: Run) -> dict[str, str]:
    """The output of --help of each command."""
    found = {}
    for name in COMMANDS:
        done = run(name, '--help')
        assert (done.code, done.stderr) == (0, ''), name
        found[name] = done.stdout
    return found


@pytest.mark.parametrize('name', COMMANDS)
def test_help_has_one_form(name: str, helps: dict[str, str]) -> None:
    first, _, *lines = helps[name].splitlines()
    module = COMMANDS[name]
    assert first == f'bert_jax {name}, also python -m bert_jax.{module}'
    assert lines[0].startswith(describe(module))
    flags = lines[lines.index('Flags') + 1 :]
    assert all(len(line) <= 80 for line in flags)
    assert flags[0].startswith('  --')
    assert flags[0].startswith('  --config=') == (name in CONFIGURED)


@pytest.mark.parametrize('name', CONFIGURED)
def test_help_has_configurations_and_keys(name: str, helps: dict[str, str]) -> None:
    text = helps[name]
    for preset, line in presets.descriptions().items():
        assert re.search(rf'^    {preset} +{re.escape(line[:15])}', text, re.MULTILINE)
    for key in keys.KEYS:
        assert re.search(rf'^  {key.rpartition(".")[2]}=', text, re.MULTILINE), key
    assert ('--coordinator=' in text) == (name != 'plan')


def test_help_of_a_configuration(run: Run) -> None:
    """It shows the values of the file and of the flags, and the keys that the run reads."""
    text = run('train', '--config=tiny', '--config.train.seed=7', '--help').stdout
    assert re.search(r'^  seed=7 .*Default: 0\.', text, re.MULTILINE)
    assert '  phases=((4000,64,32,10),) ' in text and '  hidden_size=128 ' in text
    assert '  holdout=0.1 ' in text and '  epochs=' not in text
    text = run('train', '--help', '--config=finetune_ner').stdout
    assert '  epochs=3.0 ' in text and '  phases=' not in text
    done = run('train', '--help', '--config=tini')
    assert done.code == 2 and 'did you mean --config=tiny?' in done.stderr


def test_comments_are_those_of_the_fields() -> None:
    comments = help.key_comments()
    assert set(comments) == set(keys.KEYS)
    assert comments['optim.learning_rate'] == 'The peak.'
    assert comments['data.documents'].startswith('The end of a document in a text file. ')
    assert comments['data.vocab_file'].startswith('A vocabulary')
    assert 'and takes the vocabulary of init_from in fine-tuning.' in comments['data.vocab_file']
    assert comments['train.nonfinite'].endswith('stop the run, or skip the update.')


def test_the_allowed_values_are_shown(helps: dict[str, str]) -> None:
    text = re.sub(r'\s+', ' ', helps['train'])
    for key, field in keys.KEYS.items():
        for limit in fields.limits(field):
            shown = ' | '.join(fields.choices(field)) or limit.expected
            assert f'[{shown}]' in text, key


@pytest.mark.parametrize('name', presets.names())
def test_a_configuration_by_its_name(name: str, tmp_path: pathlib.Path) -> None:
    path = presets.FOLDER / f'{name}.py'
    assert presets.resolve(name) == str(path)
    assert presets.resolve(f'{name}:argument') == f'{path}:argument'
    assert presets.resolve(str(path)) == str(path)
    with pytest.raises(ValueError, match=f'did you mean --config={name}'):
        presets.resolve(f'nowhere/{name}.py')


def test_the_name_works_in_another_folder(tmp_path: pathlib.Path, run: Run) -> None:
    done = run('train', '--config=tiny', '--config.train.keep=0', folder=tmp_path)
    assert 'config.train.keep is 0' in done.stderr


def test_a_file_here_comes_first(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'tiny').write_text('')
    assert presets.resolve('tiny') == 'tiny'


def test_what_is_written_has_the_version() -> None:
    assert f'"version": "{bert_jax.__version__}"' in Config().to_json()

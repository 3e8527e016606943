"""The command: mistakes are named in one line, and a signal ends it while it starts."""

import pathlib
import signal
import sys
import time
from collections.abc import Callable, Iterator

import forked
import pytest
import small_run
from tiny_model import ROOT

TINY = '--config=configs/tiny.py'
MISTAKES = {
    'unknown key below': (
        [TINY, '--config.model.hiden_size=1'],
        'config.model.hiden_size is not',
        'did you mean config.model.hidden_size?',
    ),
    'a key like no other': ([TINY, '--config.qwxz=1'], '; --help lists all keys', 'config.qwxz'),
    'unknown section': (
        [TINY, '--config.mdel.hidden_size', '1'],
        'config.mdel.hidden_size is not',
        'did you mean config.model.hidden_size?',
    ),
    'no int': ([TINY, '--config.train.seed=abc'], 'config.train.seed must be int', "'abc'"),
    'no bool': ([TINY, '--config.data.lowercase=maybe'], 'config.data.lowercase must be bool', ''),
    'phase too short': (
        [TINY, '--config.train.phases=((1,2),)'],
        'config.train.phases[0] must be',
        'steps, max_seq_length, batch_size, max_predictions_per_seq',
    ),
    'no phases': ([TINY, '--config.train.phases=abc'], 'config.train.phases', "'abc'"),
    'phases twice': (
        [TINY, '--config.train.phases=((1,8,8,1),)', '--config.train.phases=((2,8,8,1),)'],
        '--config.train.phases is given twice',
        'one list',
    ),
    'infinite': (
        [TINY, '--config.optim.learning_rate=inf'],
        'config.optim.learning_rate',
        'finite',
    ),
    'impossible value': ([TINY, '--config.train.keep=0'], 'config.train.keep is 0', 'positive'),
    'a key without its section': (
        [TINY, '--learning_rate=1'],
        '--learning_rate is not a flag, but a key',
        ': --config.optim.learning_rate=1',
    ),
    'a key of two sections': (
        [TINY, '--batch_size', '4'],
        '--config.train.batch_size=... or --config.eval.batch_size=...',
        '',
    ),
    'a key without config': ([TINY, '--optim.eps=2'], ': --config.optim.eps=2', ''),
    'a key without its section, but with config': (
        [TINY, '--config.learning_rate=1'],
        'did you mean config.optim.learning_rate?',
        '',
    ),
    'empty workdir': ([TINY, '--workdir='], '--workdir is empty', 'a path'),
    'empty config': (['--config='], '--config=: no such file', 'the names are adapt, '),
    'nearly a name': (['--config=configs/larg.py'], 'did you mean --config=large?', ''),
    'nearly a name, apart': (['--config', 'tini'], 'did you mean --config=tiny?', ''),
    'no config': ([], '--config=NAME is missing', '--config=tiny'),
    'no config but a key': (['--config.train.seed=1'], '--config', 'missing'),
    'missing file': (
        ['--config=configs/nope.py'],
        'configs/nope.py: no such file',
        'the names are adapt, albert_base, ',
    ),
    'missing file and a key': (
        ['--config=configs/nope.py', '--config.train.seed=1'],
        'no such file',
        'configs/nope.py',
    ),
    'unknown flag': ([TINY, '--wrkdir=x'], "'wrkdir'", 'workdir'),
    'stray word': ([TINY, 'x'], 'unexpected arguments: x', ''),
    'key in the file': (
        ['--config=KEY.py'],
        'config.model.hidden_sizes is not a configuration key',
        'config.model.hidden_size?',
    ),
    'type in the file': (['--config=TYPE.py'], '--config', "'hidden_size'"),
    'syntax of the file': (['--config=SYNTAX.py'], '--config', 'SYNTAX.py, line 2'),
    'no get_config': (['--config=EMPTY.py'], '--config', 'get_config'),
    'unread in pretraining': (
        [TINY, '--config.train.best=true'],
        'pretraining does not read config.train.best=True',
        'Remove',
    ),
    'unread, at its default': (
        [TINY, '--config.train.epochs=3', '--noconfig.train.best'],
        'does not read config.train.epochs=3.0; config.train.best=False',
        'Remove',
    ),
    'unread in fine-tuning': (
        [TINY, '--config.data.task=ner', '--config.train.eval_every=10000'],
        'fine-tuning does not read config.data.holdout=0.1; config.train.phases=',
        '; config.train.eval_every=10000 (it evaluates after each epoch'
        ', or every config.train.eval_steps steps)',
    ),
    'no corpus': ([TINY, '--config.data.corpus=text:nowhere/*.txt'], 'nowhere/*.txt', ''),
}
FILES = {
    'KEY.py': 'config.model.hidden_sizes = 3',
    'TYPE.py': "config.model.hidden_size = 'wide'",
    'SYNTAX.py': '',
    'EMPTY.py': '',
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the files that the commands above name."""
    folder = tmp_path_factory.mktemp('commands')
    (folder / 'configs').mkdir()
    tiny = (ROOT / 'configs/tiny.py').read_text()
    (folder / 'configs/tiny.py').write_text(tiny)
    for name, line in FILES.items():
        text = tiny.replace('    return config\n', f'    {line}\n    return config\n')
        (folder / name).write_text(text if line else {'SYNTAX.py': 'x = 1\ndef (:\n'}.get(name, ''))
    return folder


@pytest.fixture(scope='module')
def run() -> Iterator[Callable[..., forked.Ended]]:
    with forked.running('jax', 'bert_jax.parallel.distributed') as function:
        yield function


@pytest.mark.parametrize('name', MISTAKES)
def test_a_mistake_is_one_line(
    name: str, folder: pathlib.Path, run: Callable[..., forked.Ended]
) -> None:
    argv, *parts = MISTAKES[name]
    done = run('train', *argv, folder=folder)
    assert (done.code, done.stdout) == (2, ''), done
    assert done.stderr.startswith('bert_jax: ') and done.stderr.count('\n') == 1, done.stderr
    for part in parts:
        assert part in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
@pytest.mark.parametrize('library', ['jaxlib', 'tensorstore'])
def test_interrupted_while_it_starts(tmp_path: pathlib.Path, library: str) -> None:
    """The signal arrives during the imports, which would lose an exception or print a traceback."""
    small_run.write_corpus(tmp_path)
    process = small_run.start(tmp_path, tmp_path / 'run', train__phases='((20,16,8,3),)')
    loaded = pathlib.Path(f'/proc/{process.pid}/maps')
    while f'/{library}/' not in loaded.read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert output.splitlines()[-1].startswith('bert_jax: interrupted') and 'Error' not in output

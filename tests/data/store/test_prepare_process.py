"""Preparation as a process: its flags, killed, run twice at once, and its memory."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from made_prose import content, prose, write_prose
from small_run import QUICK

from bert_jax.config import Config, DataConfig
from bert_jax.data.store import format, preparation
from bert_jax.data.tokenizers import tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[3]


def _command(corpus, output, *more):
    return [
        sys.executable,
        '-m',
        'bert_jax.data.prepare',
        f'--input={corpus}',
        f'--output={output}',
        '--holdout=0.2',
        *more,
    ]


def _run(*arguments):
    command = [sys.executable, '-m', 'bert_jax.data.prepare', '--holdout=0.2', *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
def test_command_line(tmp_path):
    path = write_prose(tmp_path / 'a.txt', 30_000)
    shown = _run('--help')
    assert shown.returncode == 0 and '--vocab_size' in shown.stdout
    output = f'--output={tmp_path}/tokens'
    made = _run(f'--input={path}', output, '--vocab_size=300')
    assert made.returncode == 0, made.stderr
    meta = format.read_meta(tmp_path / 'tokens')
    assert meta.vocab_size == 300 and meta.counts['train'].documents > 10
    again = _run(f'--input={path}', output, '--vocab_size=300')
    assert again.returncode == 0 and again.stderr.endswith('tokens exists already\n')
    config = Config(data=DataConfig(corpus=f'tokens:{tmp_path}/tokens'))
    assert preparation.prepare(config) == tmp_path / 'tokens'
    for arguments, message in (
        ((f'--input={path}', output, '--vocab_size=200'), 'exists and is not a store'),
        ((f'--input={path}',), '--output'),
        ((f'--input={path}', output, '--typo=1'), 'typo'),
        ((f'--input={path}', output, '--vocab_size=many'), 'many'),
        ((f'--input={path}', output, '--documents=page'), 'page'),
        ((f'--input={path}', output, '--holdout=2'), 'holdout'),
        ((f'--input={path}', output, 'more.txt'), 'more.txt'),
        (('--input=builtin:codes', str(output) + '2'), 'or builtin:code'),
        ((f'--input={tmp_path}/none*', output), 'no file matches'),
        (('--input=builtin_text/*.txt', output), 'no file matches'),
        ((f'--input={path}', output, '--vocab_file=none.txt'), 'none.txt does not exist'),
    ):
        wrong = _run(*arguments)
        assert wrong.returncode not in (0, 1), wrong
        assert wrong.stderr.startswith('prepare: ') and wrong.stderr.count('\n') == 1, wrong.stderr
        assert message in wrong.stderr


def test_text_needs_no_tensorflow(tmp_path, vocab):
    path = write_prose(tmp_path / 'a.txt', 5_000)
    code = (
        'import sys\n'
        'sys.modules.update(tensorflow=None, tensorflow_datasets=None, jax=None)\n'
        'from bert_jax.config import command_line\n'
        'from bert_jax.data import prepare\n'
        f'argv = ["x", "--input={path}", "--output={tmp_path}/t", "--vocab_file={vocab}", '
        f'"--holdout=0"]\n'
        'sys.exit(command_line.run("x", prepare.main, argv))\n'
    )
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, timeout=60)
    assert format.read_meta(tmp_path / 't').counts['train'].documents


def _has(directory, name):
    with contextlib.suppress(FileNotFoundError):  # what was killed before is removed meanwhile
        return any(path.stat().st_size > 3000 for path in directory.glob(f'.tokens.tmp*/{name}'))
    return False


@pytest.mark.slow
def test_killed_at_any_moment_it_is_done_again(tmp_path, vocab):
    corpus = write_prose(tmp_path / 'a.txt', 2_000_000)
    whole = tmp_path / 'whole'
    subprocess.run(_command(corpus, whole, '--vocab_size=400'), cwd=ROOT, check=True, timeout=120)
    runs = tmp_path / 'runs'
    runs.mkdir()
    output = runs / 'tokens'
    moments = {
        'started': lambda: any(runs.glob('.tokens.tmp*')),
        'vocabulary': lambda: any(runs.glob('.tokens.tmp*/vocab.txt')),
        'tokens': lambda: _has(runs, 'train/tokens.bin'),
        'more tokens': lambda: _has(runs, 'eval/tokens.bin'),
    }
    command = _command(corpus, output, '--vocab_size=400')
    for name, reached in moments.items():
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        while not reached() and process.poll() is None:
            time.sleep(0.002)
        assert process.poll() is None, f'{name} came too late to kill'
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not output.exists(), name
        with pytest.raises(ValueError, match='not a prepared store'):
            format.read_meta(output)
    assert any(runs.glob('.tokens.tmp*'))
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    assert content(output) == content(whole)
    assert sorted(path.name for path in runs.iterdir()) == ['.tokens.lock', 'tokens']


@pytest.mark.slow
def test_two_at_once_make_one_store(tmp_path, vocab):
    corpus = write_prose(tmp_path / 'a.txt', 300_000)
    command = _command(corpus, tmp_path / 'tokens', f'--vocab_file={vocab}')
    both = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in 'ab']
    errors = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert sum('unigram entropy' in error for error in errors) == 1  # the other one waited
    assert format.open_store(tmp_path / 'tokens', 'train').documents[-1] > 0
    assert not list(tmp_path.glob('.tokens.tmp*'))


# The peak is that of this program. ru_maxrss would be that of the process of the tests, if larger.
# The baselines sort a part of the corpus, which is small here.
PEAK = """
import functools, re, sys
from bert_jax.config import command_line
from bert_jax.data import prepare
from bert_jax.data.store import baselines
baselines.count = functools.partial(baselines.count, train_tokens=1 << 18, eval_tokens=1 << 16)
code = command_line.run('prepare', prepare.main, sys.argv)
print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
@pytest.mark.parametrize('trained', [True] if QUICK else [False, True])
def test_memory_does_not_grow_with_the_text(tmp_path, trained):
    peaks = []
    read = tokenizer.train(list(prose(200_000, seed=1)), 2000, True)
    read.save(tmp_path)
    for size in (2, 8 if QUICK else 16):
        corpus = write_prose(tmp_path / f'{size}.txt', size * 1_000_000)
        options = '--vocab_size=2000' if trained else f'--vocab_file={tmp_path}/vocab.txt'
        arguments = [f'--input={corpus}', f'--output={tmp_path}/{size}', options, '--holdout=0.2']
        run = subprocess.run(
            [sys.executable, '-c', PEAK, *arguments],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, 'TOKENIZERS_PARALLELISM': 'true'},
        )
        peaks.append(int(run.stdout))
    assert peaks[1] - peaks[0] < 60, f'{peaks} MB of memory for little and for much text'

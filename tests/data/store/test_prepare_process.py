"""Preparation as a process: killed, run twice at once, with bad input, and its memory."""

import contextlib
import functools
import gzip
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from small_run import QUICK

from bert_jax.config import Config, DataConfig
from bert_jax.data.store import format, preparation
from bert_jax.data.tokenizers import tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[3]
LETTERS = [chr(c) for c in range(33, 127)]
WORDS = ['many', 'words', 'in', 'line']
PIECES = [*tokenizer.SPECIALS, *LETTERS, *('##' + c for c in LETTERS), *WORDS]


@functools.lru_cache(1 << 20)
def _word(rank):
    syllables = [a + b for a in 'bcdfglmnprst' for b in ('a', 'e', 'io', 'un')]
    return syllables[rank % 48] + (_word(rank // 48) if rank >= 48 else '')


def _prose(characters, seed=0):
    """Documents of ten sentences. The words follow Zipf's law, so new words occur until the end."""
    rng = np.random.default_rng(seed)
    size = 0
    while size < characters:
        text = [_word(rank) for rank in np.minimum(rng.zipf(1.3, 120), 1 << 20).tolist()]
        sentences = [' '.join(text[i : i + 12]).capitalize() + '.' for i in range(0, 120, 12)]
        document = ' '.join(sentences[:5]) + '\n' + ' '.join(sentences[5:])
        size += len(document)
        yield document


def _write(path, characters, seed=0):
    with path.open('w') as file:
        for document in _prose(characters, seed):
            file.write(document + '\n\n')
    return path


@pytest.fixture
def vocab(tmp_path):
    path = tmp_path / 'letters' / 'vocab.txt'
    path.parent.mkdir()
    path.write_text('\n'.join(PIECES) + '\n')
    return str(path)


def _prepare(tmp_path, vocab, pattern, **options):
    options = {'holdout': 0.0} | options
    data = DataConfig(
        corpus=f'text:{pattern}', cache_dir=str(tmp_path / 'cache'), vocab_file=vocab, **options
    )
    return preparation.prepare(Config(data=data))


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


def _content(directory):
    """The content of each file of a store; store.json without the keys that name the source."""
    files = {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob('*'))
        if path.is_file() and path.name != 'store.json'
    }
    meta = json.loads((directory / 'store.json').read_text())
    return files, {key: meta[key] for key in ('fingerprint', 'counts', 'unigram_entropy')}


def _texts(directory, split):
    """The documents of a split, each as a list of decoded sentences."""
    opened = format.open_store(directory, split)
    vocabulary = tokenizer.load(directory, format.read_meta(directory).lowercase)
    found = []
    for first, last in itertools.pairwise(opened.documents):
        edges = opened.sentences[first : last + 1]
        found.append(
            [vocabulary.decode(opened.tokens[a:b].tolist()) for a, b in itertools.pairwise(edges)]
        )
    return found


@pytest.mark.slow
def test_every_kind_of_bad_input_is_counted_and_named(tmp_path, vocab):
    folder = tmp_path / 'text'
    folder.mkdir()
    (folder / 'a_empty.txt').write_bytes(b'')
    (folder / 'b_blank.txt').write_bytes(b'\n \n\t\n')
    (folder / 'c_invalid.txt').write_bytes(b'Fine here. Still fine.\ncaf\xe9 here.\n')
    (folder / 'd_one.txt').write_text('Only one sentence.')
    (folder / 'e_huge.txt').write_text('Many words in a line. ' * 460_000)
    (folder / 'f_word.txt').write_text('Before it. ' + 'x' * 5_000 + ' after it.')
    (folder / 'g_controls.txt').write_text('Fine.\n\x00\x01\nFine too.\n\n\u200b\n')
    records = [{'text': ''}, {'text': 'Good text. Two of it.'}, {'text': ' \n '}]
    (folder / 'h.jsonl').write_text('\n'.join(map(json.dumps, records)))
    meta = format.read_meta(_prepare(tmp_path, vocab, folder / '*', holdout=0.0))
    summary = meta.summary

    def count(*words):
        (found,) = [n for line, n in summary.items() if all(word in line for word in words)]
        return found

    assert summary['files'] == 8
    assert count('empty files', 'a_empty.txt') == 2
    assert count('invalid UTF-8', 'c_invalid.txt:2') == 1
    assert count('documents of one sentence', 'Only one sentence') == 1
    assert count('lines over', 'Many words') > 0
    assert count('without a token') == 2
    assert count('empty documents', 'h.jsonl:1') == 3
    assert count('[UNK]') > 0
    # Ten megabytes in a line are sentences like any others: none of them is lost.
    tokens = len(tokenizer.WordPiece(PIECES, True).encode_batch(['Many words in a line.'])[0])
    assert 460_000 * tokens <= meta.counts['train'].tokens < 460_000 * tokens + 200
    assert 459_000 < meta.counts['train'].sentences < 461_000


def test_a_corpus_without_a_document_is_one_clear_error(tmp_path, vocab):
    (tmp_path / 'a.txt').write_text('\n\n \n')
    with pytest.raises(ValueError, match=r'has no text to train on.*empty files'):
        _prepare(tmp_path, vocab, tmp_path / 'a.txt')
    with pytest.raises(ValueError, match='no text to train a vocabulary on'):
        _prepare(tmp_path, '', tmp_path / 'a.txt')
    assert not [path for path in (tmp_path / 'cache').iterdir() if path.is_dir()]


@pytest.mark.parametrize('lowercase', [True, False])
def test_every_format_and_mode_gives_the_same_store(tmp_path, vocab, lowercase):
    documents = [['One here. Two here.', 'Three.'], ['Été à Paris. Oui.'], ['Last? Yes!']]
    text = '\n\n'.join('\n'.join(lines) for lines in documents)
    records = '\n'.join(json.dumps({'text': '\n'.join(lines)}) for lines in documents)
    sentences = '\n\n'.join(
        '\n'.join(part for line in lines for part in line.replace('. ', '.\n').split('\n'))
        for lines in documents
    ).replace('? ', '?\n')
    variants = {'a.txt': text, 'a.jsonl': records, 'a.txt.gz': gzip.compress(text.encode())}
    contents = []
    for i, (name, content) in enumerate({**variants, 'lines.txt': sentences}.items()):
        folder = tmp_path / str(i)
        folder.mkdir()
        raw = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(raw)
        mode = 'line' if name == 'lines.txt' else 'split'
        contents.append(
            _content(_prepare(tmp_path, vocab, folder / '*', sentences=mode, lowercase=lowercase))
        )
    folder = tmp_path / 'files'
    folder.mkdir()
    for i, lines in enumerate(documents):
        (folder / f'{i}.txt').write_text('\n\n'.join(lines))
    contents.append(
        _content(_prepare(tmp_path, vocab, folder / '*', documents='file', lowercase=lowercase))
    )
    assert all(content == contents[0] for content in contents)
    assert contents[0][1]['counts']['train']['sentences'] == 7


def test_a_document_stays_on_its_side(tmp_path, vocab):
    documents = list(_prose(120_000))
    folder = tmp_path / 'text'
    folder.mkdir()

    def split(texts, names='abc'):
        shutil.rmtree(folder)
        folder.mkdir()
        for i, name in enumerate(names):
            (folder / f'{name}.txt').write_text('\n\n'.join(texts[i :: len(names)]))
        directory = _prepare(tmp_path, vocab, folder / '*', holdout=0.2)
        return [[str(d) for d in _texts(directory, name)] for name in format.SPLITS]

    train, held_out = split(documents)
    assert len(train) + len(held_out) == len(documents)
    assert 0.1 < len(held_out) / len(documents) < 0.3
    shuffled = random.Random(1).sample(documents, len(documents))
    again = split(shuffled, 'zyx')
    assert [sorted(side) for side in again] == [sorted(train), sorted(held_out)]
    # More documents, some of them there before: the old ones stay, copies go where they are.
    more = split(documents + list(_prose(60_000, seed=5)) + documents[:50])
    assert set(train) <= set(more[0]) and set(held_out) <= set(more[1])
    assert not set(more[0]) & set(more[1])


def test_the_store_is_made_once_and_anew_where_anything_changed(tmp_path, vocab, capfd):
    path = _write(tmp_path / 'a.txt', 20_000)
    first = _prepare(tmp_path, vocab, path)
    marked = (first / 'store.json').stat().st_mtime_ns
    assert 'corpus is in' in capfd.readouterr().err
    assert _prepare(tmp_path, vocab, path) == first
    assert capfd.readouterr().err == ''
    assert (first / 'store.json').stat().st_mtime_ns == marked
    others = {
        _prepare(tmp_path, vocab, path, **options)
        for options in ({'lowercase': False}, {'holdout': 0.3}, {'sentences': 'line'})
    }
    with path.open('a') as file:
        file.write('One more. Document.\n')
    others.add(_prepare(tmp_path, vocab, path))
    assert len(others) == 4 and first not in others


def test_a_damaged_store_is_not_used(tmp_path, vocab):
    path = _write(tmp_path / 'a.txt', 20_000)
    directory = _prepare(tmp_path, vocab, path)
    tokens = directory / 'train' / 'tokens.bin'
    tokens.write_bytes(tokens.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r'tokens\.bin: expected.*remove .*prepare'):
        _prepare(tmp_path, vocab, path)


def test_others_may_read_a_store(tmp_path, vocab):
    directory = _prepare(tmp_path, vocab, _write(tmp_path / 'a.txt', 5_000))
    (tmp_path / 'folder').mkdir()
    assert directory.stat().st_mode == (tmp_path / 'folder').stat().st_mode


def test_command_line(tmp_path):
    path = _write(tmp_path / 'a.txt', 30_000)
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
    path = _write(tmp_path / 'a.txt', 5_000)
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
    corpus = _write(tmp_path / 'a.txt', 2_000_000)
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
    assert _content(output) == _content(whole)
    assert sorted(path.name for path in runs.iterdir()) == ['.tokens.lock', 'tokens']


@pytest.mark.slow
def test_two_at_once_make_one_store(tmp_path, vocab):
    corpus = _write(tmp_path / 'a.txt', 300_000)
    command = _command(corpus, tmp_path / 'tokens', f'--vocab_file={vocab}')
    both = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in 'ab']
    errors = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert sum('unigram entropy' in error for error in errors) == 1  # the other one waited
    assert format.open_store(tmp_path / 'tokens', 'train').documents[-1] > 0
    assert not list(tmp_path.glob('.tokens.tmp*'))


PEAK = """
import resource, sys
from bert_jax.config import command_line
from bert_jax.data import prepare
code = command_line.run('prepare', prepare.main, sys.argv)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.parametrize('trained', [True] if QUICK else [False, True])
def test_memory_does_not_grow_with_the_text(tmp_path, trained):
    peaks = []
    read = tokenizer.train(list(_prose(200_000, seed=1)), 2000, True)
    read.save(tmp_path)
    for size in (2, 8 if QUICK else 16):
        corpus = _write(tmp_path / f'{size}.txt', size * 1_000_000)
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

"""Two processes, as two hosts of a pod: one run, one line of checkpoints, the numbers of one.

PYTHONPATH=tests python tests/parallel/test_hosts.py
    prints how far each mesh over two processes is from one device
"""

import dataclasses
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
import small_run
import small_tasks
from etils import epath
from small_hosts import FLAGS, Hosts, free_job

from bert_jax.inference import model_dir
from bert_jax.parallel.mesh import PRESETS
from bert_jax.training import running


@pytest.mark.slow
@pytest.mark.skipif(
    small_run.QUICK, reason='one process is killed elsewhere, two are stopped below'
)
def test_one_of_two_is_killed_and_both_end_with_the_same_bits(tmp_path: pathlib.Path) -> None:
    """The other process ends without a signal and prints the reason. After a restart, both continue
    from the newest checkpoint."""
    small_run.write_corpus(tmp_path)
    flags = {'train__num_steps': 80}
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    hosts = Hosts(tmp_path, whole, **flags)
    assert hosts.wait() == [0, 0], hosts.output()

    hosts = Hosts(tmp_path, killed, **flags)
    hosts.wait_for(lambda: small_run.saved_steps(killed))
    hosts.processes[1].kill()
    began = time.monotonic()
    # The collective fails first, or JAX misses the other's heartbeat.
    assert hosts.wait() in [[1, -signal.SIGKILL], [-signal.SIGABRT, -signal.SIGKILL]]
    assert time.monotonic() - began < 60
    assert re.search('another .*died', hosts.output())
    saved = max(small_run.saved_steps(killed))
    assert saved < 80, 'killed too late'

    hosts = Hosts(tmp_path, killed, **flags)
    assert hosts.wait() == [0, 0], hosts.output()
    assert f'continuing from step {saved} ' in hosts.output()
    small_run.same_bits(killed, whole, 80)


@pytest.mark.slow
def test_a_second_run_of_two_processes_is_refused_as_a_whole(tmp_path: pathlib.Path) -> None:
    """Process 0 finds the other run, and both processes end with its message and exit code 2."""
    small_run.write_corpus(tmp_path)
    workdir = tmp_path / 'run'
    with running.alone_in(epath.Path(workdir)):
        before = (workdir / running.FILE).read_text()
        hosts = Hosts(tmp_path, workdir)
        assert hosts.wait() == [2, 2], hosts.output()
        assert (workdir / running.FILE).read_text() == before
    for log in hosts.logs:
        assert f'bert_jax: {workdir} is in use: another run is training there' in log.read_text()


@pytest.mark.slow
def test_two_processes_stop_and_go_on_and_give_the_numbers_of_one(tmp_path: pathlib.Path) -> None:
    """One gets SIGTERM, later the other SIGINT, and both save; one process continues from there.
    All in all the losses are those of one with one device."""
    small_run.write_corpus(tmp_path)
    workdir = tmp_path / 'two'
    hosts = Hosts(tmp_path, workdir)
    hosts.wait_for(lambda: len(small_run.metrics(workdir)) > 3)
    hosts.processes[1].send_signal(signal.SIGTERM)  # to one of them only
    assert hosts.wait() == [143, 143], hosts.output()
    saved = max(small_run.saved_steps(workdir))
    hosts = Hosts(tmp_path, workdir)
    hosts.wait_for(lambda: small_run.metrics(workdir)[-1]['step'] > saved)
    hosts.processes[0].send_signal(signal.SIGINT)
    assert hosts.wait() == [143, 143], hosts.output()
    assert f'continuing from step {saved} ' in hosts.output()

    step = max(small_run.saved_steps(workdir))
    alone = FLAGS | {'mesh__fsdp': 1, 'train__num_steps': step + 10}
    for name in ('two', 'one'):  # on from the two processes' checkpoint, and from the beginning
        code, output = small_run.finish(tmp_path, tmp_path / name, **alone)
        assert code == 0, output
        assert (f'continuing from step {step} ' in output) == (name == 'two')
    two, one = (small_run.numbers(tmp_path / name) for name in ('two', 'one'))
    assert [(line['step'], line['split']) for line in two] == [
        (line['step'], line['split']) for line in one
    ]
    assert len(two) > step, 'a line for every step'
    for key in ('loss', 'nsp_loss', 'padding_fraction', 'grad_norm'):
        found = [[line[key] for line in lines if key in line] for lines in (two, one)]
        assert len(found[0]) >= step
        np.testing.assert_allclose(*found, rtol=1e-4 if key != 'grad_norm' else 1e-3)


def differences(folder: pathlib.Path, name: str) -> tuple[float, float, float]:
    """Returns the largest differences between ten steps on a preset's mesh over two processes and
    those of one device: of a loss, of a parameter, and of the gradients' norm as a share of it."""
    sizes = dataclasses.asdict(PRESETS[name])
    steps = {'train__num_steps': 10, 'data__pad_vocab_to_multiple_of': 2}
    hosts = Hosts(folder, folder / name, **steps, **{f'mesh__{k}': n for k, n in sizes.items()})
    assert hosts.wait() == [0, 0], hosts.output()
    if not (folder / 'one').exists():
        code, output = small_run.finish(folder, folder / 'one', **FLAGS | steps | {'mesh__fsdp': 1})
        assert code == 0, output
    two, one = (
        [line for line in small_run.numbers(folder / of) if line['split'] == 'train']
        for of in (name, 'one')
    )
    assert len(two) == len(one) == 10
    arrays, of_one = (model_dir.load(folder / of).arrays() for of in (name, 'one'))
    assert len(of_one) > 10
    return (
        max(abs(a['loss'] - b['loss']) for a, b in zip(two, one, strict=True)),
        max(float(np.abs(arrays[key] - of_one[key]).max()) for key in of_one),
        max(abs(a['grad_norm'] / b['grad_norm'] - 1) for a, b in zip(two, one, strict=True)),
    )


@pytest.mark.slow
@pytest.mark.skipif(small_run.QUICK, reason='one preset is enough when in a hurry, as above')
def test_every_preset_over_two_processes_gives_the_numbers_of_one_device(
    tmp_path: pathlib.Path,
) -> None:
    small_run.write_corpus(tmp_path)
    for name in PRESETS:
        of_losses, of_parameters, of_norms = differences(tmp_path, name)
        assert of_losses < 5e-6, name
        assert of_parameters < 2e-5, name
        assert of_norms < 1e-5, name


@pytest.mark.slow
@pytest.mark.skipif(small_run.QUICK, reason='--check of one process is tested elsewhere')
def test_each_process_looks_and_none_waits(tmp_path: pathlib.Path) -> None:
    small_run.write_corpus(tmp_path)
    (tmp_path / 'vocab.txt').rename(tmp_path / 'vocab0.txt')
    vocabulary = '--config.data.vocab_file=vocabPROCESS.txt'
    hosts = Hosts(tmp_path, tmp_path / 'run', '--check', vocabulary)
    assert hosts.wait() == [0, 2], hosts.output()
    logs = [log.read_text().splitlines() for log in hosts.logs]
    assert all(lines[0].startswith('waiting for the others') for lines in logs)
    first, second = (lines[1:] for lines in logs)
    assert '8 x cpu, 2 processes' in first[1] and len(first) == 10
    reported = [line.partition(':')[0] for line in second]
    assert reported == ['FAIL  paths       process 1', 'skip  the rest    process 1']
    assert 'vocab1.txt does not exist' in second[0] and not (tmp_path / 'run').exists()


@pytest.mark.slow
@pytest.mark.skipif(small_run.QUICK, reason='the kill of one of two is as long')
def test_one_that_fails_alone_ends_the_other(tmp_path: pathlib.Path) -> None:
    """It does not wait at its end for the other, which waits for it in a collective. (They know of
    each other by flags.)"""
    small_run.write_corpus(tmp_path)
    (tmp_path / 'vocab.txt').rename(tmp_path / 'vocab0.txt')
    known = [f'--coordinator=localhost:{61440 + free_job()}', '--num_processes=2']
    vocabulary = '--config.data.vocab_file=vocabPROCESS.txt'
    hosts = Hosts(tmp_path, tmp_path / 'run', *known, '--process_id=PROCESS', vocabulary)
    hosts.processes[1].wait(timeout=200)
    began = time.monotonic()
    codes = hosts.wait()
    assert codes in ([-signal.SIGABRT, 2], [1, 2]), hosts.output()
    assert time.monotonic() - began < 60
    assert 'vocab1.txt does not exist' in hosts.logs[1].read_text()


def test_one_that_waits_for_others_can_be_ended(tmp_path: pathlib.Path) -> None:
    known = [f'--coordinator=localhost:{61440 + free_job()}', '--num_processes=2', '--process_id=0']
    log = tmp_path / 'log'
    with log.open('w') as output:
        alone = subprocess.Popen(
            [*small_run.command(tmp_path, tmp_path / 'run', **FLAGS), *known],
            env=small_run.environment(),
            stderr=output,
        )
    deadline = time.monotonic() + 60
    while 'waiting for 2 processes at localhost:' not in log.read_text():
        assert alone.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    time.sleep(1)  # until it does
    alone.terminate()
    assert alone.wait(timeout=10) == -signal.SIGTERM


@pytest.mark.slow
@pytest.mark.skipif(small_run.QUICK, reason='two processes train above')
def test_the_benchmark_of_two_processes(tmp_path: pathlib.Path) -> None:
    """Process 0 prints what both did; if one cannot start, the other does not wait."""
    tiny = f'--config={small_run.ROOT / "configs/tiny.py"}'
    shape = ['--steps=3', '--max_seq_length=16', '--batch_size=8', '--config.mesh.fsdp=8']
    command = [sys.executable, '-m', 'bert_jax.benchmark', tiny, *shape]
    output = f'--output={tmp_path / "PROCESS.json"}'
    hosts = Hosts(tmp_path, tmp_path / 'run', output, command=command)
    assert hosts.wait() == [0, 0], hosts.output()
    assert '8 x cpu' in hosts.logs[0].read_text() and '8 x 16' not in hosts.logs[1].read_text()
    (found,) = json.loads((tmp_path / '0.json').read_text())
    assert not (tmp_path / '1.json').exists()
    assert (found['processes'], found['devices'], found['mesh']['fsdp']) == (2, 8, 8)
    assert 8.5 < found['loss'] < 10, 'a fresh model knows nothing: ln 4096 and ln 2'
    (tmp_path / '1').mkdir()
    nowhere = f'--output={tmp_path / "PROCESS" / "speed.json"}'
    hosts = Hosts(tmp_path, tmp_path / 'nowhere', nowhere, command=command)
    assert hosts.wait() in ([2, -signal.SIGABRT], [2, 1]), hosts.output()
    assert f'mkdir -p {tmp_path / "0"}' in hosts.logs[0].read_text()


@pytest.mark.slow
@pytest.mark.skipif(small_run.QUICK, reason='eight devices of one process are tested elsewhere')
def test_two_processes_fine_tune_and_keep_the_best(tmp_path: pathlib.Path) -> None:
    """An epoch that is the best and one that is not, as in one process. What the training file
    teaches is wrong for the held-out texts, so the first epoch is the best."""
    source = small_tasks.pretrained_folder(tmp_path / 'tiny')
    held_out = small_tasks.write_texts(tmp_path / 'dev.jsonl', 50, 1)
    words = {'good': 'bad', 'bad': 'good'}
    swapped = re.sub('good|bad', lambda match: words[match[0]], held_out.read_text())
    held_out.write_text(swapped)
    settings = {
        'init_from': source,
        'data.train_file': small_tasks.write_texts(tmp_path / 'train.jsonl', 200, 0),
        'data.eval_file': held_out,
        'data.max_seq_length': 16,
        'train.batch_size': 16,
        'train.epochs': 2,
        'train.best': True,
        'optim.learning_rate': 0.02,
    }
    config = f'--config={small_run.ROOT / "configs/finetune_text.py"}'
    given = [config, *(f'--config.{name}={value}' for name, value in settings.items())]
    main = [sys.executable, '-m', 'bert_jax.main', *given]
    hosts = Hosts(tmp_path, tmp_path / 'two', command=[*main, f'--workdir={tmp_path / "two"}'])
    assert hosts.wait() == [0, 0], hosts.output()
    alone = [*main, f'--workdir={tmp_path / "one"}']
    subprocess.run(alone, check=True, env=small_run.environment(), capture_output=True)
    one, two = (
        json.loads((tmp_path / name / 'results.json').read_text()) for name in ('one', 'two')
    )
    evals = [line['step'] for line in small_run.metrics(tmp_path / 'two') if 'score' in line]
    assert one['seeds'][0]['step'] == two['seeds'][0]['step'] < evals[-1], evals
    assert one['mean']['accuracy'] == two['mean']['accuracy']
    assert [path.name for path in (tmp_path / 'two').glob('best-*')] == [
        f'best-{two["seeds"][0]["step"]}'
    ]


@pytest.mark.slow
@pytest.mark.skipif(
    small_run.QUICK, reason='sharded predictions of one process are tested elsewhere'
)
def test_two_processes_fill_in_the_words_that_one_does(tmp_path: pathlib.Path) -> None:
    """Both processes have some of the lines in their rows, and only process 0 prints."""
    small_run.write_corpus(tmp_path)
    lines = '\n'.join(f'{letter} [MASK] bad cab' for letter in 'abcdefgh')
    flags = {'train__num_steps': 6, 'train__eval_every': 3, 'data__examples': lines}
    hosts = Hosts(tmp_path, tmp_path / 'two', **flags)
    assert hosts.wait() == [0, 0], hosts.output()
    first, second = (log.read_text() for log in hosts.logs)
    assert 'this model after 6 steps' in first and 'a ____ bad cab ' in first
    assert first.count('\nstep 6: ') == 1 and 'curves ' in first
    assert not re.search('____|after 6 steps|try next', second)

    code, output = small_run.finish(tmp_path, tmp_path / 'one', **FLAGS | flags | {'mesh__fsdp': 1})
    assert code == 0, output
    two, one = (
        json.loads((tmp_path / name / 'examples.json').read_text())['lines']
        for name in ('two', 'one')
    )
    assert len(two) == len(one) >= 8
    for ours, theirs in zip(two, one, strict=True):
        assert ours['line'] == theirs['line'] and ours['answer'] == theirs['answer']
        shares = [[share for _, share in lines['guesses']] for lines in (ours, theirs)]
        np.testing.assert_allclose(*shares, rtol=1e-3)


if __name__ == '__main__':
    print(
        '| mesh, over two processes | losses | parameters | norms of gradients |\n|---|---|---|---|'
    )
    with tempfile.TemporaryDirectory() as temporary:
        small_run.write_corpus(pathlib.Path(temporary))
        for preset in PRESETS:
            numbers = differences(pathlib.Path(temporary), preset)
            print(f'| {preset} | {" | ".join(f"{number:.1e}" for number in numbers)} |')

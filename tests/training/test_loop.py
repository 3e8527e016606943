"""The loop on synthetic batches and eight devices: what it starts from, reports and saves."""

import concurrent.futures
import dataclasses
import logging
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from small_loop import CONFIG, TASK, arrays, assert_same, configured, poison, run
from small_run import metrics, numbers, saved_steps
from tiny_model import ROOT

from bert_jax.config.errors import Interrupted
from bert_jax.parallel.signals import Stopper
from bert_jax.training import loop


@pytest.fixture(scope='module')
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, dict[str, np.ndarray]]:
    workdir = tmp_path_factory.mktemp('whole')
    return workdir, run(workdir)


def test_metrics_have_the_names_that_are_promised(
    whole: tuple[pathlib.Path, dict[str, np.ndarray]],
) -> None:
    lines = metrics(whole[0])
    both = {'step', 'split', 'loss', 'mlm_loss', 'mlm_accuracy', 'nsp_loss', 'nsp_accuracy'}
    pace = {'tokens_per_second', 'sequences_per_second', 'mfu'}
    for line in lines:
        extra = {'mlm_perplexity'}
        if line['split'] == 'train':
            extra = {'learning_rate', 'grad_norm', 'padding_fraction'} | pace
        assert set(line) >= both | extra
        assert line['loss'] == pytest.approx(line['mlm_loss'] + line['nsp_loss'], rel=1e-6)
    assert [(line['step'], line['split']) for line in lines] == [
        *((step, 'train') for step in range(1, 6)),
        (5, 'eval'),
        *((step, 'train') for step in range(6, 11)),
        (10, 'eval'),
    ]
    assert saved_steps(whole[0]) == [4, 8, 10]
    # the first step of each shape has no pace: what it took was compiling
    assert [line['step'] for line in lines if line.get('mfu', 0) is None] == list(range(1, 11))
    assert [line['step'] for line in lines if line.get('tokens_per_second', 0) is None] == [1, 7]


@pytest.mark.slow
@pytest.mark.parametrize(('number', 'at'), [(signal.SIGTERM, 3), (signal.SIGINT, 7)])
def test_a_signal_saves_and_the_next_start_goes_on(
    tmp_path: pathlib.Path,
    whole: tuple[pathlib.Path, dict[str, np.ndarray]],
    at: int,
    number: signal.Signals,
) -> None:
    before = signal.getsignal(number)

    def stop(k: int, _: object) -> None:
        if k == at:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match=r'saved at step \d+ of 10; the same command continues'):
        run(tmp_path, change=stop)
    assert signal.getsignal(number) is before
    step = max(saved_steps(tmp_path))
    assert at - 2 <= step <= at + 1
    asked: list[tuple[int, int]] = []
    assert_same(run(tmp_path, asked=asked), whole[1])
    assert asked[0][0] == step
    assert numbers(tmp_path) == numbers(whole[0])


@pytest.mark.slow
@pytest.mark.parametrize('where', ['before', 'within'])
def test_a_signal_puts_an_evaluation_off(
    tmp_path: pathlib.Path, whole: tuple[pathlib.Path, dict[str, np.ndarray]], where: str
) -> None:
    """It may take long; the run that continues does it later, with the same numbers."""
    begun = []

    def note(i: int) -> None:
        begun.append(i)
        if where == 'within' and i == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    every_step = configured(eval_every=1 if where == 'before' else 5)

    def stop(k: int, _: object) -> None:
        if where == 'before' and k == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match='saved at step'):
        run(tmp_path, every_step, stop, evaluated=note)
    step = saved_steps(tmp_path)[-1]
    assert (step, 'eval') not in {(line['step'], line['split']) for line in metrics(tmp_path)}
    assert where == 'before' or begun == [0, 1]
    if where == 'within':  # again while the next start makes up for it
        begun.clear()
        with pytest.raises(Interrupted, match='step 5 is saved; the same command evaluates it'):
            run(tmp_path, every_step, evaluated=note)
        assert saved_steps(tmp_path)[-1] == step == 5
    assert_same(run(tmp_path, every_step), whole[1])
    lines = {(line['step'], line['split']): line for line in numbers(tmp_path)}
    assert (step, 'eval') in lines
    for line in numbers(whole[0]):
        assert lines[line['step'], line['split']] == line


@pytest.mark.parametrize(
    ('changes', 'log', 'evaluate', 'save'),
    [
        ({}, [4, 8, 10], [5, 10], [3, 6, 9, 10]),
        ({'eval_every': 0}, [4, 8, 10], [10], [3, 6, 9, 10]),
        ({'num_steps': 7}, [4, 7], [5, 7], [3, 6, 7]),
        ({'log_every': 99, 'eval_every': 99, 'checkpoint_every': 99}, [10], [10], [10]),
    ],
)
def test_when_what_is_done(
    changes: dict[str, int], log: list[int], evaluate: list[int], save: list[int]
) -> None:
    config = configured(**{'log_every': 4, 'eval_every': 5, 'checkpoint_every': 3} | changes)
    steps = range(1, config.num_steps + 1)
    for every, expected in (
        (config.train.log_every, log),
        (config.train.eval_every, evaluate),
        (config.train.checkpoint_every, save),
    ):
        assert [step for step in steps if loop.is_due(step, every, config)] == expected


@pytest.mark.slow
def test_a_signal_in_the_last_evaluation_keeps_the_next_run_from_starting(
    tmp_path: pathlib.Path,
) -> None:
    """The run of this seed ends as it would have; that of the next does not begin."""
    config = configured(num_steps=1, nonfinite='skip')
    with Stopper() as stopper:
        run(
            tmp_path / '0',
            config,
            evaluated=lambda i: os.kill(os.getpid(), signal.SIGTERM) if i == 1 else None,
            stopper=stopper,
        )
        assert [line['split'] for line in metrics(tmp_path / '0')] == ['train', 'eval']
        assert saved_steps(tmp_path / '0') == [1]
        with pytest.raises(Interrupted, match='stopped before step 1 of 1') as stopped:
            run(tmp_path / '1', config, stopper=stopper)
    assert stopped.value.number == signal.SIGTERM
    assert not saved_steps(tmp_path / '1')


@pytest.mark.slow
def test_trains_in_a_thread(tmp_path: pathlib.Path) -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        assert pool.submit(run, tmp_path, configured(num_steps=1)).result()['.step'] == 1


def test_a_finished_run_is_left_alone(
    whole: tuple[pathlib.Path, dict[str, np.ndarray]], caplog: pytest.LogCaptureFixture
) -> None:
    workdir, state = whole
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob('*')}

    def opened(*_: object) -> Any:
        raise AssertionError('the input is opened')

    with caplog.at_level(logging.INFO):
        for config in (CONFIG, configured(num_steps=7)):
            assert_same(arrays(loop.train(config, TASK, opened, opened, workdir)), state)
    assert 'Training is already complete (step 10 of 7).' in caplog.text
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob('*')} == before


@pytest.mark.slow
def test_an_early_end_can_be_extended(
    tmp_path: pathlib.Path, whole: tuple[pathlib.Path, dict[str, np.ndarray]]
) -> None:
    run(tmp_path, configured(num_steps=7))
    assert (7, 'eval') in {(line['step'], line['split']) for line in metrics(tmp_path)}
    assert_same(run(tmp_path), whole[1])
    assert numbers(tmp_path) == numbers(whole[0])


@pytest.mark.slow
def test_start_order(
    tmp_path: pathlib.Path, whole: tuple[pathlib.Path, dict[str, np.ndarray]]
) -> None:
    """A run starts from its own checkpoint, or else from the parameters of init_from with
    everything else fresh, or else from a fresh state."""
    poor = configured(num_steps=1, log_every=1)
    still = dataclasses.replace(
        poor,
        init_from=str(whole[0]),
        optim=dataclasses.replace(poor.optim, learning_rate=0.0),
    )
    taken = run(tmp_path / 'new', still)
    for name, value in taken.items():
        if name.startswith('.params'):
            assert value.tobytes() == whole[1][name].tobytes(), name
        elif 'count' in name or name == '.step':
            assert value == 1
    fresh = run(tmp_path / 'fresh', dataclasses.replace(still, init_from=''))
    assert any((fresh[name] != taken[name]).any() for name in taken if name.startswith('.params'))
    own = dataclasses.replace(CONFIG, init_from=str(tmp_path / 'nowhere'))
    assert_same(run(whole[0], own), whole[1])
    with pytest.raises(ValueError, match='has no checkpoint'):
        run(tmp_path / 'newer', own)


@pytest.mark.slow
@pytest.mark.parametrize('log_every', [1, 100])
def test_nan_stops_at_its_step_and_leaves_the_last_checkpoint(
    tmp_path: pathlib.Path, log_every: int, whole: tuple[pathlib.Path, dict[str, np.ndarray]]
) -> None:
    with pytest.raises(FloatingPointError, match='not finite at step 6;'):
        run(tmp_path, configured(log_every=log_every), poison(5))
    assert saved_steps(tmp_path) == [4]
    assert_same(run(tmp_path), whole[1])  # the next start, without the poison


def test_implicit_transfers_are_disallowed_in_the_loop(tmp_path: pathlib.Path) -> None:
    on_device, tried = jnp.ones(3), []

    def transfer(k: int, _: object) -> None:
        if k == 3:
            with pytest.raises(Exception, match='Disallowed host-to-device transfer'):
                on_device + np.ones(3, 'float32')
            tried.append(k)

    run(tmp_path, change=transfer)
    assert tried == [3]


@pytest.mark.slow
def test_trains_where_tensorflow_is_not_installed(tmp_path: pathlib.Path) -> None:
    code = textwrap.dedent("""
        import sys
        sys.modules['tensorflow'] = sys.modules['tensorflow_datasets'] = None  # import raises
        import pathlib, small_loop
        state = small_loop.run(pathlib.Path(sys.argv[1]), small_loop.configured(num_steps=2))
        assert state['.step'] == 2
        import bert_jax.predict
        import bert_jax.benchmark
        import bert_jax.convert.__main__
        print('trained')
    """)
    path = os.pathsep.join(str(ROOT / part) for part in ('.', 'tests'))
    done = subprocess.run(
        [sys.executable, '-c', code, str(tmp_path)],
        check=False,
        env=os.environ | {'PYTHONPATH': path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0 and 'trained' in done.stdout, done.stderr

"""The loop on synthetic batches and eight devices: what it starts from, reports and saves."""

import concurrent.futures
import dataclasses
import errno
import logging
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import metrics, numbers, saved_steps
from tiny_model import ROOT, TINY

from bert_jax import batch as batches
from bert_jax.batch import HostBatch
from bert_jax.config import Config, EvalConfig, MeshConfig, ModelConfig, Phase, TrainConfig
from bert_jax.config.errors import Interrupted
from bert_jax.parallel.mesh import host_slice, make_mesh
from bert_jax.parallel.signals import Stopper
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.training import loop
from bert_jax.training.checkpoint import Checkpoints
from bert_jax.training.loop import train
from bert_jax.training.metrics import MetricsWriter
from bert_jax.training.step_monitor import MAX_IN_A_ROW

MODEL = ModelConfig(
    vocab_size=50,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=24,
)
PHASES = (Phase(6, 16, 8, 3), Phase(4, 24, 8, 4))
CONFIG = dataclasses.replace(
    TINY,
    model=MODEL,
    mesh=MeshConfig(data=2, fsdp=4),
    train=TrainConfig(phases=PHASES, log_every=1, eval_every=5, checkpoint_every=4),
)
TASK = PretrainTask(MODEL)
Change = Callable[[int, dict[str, np.ndarray]], None]


def configured(**changes: object) -> Config:
    return dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, **changes))


def run(
    workdir: pathlib.Path,
    config: Config = CONFIG,
    change: Change = lambda k, batch: None,
    asked: list[tuple[int, int]] | None = None,
    evaluated: Callable[[int], None] = lambda i: None,
    stopper: Stopper | None = None,
    eval_steps: int = 4,
) -> dict[str, np.ndarray]:
    """Trains; the final state's arrays. change(k, batch) may spoil batch k, or the run; so may
    evaluated(i), called for the i-th of the `eval_steps` batches of an evaluation."""
    host, num_hosts = host_slice(make_mesh(config.mesh))

    def mine(batch: dict[str, np.ndarray]) -> HostBatch:
        return {name: np.split(x, num_hosts)[host] for name, x in batch.items()}

    def train_batches(start: int, stop: int) -> Iterator[HostBatch]:
        if asked is not None:
            asked.append((start, stop))
        for k in range(start, stop):
            batch = batches.synthetic(TASK.batch_spec(PHASES[k >= PHASES[0].steps]), k)
            change(k, batch)
            yield mine(batch)

    class EvalBatches:
        main_score = ''

        def __init__(self, phase: Phase):
            self.spec = TASK.batch_spec(phase)

        def __iter__(self) -> Iterator[HostBatch]:
            for i in range(eval_steps):
                evaluated(i)
                yield mine(batches.synthetic(self.spec, 1000 + i))

        def score(self, predictions: object) -> dict[str, float]:
            return {}

    state = train(config, TASK, train_batches, EvalBatches, workdir, stopper)
    return arrays(state.params if num_hosts > 1 else state)


def arrays(state: object) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(state))
    return {jax.tree_util.keystr(path): value for path, value in leaves}


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].tobytes() == b[name].tobytes(), name


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


FULL = {  # what a full disk raises
    'metrics': (MetricsWriter, 'write', OSError(errno.ENOSPC, 'No space left on device')),
    'events': (MetricsWriter, 'flush', OSError(errno.EDQUOT, 'Disk quota exceeded')),
    'checkpoint': (
        Checkpoints,
        'save',
        ValueError(
            'RESOURCE_EXHAUSTED: Failed to write 188 bytes to file 12: No space left on de'
            'vice\n[spec]'
        ),
    ),
    'end': (Checkpoints, 'close', ValueError('Error writing: No space left on device')),
}


@pytest.mark.parametrize('writer', FULL)
def test_a_full_disk_is_one_line(
    tmp_path: pathlib.Path, writer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, method, error = FULL[writer]
    real = getattr(owner, method)

    def full(self: object, *args: object) -> object:
        if method != 'close' and not saved_steps(tmp_path):
            return real(self, *args)
        raise error

    config = configured(num_steps=9, checkpoint_every=1)
    monkeypatch.setattr(owner, method, full)
    with pytest.raises(ValueError, match=r'^no space is left for .*Make room') as raised:
        run(tmp_path, config)
    assert '\n' not in str(raised.value)
    assert f'up to step {saved_steps(tmp_path)[-1]} are complete' in str(raised.value)


def test_a_mistake_in_a_later_phase_or_in_evaluation_is_found_first(
    tmp_path: pathlib.Path,
) -> None:
    later = configured(phases=(PHASES[0], PHASES[1]._replace(batch_size=12)))
    held_out = dataclasses.replace(CONFIG, eval=EvalConfig(batch_size=12))
    for config in (later, held_out):
        with pytest.raises(ValueError, match='12 sequences does not divide over the 8 parts'):
            run(tmp_path, config)
    assert metrics(tmp_path) == []


def test_a_finished_run_is_left_alone(
    whole: tuple[pathlib.Path, dict[str, np.ndarray]], caplog: pytest.LogCaptureFixture
) -> None:
    workdir, state = whole
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob('*')}
    asked: list[tuple[int, int]] = []
    with caplog.at_level(logging.INFO):
        assert_same(run(workdir, asked=asked), state)
        assert_same(run(workdir, configured(num_steps=7), asked=asked), state)
    assert not asked
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
    """Own checkpoint, else init_from's parameters with everything else fresh, else fresh."""
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


def poison(at: int) -> Change:
    def change(k: int, batch: dict[str, np.ndarray]) -> None:
        if k == at:
            batch['masked_lm_weights'][0, 0] = np.nan

    return change


@pytest.mark.slow
@pytest.mark.parametrize('log_every', [1, 100])
def test_nan_stops_at_its_step_and_leaves_the_last_checkpoint(
    tmp_path: pathlib.Path, log_every: int, whole: tuple[pathlib.Path, dict[str, np.ndarray]]
) -> None:
    with pytest.raises(FloatingPointError, match='not finite at step 6;'):
        run(tmp_path, configured(log_every=log_every), poison(5))
    assert saved_steps(tmp_path) == [4]
    assert_same(run(tmp_path), whole[1])  # the next start, without the poison


def test_nan_can_be_skipped_and_is_counted(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = run(tmp_path, configured(nonfinite='skip'), poison(5))
    (said,) = (line for line in caplog.messages if 'skipped' in line)
    assert said.startswith('skipped 1 step of the last 1,') and said.endswith('step 6')
    assert all(np.isfinite(value).all() for value in state.values())
    lines = {line['step']: line for line in metrics(tmp_path) if line['split'] == 'train'}
    assert [lines[step]['skipped_steps'] for step in (5, 6, 10)] == [0, 1, 1]
    assert lines[6]['loss'] is None and lines[6]['mlm_loss'] is None
    assert saved_steps(tmp_path)[-1] == 10

    def stop(k: int, batch: dict[str, np.ndarray]) -> None:
        poison(5)(k, batch)
        if k == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    again = tmp_path / 'again'
    with pytest.raises(Interrupted):
        run(again, configured(nonfinite='skip'), stop)
    assert_same(run(again, configured(nonfinite='skip'), poison(5)), state)
    assert numbers(again) == numbers(tmp_path)


def test_too_many_skipped_in_a_row_end_the_run(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 1 < MAX_IN_A_ROW < 100
    monkeypatch.setattr('bert_jax.training.step_monitor.MAX_IN_A_ROW', 3)

    def change(k: int, batch: dict[str, np.ndarray]) -> None:
        if k in (1, 2, 4, 5, 6, 7):
            poison(k)(k, batch)

    with pytest.raises(FloatingPointError, match=r'3 steps in a row, up to step 7, were'):
        run(tmp_path, configured(nonfinite='skip', log_every=100), change)
    assert saved_steps(tmp_path) == [4]


@pytest.mark.slow
def test_infinite_learning_rate_is_found(tmp_path: pathlib.Path) -> None:
    config = dataclasses.replace(
        CONFIG, optim=dataclasses.replace(CONFIG.optim, learning_rate=float('inf'), warmup_steps=0)
    )
    with pytest.raises(FloatingPointError, match=r'not finite at step [12];'):
        run(tmp_path, config)
    assert saved_steps(tmp_path) == []


def test_implicit_transfers_are_disallowed_in_the_loop(tmp_path: pathlib.Path) -> None:
    on_device, tried = jnp.ones(3), []

    def transfer(k: int, _: object) -> None:
        if k == 3:
            with pytest.raises(Exception, match='Disallowed host-to-device transfer'):
                on_device + np.ones(3, 'float32')
            tried.append(k)

    run(tmp_path, change=transfer)
    assert tried == [3]


def test_a_wrong_batch_is_named(tmp_path: pathlib.Path) -> None:
    def shorten(k: int, batch: dict[str, np.ndarray]) -> None:
        batch['input_ids'] = batch['input_ids'][:, :-1]

    with pytest.raises(ValueError, match=r'a batch is 15 tokens long; expected one of \[16\]'):
        run(tmp_path, change=shorten)

    def damage(k: int, batch: dict[str, np.ndarray]) -> None:
        batch['input_ids'][0, 0] = 50

    with pytest.raises(
        ValueError, match=r"batch\['input_ids'\] goes from 0 to 50; expected 0 to 49"
    ):
        run(tmp_path / 'damaged', change=damage)


@pytest.mark.slow
def test_trains_where_tensorflow_is_not_installed(tmp_path: pathlib.Path) -> None:
    code = textwrap.dedent("""
        import sys
        sys.modules['tensorflow'] = sys.modules['tensorflow_datasets'] = None  # import raises
        import pathlib, test_loop
        state = test_loop.run(pathlib.Path(sys.argv[1]), test_loop.configured(num_steps=2))
        assert state['.step'] == 2
        import bert_jax.predict
        import bert_jax.benchmark
        import bert_jax.convert.__main__
        print('trained')
    """)
    path = os.pathsep.join(str(ROOT / part) for part in ('.', 'tests', 'tests/training'))
    done = subprocess.run(
        [sys.executable, '-c', code, str(tmp_path)],
        check=False,
        env=os.environ | {'PYTHONPATH': path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0 and 'trained' in done.stdout, done.stderr

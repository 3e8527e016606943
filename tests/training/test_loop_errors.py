"""Errors that stop the training loop: values that are not finite, a full disk and wrong batches."""

import dataclasses
import errno
import os
import pathlib
import signal

import numpy as np
import pytest
from small_loop import CONFIG, PHASES, assert_same, configured, poison, run
from small_run import metrics, numbers, saved_steps

from bert_jax.config import EvalConfig
from bert_jax.config.errors import Interrupted
from bert_jax.training.checkpoint import Checkpoints
from bert_jax.training.metrics import MetricsWriter
from bert_jax.training.step_monitor import MAX_IN_A_ROW

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


@pytest.mark.parametrize(
    'writer', [pytest.param(x, marks=[pytest.mark.slow] * (x == 'events')) for x in FULL]
)
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
    cause = 'the quota is used up' if writer == 'events' else 'no space is left'
    with pytest.raises(ValueError, match=rf'^{cause} for .*Make room') as raised:
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


@pytest.mark.slow
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
    """The update is checked, too. The loss shows it one step later, when it may have been saved."""
    config = dataclasses.replace(
        CONFIG, optim=dataclasses.replace(CONFIG.optim, learning_rate=float('inf'), warmup_steps=0)
    )
    with pytest.raises(FloatingPointError, match='not finite at step 1;'):
        run(tmp_path, config)
    assert saved_steps(tmp_path) == []


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

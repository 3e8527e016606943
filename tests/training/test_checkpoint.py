"""Saved states are restored bit for bit, onto any mesh, and damaged files are found."""

import dataclasses
import logging
import pathlib
import shutil
import sys
import time
import types

import jax
import jax.numpy as jnp
import pytest
from small_checkpoint import abstract, assert_same, damage, data_file, files, save, small
from tiny_model import TINY

from bert_jax.config import MeshConfig
from bert_jax.parallel.mesh import make_mesh
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.training import checkpoint, random_streams, train_step
from bert_jax.training.checkpoint import Checkpoints, load_params
from bert_jax.training.train_step import TrainState


def restored(workdir: pathlib.Path) -> TrainState | None:
    checkpoints = Checkpoints(workdir, 9)
    try:
        return checkpoints.restore(abstract(small(0)))
    finally:
        checkpoints.close()


def test_newest_comes_back_and_only_keep_stay(tmp_path: pathlib.Path) -> None:
    assert restored(tmp_path) is None
    save(tmp_path, 2, 4, 6, keep=2)
    assert_same(restored(tmp_path), small(6))
    assert sorted(p.name for p in (tmp_path / 'checkpoints').iterdir()) == ['4', '6']


def test_saving_a_saved_step_again_does_nothing(tmp_path: pathlib.Path) -> None:
    save(tmp_path, 2)
    checkpoints = Checkpoints(tmp_path, 9)
    checkpoints.save(2, small(5))
    checkpoints.close()
    assert_same(restored(tmp_path), small(2))


def test_arrays_may_be_donated_right_after_a_save(tmp_path: pathlib.Path) -> None:
    checkpoints, state = Checkpoints(tmp_path, 9), small(1)
    wipe = jax.jit(lambda state: jax.tree.map(jnp.zeros_like, state), donate_argnums=0)
    checkpoints.save(1, state)
    wipe(state)
    checkpoints.close()
    assert_same(restored(tmp_path), small(1))


@pytest.mark.slow
def test_restore_onto_other_meshes(tmp_path: pathlib.Path) -> None:
    task = PretrainTask(TINY.model)
    eight = make_mesh(MeshConfig(data=2, fsdp=4))
    state = train_step.build_step(TINY, task, eight).init(random_streams.root(3, 'threefry2x32'))
    checkpoints = Checkpoints(tmp_path, 2)
    checkpoints.save(0, state)
    checkpoints.close()
    for data, fsdp in ((2, 2), (1, 1)):
        mesh = make_mesh(MeshConfig(data, fsdp), jax.devices()[: data * fsdp])
        target = train_step.build_step(TINY, task, mesh).abstract
        checkpoints = Checkpoints(tmp_path, 2)
        there = checkpoints.restore(target)
        checkpoints.close()
        assert_same(there, state)
        for leaf, form in zip(jax.tree.leaves(there), jax.tree.leaves(target), strict=True):
            assert leaf.sharding == form.sharding


@pytest.mark.slow
@pytest.mark.parametrize('how', ['missing', 'half', 'empty', 'flipped'])
def test_whatever_file_is_damaged_the_state_is_never_wrong(
    tmp_path: pathlib.Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each file of the newest checkpoint is damaged in turn. Damage in a file that is not needed
    does not matter."""
    save(tmp_path / 'good', 10, 20)
    passed_over = 0
    for i, path in enumerate(files(tmp_path / 'good', 20)):
        workdir = tmp_path / str(i)
        shutil.copytree(tmp_path / 'good', workdir)
        damage(workdir / path.relative_to(tmp_path / 'good'), how)
        caplog.clear()
        state = restored(workdir)
        assert state is not None
        step = int(state.step)
        assert step in (10, 20), path
        assert_same(state, small(step))
        if step == 10:
            passed_over += 1
            assert 'checkpoints/20' in caplog.text, path
        save(workdir, 20, 30)  # at the damaged one's own step too
        assert_same(restored(workdir), small(30))
        shutil.rmtree(workdir / 'checkpoints/30')
        assert_same(restored(workdir), small(20))
    assert passed_over >= 3


def test_damaged_ones_are_named_passed_over_and_put_aside(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 10, 20, 30)
    damage(data_file(tmp_path, 30), 'half')
    damage(data_file(tmp_path, 20), 'flipped')
    with caplog.at_level(logging.WARNING):
        assert_same(restored(tmp_path), small(10))
    for step in (20, 30):
        assert f'{step} is damaged' in caplog.text
        assert f'{step}.damaged; using checkpoint 10' in caplog.text
        assert not (tmp_path / f'checkpoints/{step}').exists()
        assert files(tmp_path, f'{step}.damaged')


@pytest.mark.parametrize('times', [2, 99])
def test_a_checkpoint_that_can_not_be_reached_is_not_damaged(
    tmp_path: pathlib.Path, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 10, 20)
    checkpoints, failures = Checkpoints(tmp_path, 9), iter(range(times))
    real = checkpoints._manager.restore

    def restore(*args: object, **more: object) -> object:
        if next(failures, None) is not None:
            raise ValueError('UNAVAILABLE: Error reading "params" in gs://bucket: HTTP 503')
        return real(*args, **more)

    monkeypatch.setattr(checkpoints._manager, 'restore', restore)
    monkeypatch.setattr(checkpoint, 'RETRY_SECONDS', (0, 0))
    if times == 2:
        assert_same(checkpoints.restore(abstract(small(0))), small(20))
    else:
        with pytest.raises(ValueError, match=r'checkpoints/20 cannot be read: UNAVAILABLE.*503'):
            checkpoints.restore(abstract(small(0)))
    checkpoints.close()
    assert files(tmp_path, 10) and files(tmp_path, 20)


def test_all_damaged_is_one_clear_error_and_removes_nothing(tmp_path: pathlib.Path) -> None:
    save(tmp_path, 10, 20)
    for step in (10, 20):
        damage(data_file(tmp_path, step), 'half')
    with pytest.raises(ValueError, match=r'no checkpoint in .* could be read: 20: .*10: ') as error:
        restored(tmp_path)
    assert '\n' not in str(error.value)
    assert len(files(tmp_path, 10)) and len(files(tmp_path, 20))


def test_half_written_ones_are_swept_up(tmp_path: pathlib.Path) -> None:
    save(tmp_path, 10)
    folder = tmp_path / 'checkpoints'
    shutil.copytree(folder / '10', folder / '20.orbax-checkpoint-tmp-5')
    assert_same(restored(tmp_path), small(10))
    save(tmp_path, 30)  # Orbax deletes in the background, and waits for the end before it saves
    assert {path.name for path in folder.iterdir()} == {'10', '30'}


def test_no_best_is_meant_while_it_is_written_again(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was killed between saving the best parameters and saving the checkpoint."""
    save(tmp_path, 3)
    checkpoint.save_best(tmp_path, 4, small(4).params)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, 'save_params', killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save_best(tmp_path, 4, small(4).params)
    assert_same(load_params(tmp_path, abstract(small(3)).params), small(3).params)
    monkeypatch.undo()
    checkpoint.save_best(tmp_path, 4, small(4).params)
    assert_same(load_params(tmp_path, abstract(small(3)).params), small(4).params)


def test_remote_folders_stay_remote(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert str(checkpoint.absolute('gs://bucket/run')) == 'gs://bucket/run'
    assert checkpoint.absolute(tmp_path / 'a/../b') == tmp_path / 'b'
    monkeypatch.setitem(sys.modules, 'google.cloud.storage_control_v2', None)
    with pytest.raises(ValueError, match=r"bucket/run needs .*pip install '\.\[data,gcs\]'"):
        Checkpoints('gs://bucket/run', 1)


def test_optimizer_of_another_shape_is_not_taken(tmp_path: pathlib.Path) -> None:
    save(tmp_path, 10)
    other = dataclasses.replace(abstract(small(0)), opt_state={})
    checkpoints = Checkpoints(tmp_path, 9)
    with pytest.raises(ValueError, match='could be read'):
        checkpoints.restore(other)
    checkpoints.close()
    assert files(tmp_path, 10)


def test_event_loops_that_orbax_has_closed_are_not_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reported: list[str] = []
    monkeypatch.setattr(
        checkpoint, '_default_hook', lambda event: reported.append(str(event.exc_value))
    )
    for message in ('Event loop is closed', 'another error'):
        event = types.SimpleNamespace(exc_value=RuntimeError(message))
        checkpoint._report_unraisable(event)
    assert reported == ['another error']


def test_a_save_that_cannot_begin_ends_at_once(tmp_path: pathlib.Path) -> None:
    """By default, Orbax makes the folder in the background and waits 300 seconds for it."""
    checkpoints = Checkpoints(tmp_path, 9)
    checkpoints.save(1, small(1))
    checkpoints.check_saves()
    checkpoints._manager.wait_until_finished()
    shutil.rmtree(tmp_path / 'checkpoints')
    (tmp_path / 'checkpoints').write_text('')  # as root, too, nothing can be made below a file
    began = time.monotonic()
    with pytest.raises(OSError, match='checkpoints'):
        checkpoints.save(2, small(2))
    assert time.monotonic() - began < 30

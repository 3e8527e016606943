"""Checkpoints, written and read by Orbax, with checksums of the arrays."""

import contextlib
import hashlib
import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_utils

from bert_jax.config.console import plural
from bert_jax.config.errors import first_line
from bert_jax.config.files import write_atomically
from bert_jax.training.checksums import checksums, difference, named
from bert_jax.training.run_folders import absolute
from bert_jax.training.workdir import BEST, check_storage, newest_checkpoint

LOG = logging.getLogger('bert_jax.training.checkpoint')
# Messages of errors which say that the storage cannot be reached now, not that files are damaged.
UNREACHABLE = re.compile(
    'UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED|UNAUTHENTICATED|PERMISSION_DENIED|TooManyRequests'
    '|ServiceUnavailable|[Tt]imed out|[Cc]onnection|Permission denied|Stale file handle'
)
RETRY_SECONDS = (2, 10)  # before the second and the third attempt to read


def _is_for_users(record: logging.LogRecord) -> bool:
    """Returns whether to log a record. Two kinds are left out: errors that Orbax raises after it
    has logged them, and its warnings about a missing file that it does not need."""
    unneeded = 'Metadata file does not exist' in record.getMessage()
    return 'orbax' not in record.pathname or (record.levelno < logging.ERROR and not unneeded)


def _is_of_orbax(record: logging.LogRecord) -> bool:
    """Returns whether asyncio logs an error of Orbax, which raises only the first of several
    errors."""
    frames = traceback.extract_tb(record.exc_info[2]) if record.exc_info else []
    return any('orbax' in frame.filename for frame in frames)


def _report_unraisable(event: Any) -> None:
    """Reports an exception that nobody can catch. If a disk is full, Orbax closes its event loop
    after the first error, and TensorStore reports every later write as an error of its own."""
    error = event.exc_value
    if not (isinstance(error, RuntimeError) and str(error) == 'Event loop is closed'):
        _default_hook(event)


logging.getLogger('absl').addFilter(_is_for_users)
logging.getLogger('asyncio').addFilter(lambda record: not _is_of_orbax(record))
_default_hook, sys.unraisablehook = sys.unraisablehook, _report_unraisable


class Checkpoints:
    """The checkpoints of a workdir, `WORKDIR/checkpoints/STEP`."""

    def __init__(self, workdir: epath.PathLike, keep: int):
        check_storage(workdir)
        self.directory = absolute(workdir) / 'checkpoints'
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep,
                save_interval_steps=1,
                cleanup_tmp_directories=True,
                # Otherwise, if the folder of a save cannot be made, Orbax waits 300 seconds for it.
                async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
            ),
        )

    def steps(self) -> list[int]:
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any) -> None:
        """Starts saving; the arrays are copied before this returns, so they may be donated."""
        if step in self.steps():
            return
        args = ocp.args.Composite(
            state=ocp.args.PyTreeSave(state), checksums=ocp.args.JsonSave(checksums(state))
        )
        with jax.transfer_guard('allow'):  # Orbax transfers arrays implicitly
            self._manager.save(step, args=args)

    def restore(self, abstract: Any) -> Any | None:
        """The newest undamaged checkpoint, with the shardings of `abstract`; None if there is none.

        Damaged checkpoints are logged, skipped and renamed. They are renamed because Orbax does not
        save a step that already has a folder. Raises ValueError, and renames nothing, if all
        checkpoints are damaged or if the storage cannot be reached.
        """
        damaged: dict[int, str] = {}
        for step in reversed(self.steps()):
            state, problem = self._load(step, abstract)
            if state is None:
                damaged[step] = problem
                LOG.warning('checkpoint %s is damaged: %s', self.directory / str(step), problem)
                continue
            for bad in damaged:
                renamed = self._rename(bad)
                LOG.warning('renamed checkpoint %d to %s; using checkpoint %d', bad, renamed, step)
            return state
        if damaged:
            raise ValueError(
                f'no checkpoint in {self.directory} could be read: '
                + '; '.join(f'{step}: {problem}' for step, problem in damaged.items())
                + '. Restore the folder from a copy, or remove it to start from the beginning'
            )
        return None

    def _load(self, step: int, abstract: Any) -> tuple[Any | None, str]:
        """Returns (state, ''), or (None, what is damaged).

        If one process returns None, all processes do.
        """
        args = ocp.args.Composite(state=_restore(abstract), checksums=ocp.args.JsonRestore())
        for pause in (*RETRY_SECONDS, None):
            restored: Any = None
            problem, unreachable = 'another process could not read it', False
            try:
                restored = self._manager.restore(step, args=args)
            except Exception as error:  # Orbax and TensorStore raise errors of many types
                problem = first_line(error)
                unreachable = _is_unreachable(error)
            outcome = np.array([restored is None, unreachable])
            outcomes = multihost_utils.process_allgather(outcome).reshape(-1, 2)
            failed, unreachable = outcomes.any(axis=0)
            if not (failed and unreachable):
                break
            if pause is None:
                raise ValueError(
                    f'checkpoint {self.directory / str(step)} cannot be read: {problem}. Run the '
                    'same command again when the storage can be reached'
                )
            LOG.warning('checkpoint %d cannot be read, trying again: %s', step, problem)
            time.sleep(pause)
        if failed:
            return None, problem
        problem = difference(checksums(restored.state), restored.checksums)
        return None if problem else restored.state, problem

    def _rename(self, step: int) -> epath.Path:
        """Renames a checkpoint. It is not deleted, because the fault may be in the file system."""
        renamed = self.directory / f'{step}.damaged'
        if jax.process_index() == 0:
            if renamed.exists():
                renamed.rmtree()
            (self.directory / str(step)).rename(renamed)
        multihost_utils.sync_global_devices(f'rename {step}')
        self._manager.reload()
        return renamed

    def check_saves(self) -> None:
        """Raises the error of a save in the background that has failed, such as a full disk."""
        self._manager.check_for_errors()

    def close(self) -> None:
        """Waits until all saves have ended. Raises their errors."""
        try:
            self._manager.wait_until_finished()
        finally:
            self._manager.close()


def saved_params(source: epath.PathLike) -> dict[str, Any]:
    """The shape and dtype, by path, of each parameter that `load_params` finds.

    Raises ValueError if there is no checkpoint or if it is damaged.
    """
    path = newest_checkpoint(source)
    with _reading(path), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        return named(reader.metadata(path / 'state').item_metadata.tree['params'])


def check_params(source: epath.PathLike, abstract: Any) -> list[str]:
    """Returns the unused parameters. Raises ValueError as `load_params` does; reads no arrays."""
    path = newest_checkpoint(source)
    saved, needed = map(_forms, (saved_params(path), named(abstract)))
    wrong = [
        f'{name} is {saved.get(name, "missing")}; the model needs {form}'
        for name, form in needed.items()
        if saved.get(name) != form
    ]
    if wrong:
        more = f' and {len(wrong) - 5} more' if len(wrong) > 5 else ''
        raise ValueError(f'{path} does not fit config.model: {", ".join(wrong[:5])}{more}')
    return sorted(set(saved) - set(needed))


def fingerprint(source: epath.PathLike) -> str:
    """A hash of the parameters of a workdir, a checkpoint or a converted folder.

    Raises ValueError if there is no checkpoint or if it is damaged.
    """
    path = newest_checkpoint(source)
    with _reading(path):
        sums = _saved_sums(path)
    of_params = {name: value for name, value in sums.items() if name.startswith('params/')}
    return hashlib.sha256(json.dumps(of_params, sort_keys=True).encode()).hexdigest()[:16]


def _saved_sums(path: epath.Path) -> dict[str, int]:
    """The checksums in a checkpoint, by the paths of its arrays."""
    return dict(json.loads((path / 'checksums' / 'metadata').read_text()))


def load_params(source: epath.PathLike, abstract: Any) -> Any:
    """The parameters of a workdir or a checkpoint, with the shardings of `abstract`.

    Logs how many saved parameters are not used. Raises ValueError if there is no checkpoint, if it
    is damaged, or as `check_params` does.
    """
    path, target = newest_checkpoint(source), {'params': abstract}
    if unused := check_params(source, abstract):
        number = plural(len(unused), 'parameter')
        LOG.info('not used: %s of %s (first: %s)', number, path, unused[0])
    args = _restore(target, partial_restore=True)
    with _reading(path), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        restored = reader.restore(path / 'state', args=args)
        saved_sums, sums = _saved_sums(path), checksums(restored)
        if problem := difference(sums, {name: saved_sums.get(name) for name in sums}):
            raise ValueError(problem)
    return restored['params']


def _restore(abstract: Any, **options: bool) -> ocp.args.PyTreeRestore:
    restore_args = checkpoint_utils.construct_restore_args(abstract)
    return ocp.args.PyTreeRestore(abstract, restore_args=restore_args, **options)


@contextlib.contextmanager
def _reading(path: epath.Path) -> Iterator[None]:
    """Turns the errors of reading a checkpoint, which have many types, into ValueError."""
    try:
        yield
    except Exception as error:
        problem = 'cannot be reached' if _is_unreachable(error) else 'is damaged'
        raise ValueError(f'checkpoint {path} {problem}: {first_line(error)}') from error


def _is_unreachable(error: Exception) -> bool:
    """Returns whether the storage cannot be reached, which says nothing about the checkpoint."""
    return bool(UNREACHABLE.search(f'{type(error).__name__}: {error}'))


def save_best(workdir: epath.PathLike, step: int, params: Any) -> None:
    """Saves `params` as the best ones, which `load_params(workdir)` then returns.

    A crash at any moment leaves either the old best parameters or the new ones.
    """
    workdir = absolute(workdir)
    folder, pointer = workdir / f'best-{step}', workdir / BEST
    with jax.transfer_guard('allow'):
        if jax.process_index() == 0 and folder.exists():  # left by a run that was killed
            pointer.unlink(missing_ok=True)
            folder.rmtree()
        multihost_utils.sync_global_devices(f'best {step}')
        save_params(folder, params)
    if jax.process_index() == 0:
        write_atomically(pointer, json.dumps({'step': step}) + '\n')
        for other in workdir.glob('best-*'):
            if other.name != folder.name:
                other.rmtree()


def save_params(directory: epath.PathLike, params: Any) -> None:
    """Writes parameters alone, as a checkpoint that `load_params` reads."""
    directory, tree = absolute(directory), {'params': params}
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as writer:
        writer.save(directory / 'state', args=ocp.args.PyTreeSave(tree))
    sums = json.dumps(checksums(tree))
    if jax.process_index() == 0:
        (directory / 'checksums').mkdir()
        (directory / 'checksums' / 'metadata').write_text(sums)


def _forms(arrays: dict[str, Any]) -> dict[str, str]:
    return {name: f'{np.dtype(x.dtype)}{list(x.shape)}' for name, x in arrays.items()}

"""Checkpoints through Orbax, each with checksums of its own; the only module that imports Orbax."""

import importlib
import json
import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_utils

from bert_jax.config.errors import first_line
from bert_jax.parallel.sharding import path_name
from bert_jax.training.train_step import TrainState

LOG = logging.getLogger('bert_jax.training.checkpoint')
BEST = 'best.json'


class Checkpoints:
    """The checkpoints of one workdir: `WORKDIR/checkpoints/STEP`."""

    def __init__(self, workdir: epath.PathLike, keep: int):
        check_storage(workdir)
        self.directory = _absolute(workdir) / 'checkpoints'
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, save_interval_steps=1, cleanup_tmp_directories=True
            ),
        )

    def steps(self) -> list[int]:
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: TrainState) -> None:
        """Starts saving; the arrays are copied before this returns, so they may be donated."""
        if step in self.steps():
            return
        sums = checksums(state)
        with jax.transfer_guard('allow'):  # Orbax moves arrays without saying so
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(state), checksums=ocp.args.JsonSave(sums)
                ),
            )

    def restore(self, abstract: TrainState) -> TrainState | None:
        """The newest whole checkpoint, onto the shardings of `abstract`; None where there is none.

        One that can't be read is named, passed over and put aside (or later saves would be
        dropped). Raises ValueError where none can, and then moves nothing.
        """
        damaged: dict[int, str] = {}
        for step in reversed(self.steps()):
            state, why = self._load(step, abstract)
            if state is None:
                damaged[step] = why
                LOG.warning('checkpoint %s is damaged: %s', self.directory / str(step), why)
                continue
            for bad in damaged:
                aside = self._put_aside(bad)
                LOG.warning('checkpoint %d is now %s; using the one before, %d', bad, aside, step)
            return state
        if damaged:
            raise ValueError(
                f'no checkpoint in {self.directory} could be read: '
                + '; '.join(f'{step}: {why}' for step, why in damaged.items())
                + '. Restore the folder from a copy, or remove it to start afresh'
            )
        return None

    def _load(self, step: int, abstract: TrainState) -> tuple[TrainState | None, str]:
        """The checkpoint, or None and why not; the same for all processes."""
        args = ocp.args.Composite(
            state=ocp.args.PyTreeRestore(
                abstract, restore_args=checkpoint_utils.construct_restore_args(abstract)
            ),
            checksums=ocp.args.JsonRestore(),
        )
        restored, why = None, ''
        logging.disable(logging.ERROR)  # or Orbax says what is wrong in eighty tracebacks
        try:
            restored = self._manager.restore(step, args=args)
        except Exception as error:  # Orbax and TensorStore raise errors of many types
            why = first_line(error)
        finally:
            logging.disable(logging.NOTSET)
        if not multihost_utils.process_allgather(np.bool_(restored is not None)).all():
            return None, why or 'another process could not read it'
        assert restored is not None
        try:
            _verify(checksums(restored.state), restored.checksums)
        except ValueError as error:
            return None, first_line(error)
        return restored.state, ''

    def _put_aside(self, step: int) -> epath.Path:
        """Out of the way, not removed: what could not be read may be whole all the same."""
        aside = self.directory / f'{step}.damaged'
        if jax.process_index() == 0:
            if aside.exists():
                aside.rmtree()
            (self.directory / str(step)).rename(aside)
        multihost_utils.sync_global_devices(f'put aside {step}')
        self._manager.reload()
        return aside

    def close(self) -> None:
        """Waits for saves under way."""
        self._manager.wait_until_finished()
        self._manager.close()


def load_params(source: epath.PathLike, abstract: Any) -> Any:
    """Parameters of workdir `source`'s newest checkpoint, or of the checkpoint `source` itself,
    onto the shardings of `abstract`.

    Raises ValueError where there is none, where it is damaged, and where parameters are missing or
    of another shape or dtype; it names them. Parameters there that nobody here wants are counted
    in a line.
    """
    path = _newest(_absolute(source))
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        _check_fit(_params_metadata(reader, path), abstract, path)
        target = {'params': abstract}
        args = ocp.args.PyTreeRestore(
            target,
            restore_args=checkpoint_utils.construct_restore_args(target),
            partial_restore=True,
        )
        try:
            restored = reader.restore(path / 'state', args=args)
            saved = json.loads((path / 'checksums' / 'metadata').read_text())
            found = checksums(restored)
            _verify(found, {name: saved.get(name) for name in found})
        except Exception as error:
            raise ValueError(f'checkpoint {path} is damaged: {first_line(error)}') from error
    return restored['params']


def check_params(source: epath.PathLike, abstract: Any) -> None:
    """Raises ValueError where `load_params` would find no parameters that fit; reads no arrays."""
    path = _newest(_absolute(source))
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        _check_fit(_params_metadata(reader, path), abstract, path)


def saved_params(source: epath.PathLike) -> dict[str, Any]:
    """Shape and dtype of every parameter of workdir `source`'s newest checkpoint, or of the
    checkpoint `source` itself, by path. Raises ValueError where there is none or it is damaged."""
    path = _newest(_absolute(source))
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        return _named(_params_metadata(reader, path))


def _params_metadata(reader: ocp.Checkpointer, path: epath.Path) -> Any:
    try:
        return reader.metadata(path / 'state').item_metadata.tree['params']
    except Exception as error:  # of many types
        raise ValueError(f'checkpoint {path} is damaged: {first_line(error)}') from error


def save_best(workdir: epath.PathLike, step: int, params: Any) -> None:
    """Keeps the parameters of `step` as the best so far, which is what `load_params` and
    `saved_params` of the workdir then mean; at every moment what they mean is whole."""
    workdir = _absolute(workdir)
    folder, pointer = workdir / f'best-{step}', workdir / BEST
    with jax.transfer_guard('allow'):
        if jax.process_index() == 0 and folder.exists():  # of a run that was killed
            pointer.unlink(missing_ok=True)
            folder.rmtree()
        multihost_utils.sync_global_devices(f'best {step}')
        save_params(folder, params)
    if jax.process_index() == 0:
        partial = workdir / f'{BEST}.tmp'
        partial.write_text(json.dumps({'step': step}) + '\n')
        partial.replace(pointer)
        for other in workdir.glob('best-*'):
            if other.name != folder.name:
                other.rmtree()


def save_params(directory: epath.PathLike, params: Any) -> None:
    """Writes parameters alone as a checkpoint that `load_params` reads."""
    directory, tree = _absolute(directory), {'params': params}
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as writer:
        writer.save(directory / 'state', args=ocp.args.PyTreeSave(tree))
    sums = json.dumps(checksums(tree))
    if jax.process_index() == 0:
        (directory / 'checksums').mkdir()
        (directory / 'checksums' / 'metadata').write_text(sums)


def _absolute(path: epath.PathLike) -> epath.Path:
    """Orbax takes absolute paths only; `resolve` would put gs:// under the current folder."""
    path = epath.Path(path)
    return path if '://' in str(path) else path.expanduser().resolve()


def check_storage(workdir: epath.PathLike) -> None:
    """Raises ValueError where Orbax lacks what it asks with of checkpoints in Cloud Storage."""
    if str(workdir).startswith('gs://'):
        try:
            for name in ('storage', 'storage_control_v2'):
                importlib.import_module(f'google.cloud.{name}')
        except ImportError as error:
            raise ValueError(
                f"{workdir} needs Google's libraries: pip install '.[data,gcs]' ({error})"
            ) from error


def saved_steps(workdir: epath.PathLike) -> list[int]:
    """The steps of a workdir's checkpoints, in order; none where there is no workdir."""
    directory = _absolute(workdir) / 'checkpoints'
    names = [path.name for path in directory.iterdir()] if directory.exists() else []
    return sorted(int(name) for name in names if name.isdigit())


def _newest(source: epath.Path) -> epath.Path:
    if (source / 'state').exists():
        return source
    if (source / BEST).exists():
        return source / f'best-{json.loads((source / BEST).read_text())["step"]}'
    directory, steps = source / 'checkpoints', saved_steps(source)
    if not steps:
        raise ValueError(f'{source} has no checkpoint (no {directory}/STEP)')
    return directory / str(steps[-1])


def _named(tree: Any) -> dict[str, Any]:
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _check_fit(saved: Any, abstract: Any, path: epath.Path) -> None:
    there, here = (
        {name: f'{np.dtype(x.dtype)}{list(x.shape)}' for name, x in _named(tree).items()}
        for tree in (saved, abstract)
    )
    wrong = [
        f'{name} is {there.get(name, "missing")} there, {form} here'
        for name, form in here.items()
        if there.get(name) != form
    ]
    if wrong:
        more = f' and {len(wrong) - 5} more' if len(wrong) > 5 else ''
        raise ValueError(f'{path} does not fit config.model: {"; ".join(wrong[:5])}{more}')
    if extra := sorted(set(there) - set(here)):
        LOG.info('%d parameters of %s are not used, %s first', len(extra), path, extra[0])


@jax.jit
def _sums(tree: Any) -> Any:
    def checksum(x: jax.Array) -> jax.Array:
        kind = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[x.dtype.itemsize]
        words = jax.lax.bitcast_convert_type(x, kind).astype(jnp.uint32)
        index = jnp.zeros(x.shape, jnp.uint32)
        for axis, size in enumerate(x.shape):
            index = index * np.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
        # Odd weights: no single flipped bit can leave the sum as it was.
        return jnp.sum(words * (2 * index + 1), dtype=jnp.uint32)

    return jax.tree.map(checksum, tree)


def checksums(tree: Any) -> dict[str, int]:
    """A number per array, computed where the array lives, whatever its sharding: integer sums don't
    depend on order. Reading wrong bits back is otherwise silent."""
    return {name: int(value) for name, value in _named(jax.device_get(_sums(tree))).items()}


def _verify(found: dict[str, int], saved: dict[str, Any]) -> None:
    wrong = sorted(name for name in set(found) | set(saved) if found.get(name) != saved.get(name))
    if wrong:
        raise ValueError(f'{len(wrong)} arrays differ from what was saved, {wrong[0]} first')

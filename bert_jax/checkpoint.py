"""Checkpoints through Orbax, each with checksums of its own; the only module that imports Orbax."""

import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_utils

from bert_jax.train_step import TrainState

LOG = logging.getLogger('bert_jax.checkpoint')


class Checkpoints:
    """The checkpoints of one workdir: `WORKDIR/checkpoints/STEP`."""

    def __init__(self, workdir: epath.PathLike, keep: int):
        self.directory = epath.Path(workdir).resolve() / 'checkpoints'
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, save_interval_steps=1, cleanup_tmp_directories=True
            ),
        )

    def steps(self) -> list[int]:
        return sorted(self._manager.all_steps(read=True))

    def save(self, state: TrainState) -> None:
        """Starts saving; the arrays are copied before this returns, so they may be donated."""
        with jax.transfer_guard('allow'):
            step = int(state.step)
            if step not in self._manager.all_steps():
                self._manager.save(
                    step,
                    args=ocp.args.Composite(
                        state=ocp.args.PyTreeSave(state),
                        checksums=ocp.args.JsonSave(checksums(state)),
                    ),
                )

    def restore(self, abstract: TrainState) -> TrainState | None:
        """The newest whole checkpoint, onto the shardings of `abstract`; None where there is none.

        One that is damaged is named, passed over and removed (or later saves would be dropped).
        Raises ValueError where all are damaged.
        """
        steps, damaged = self.steps(), []
        for step in reversed(steps):
            try:
                state = self._load(step, abstract)
            except Exception as error:  # Orbax and TensorStore raise errors of many types
                LOG.warning(
                    'checkpoint %s is damaged, trying the one before: %s',
                    self.directory / str(step),
                    str(error).split('\n')[0],
                )
                damaged.append(step)
                continue
            for bad in damaged:
                self._manager.delete(bad)
            return state
        if steps:
            raise ValueError(
                f'no checkpoint in {self.directory} could be read (steps {steps}); '
                'restore the folder from a copy, or remove it to start afresh'
            )
        return None

    def _load(self, step: int, abstract: TrainState) -> TrainState:
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeRestore(
                    abstract, restore_args=checkpoint_utils.construct_restore_args(abstract)
                ),
                checksums=ocp.args.JsonRestore(),
            ),
        )
        _verify(checksums(restored.state), restored.checksums)
        return restored.state

    def close(self) -> None:
        """Waits for saves under way."""
        self._manager.wait_until_finished()
        self._manager.close()


def load_params(source: epath.PathLike, abstract: Any) -> Any:
    """Parameters of the newest checkpoint of workdir `source`, onto the shardings of `abstract`.

    Raises ValueError where there is no checkpoint, or where parameters are missing or of another
    shape; it names them.
    """
    directory = epath.Path(source).resolve() / 'checkpoints'
    steps = (
        [int(path.name) for path in directory.iterdir() if path.name.isdigit()]
        if (directory.exists())
        else []
    )
    if not steps:
        raise ValueError(f'config.init_from={source} has no checkpoint ({directory}/STEP)')
    path = directory / str(max(steps)) / 'state'
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        tree = reader.metadata(path).item_metadata.tree
        _check_shapes(tree['params'], abstract, path)
        target = {'params': abstract}
        restored = reader.restore(
            path,
            args=ocp.args.PyTreeRestore(
                target,
                restore_args=checkpoint_utils.construct_restore_args(target),
                partial_restore=True,
            ),
        )
    return restored['params']


def _check_shapes(tree: Any, abstract: Any, path: epath.Path) -> None:
    def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {
            jax.tree_util.keystr(name, simple=True, separator='/'): tuple(leaf.shape)
            for name, leaf in leaves
        }

    there, here = shapes(tree), shapes(abstract)
    wrong = [
        f'{name} is {there.get(name, "missing")} there, {shape} here'
        for name, shape in here.items()
        if there.get(name) != shape
    ]
    if wrong:
        raise ValueError(
            f'{path} does not fit config.model: '
            + '; '.join(wrong[:5])
            + (f' and {len(wrong) - 5} more' if len(wrong) > 5 else '')
        )


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
    sums = jax.device_get(_sums(tree))
    return {
        jax.tree_util.keystr(path, simple=True, separator='/'): int(value)
        for path, value in jax.tree_util.tree_leaves_with_path(sums)
    }


def _verify(found: dict[str, int], saved: dict[str, int]) -> None:
    wrong = sorted(name for name in set(found) | set(saved) if found.get(name) != saved.get(name))
    if wrong:
        raise ValueError(f'{len(wrong)} arrays differ from what was saved, {wrong[0]} first')

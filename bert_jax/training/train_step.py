"""The training state and the one step that trains it; the evaluation step beside it."""

from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh, PartitionSpec

from bert_jax.batch import Batch
from bert_jax.models.layers import compute_dtype
from bert_jax.parallel import xla_options
from bert_jax.parallel.sharding import check_rules, path_name, state_shardings
from bert_jax.tasks.losses import Sums, mean
from bert_jax.tasks.task import Task
from bert_jax.training import random_streams

TrainStep = Callable[['TrainState', Batch, jax.Array], tuple['TrainState', Sums]]
EvalStep = Callable[[Any, Batch], tuple[Sums, dict[str, jax.Array]]]


@flax.struct.dataclass
class TrainState:
    """Everything a run needs to go on, and nothing but arrays."""

    step: jax.Array  # int32[], steps taken
    skipped: jax.Array  # int32[], those of them that were not finite
    params: Any
    opt_state: Any


def _init(task: Task, tx: optax.GradientTransformation, key: jax.Array) -> TrainState:
    params = task.init(random_streams.stream(key, 'params', 0))
    return TrainState(jnp.int32(0), jnp.int32(0), params, tx.init(params))


def abstract_state(task: Task, tx: optax.GradientTransformation, mesh: Mesh) -> TrainState:
    """The state's shapes, dtypes and shardings, without its values: what a restore fills.

    Raises ValueError where the parameters' axis names and the mesh don't fit.
    """
    boxed = jax.eval_shape(lambda: _init(task, tx, jax.random.key(0)))
    check_rules(boxed.params, mesh)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        nn.unbox(boxed),
        state_shardings(boxed, mesh),
    )


def init_state(
    task: Task, tx: optax.GradientTransformation, mesh: Mesh, key: jax.Array
) -> TrainState:
    """A fresh state, each device making only its shards. The values depend on `key` alone,
    where its generator is threefry."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(task, tx, mesh))
    return jax.jit(lambda key: nn.unbox(_init(task, tx, key)), out_shardings=shardings)(key)


def make_train_step(
    task: Task,
    tx: optax.GradientTransformation,
    mesh: Mesh,
    *,
    schedule: optax.Schedule,
    accum_steps: int = 1,
) -> TrainStep:
    """(state, batch, root key) -> (state, sums); jitted, donates the state.

    sums: the task's own, and grad_norm, learning_rate, nonfinite and skipped_steps. A step whose
    loss or gradient is not finite (nonfinite = 1) changes nothing but the step and skipped counts.
    """

    def step(state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Sums]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            dropout_key = random_streams.stream(key, 'dropout', state.step)
            loss, sums, grads = _gradients(task, state.params, batch, dropout_key, accum_steps)
            grad_norm = optax.tree.norm(grads)
            finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
            learning_rate = jnp.asarray(schedule(state.step), jnp.float32)
            updates, opt_state = tx.update(grads, state.opt_state, state.params)
            params = jax.tree.map(lambda p, u: p - learning_rate * u, state.params, updates)
            params, opt_state = jax.tree.map(
                lambda new, old: jnp.where(finite, new, old),
                (params, opt_state),
                (state.params, state.opt_state),
            )
        skipped = state.skipped + ~finite
        scalars = {
            'loss': loss,
            'grad_norm': grad_norm,
            'learning_rate': learning_rate,
            'nonfinite': 1.0 - finite,
            'skipped_steps': skipped.astype(jnp.float32),
        }
        sums |= {name: (value, jnp.ones(())) for name, value in scalars.items()}
        return TrainState(state.step + 1, skipped, params, opt_state), sums

    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(task, tx, mesh))
    return jax.jit(
        step,
        donate_argnums=0,
        out_shardings=(shardings, None),
        compiler_options=xla_options.options(mesh),
    )


def _gradients(
    task: Task, params: Any, batch: Batch, key: jax.Array, accum_steps: int
) -> tuple[jax.Array, Sums, Any]:
    """Loss, sums and gradients of the whole batch, in `accum_steps` micro-batches of equal size.

    Each loss is divided by its count over the whole batch, so that a token weighs the same in
    whichever micro-batch it is.
    """
    counts = task.counts(batch)
    params = _narrowed(params, compute_dtype(task.config))

    def losses(params: Any, part: Batch, key: jax.Array) -> tuple[jax.Array, Sums]:
        sums = task.loss(task.apply(params, part, key), part)
        terms = [mean(sums[name], counts[name]) for name in task.loss_names]
        return jnp.sum(jnp.stack(terms)), sums

    def gradients(part: Batch, key: jax.Array) -> tuple[jax.Array, Sums, Any]:
        (loss, sums), grads = jax.value_and_grad(losses, has_aux=True)(params, part, key)
        return loss, sums, jax.tree.map(lambda x: x.astype(jnp.float32), grads)

    if accum_steps == 1:
        return gradients(batch, key)

    # [batch, ...] -> [batch / accum, accum, ...]: every device has rows of every micro-batch.
    parts = {
        name: x.reshape(x.shape[0] // accum_steps, accum_steps, *x.shape[1:])
        for name, x in batch.items()
    }

    def micro_step(total: Any, index: jax.Array) -> tuple[Any, None]:
        part = {name: x[:, index] for name, x in parts.items()}
        return jax.tree.map(jnp.add, total, gradients(part, jax.random.fold_in(key, index))), None

    shapes = jax.eval_shape(gradients, {name: x[:, 0] for name, x in parts.items()}, key)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.scan(micro_step, zeros, jnp.arange(accum_steps))[0]


def _narrowed(params: Any, dtype: jnp.dtype) -> Any:
    """Matrices in the type they are multiplied in. So are their gradients, which would be widened
    a layer at a time otherwise, into stacks of twice the size."""

    def narrowed(path: tuple, x: jax.Array) -> jax.Array:
        return x.astype(dtype) if path_name(path).endswith('kernel') else x

    return jax.tree_util.tree_map_with_path(narrowed, params)


def make_eval_step(task: Task, mesh: Mesh) -> EvalStep:
    """(params, batch) -> (sums, predictions whole on every device), without dropout; jitted."""
    whole = PartitionSpec()

    def step(params: Any, batch: Batch) -> tuple[Sums, dict[str, jax.Array]]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            outputs = task.apply(params, batch, None)
            predictions = task.predictions(outputs, batch)
            if predictions:
                predictions |= {name: batch[name] for name in ('example_ids', 'example_weights')}
            return task.loss(outputs, batch), {
                name: jax.lax.with_sharding_constraint(x, whole) for name, x in predictions.items()
            }

    return jax.jit(step)

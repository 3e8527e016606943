"""The training state, the training step and the evaluation step."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh, PartitionSpec

from bert_jax.batch import Batch, BatchSpec
from bert_jax.config import Config, Phase
from bert_jax.models.parameters import cast_kernels, describe
from bert_jax.parallel import xla_options
from bert_jax.parallel.sharding import abstract_batch, abstract_state, batch_shardings, check_rules
from bert_jax.tasks.losses import Sums
from bert_jax.tasks.task import Task
from bert_jax.training import random_streams
from bert_jax.training.gradients import batch_gradients
from bert_jax.training.optimizer import (
    frozen_layers,
    make_optimizer,
    make_schedule,
    without_frozen,
)

# The last argument is `Step.init_frozen`, or () for a task without frozen parameters.
TrainStep = Callable[..., tuple['TrainState', Sums]]
EvalStep = Callable[..., tuple[Sums, dict[str, jax.Array]]]


@flax.struct.dataclass
class TrainState:
    """The arrays that a run needs to continue.

    step: int32[], the steps taken. skipped: int32[], the steps whose update was not finite.
    """

    step: jax.Array
    skipped: jax.Array
    params: Any
    opt_state: Any


@flax.struct.dataclass
class StateWithMemory(TrainState):
    """The state of a task that passes arrays from one step to the next.

    memory: the arrays of `Task.memory_spec` by name. A resumed run reads the same memory as one
    that was not interrupted.
    """

    memory: Batch


def memory_of(state: TrainState) -> Batch:
    """Returns the memory of a state; {} if it has none."""
    return state.memory if isinstance(state, StateWithMemory) else {}


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """The jitted training and evaluation steps of a task, made by `build_step`.

    info: the tree of `ParameterInfo`. abstract: the shapes, dtypes and shardings of the state.
    frozen: the parameters that the task reads and does not train; () if there are none.
    """

    config: Config
    task: Task
    mesh: Mesh
    info: Any
    tx: optax.GradientTransformation
    schedule: optax.Schedule
    abstract: TrainState
    frozen: Any = ()

    @property
    def _shardings(self) -> TrainState:
        shardings: TrainState = jax.tree.map(lambda leaf: leaf.sharding, self.abstract)
        return shardings

    def init(self, key: jax.Array) -> TrainState:
        """Returns a fresh state; each device makes its own shards.

        The values depend on `key` alone if its generator is threefry2x32.
        """

        def make(key: jax.Array) -> Any:
            params = self.task.init(random_streams.stream(key, 'params', 0))
            zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), self.abstract)
            return nn.unbox(
                dataclasses.replace(zeros, params=params, opt_state=self.tx.init(params))
            )

        state: TrainState = jax.jit(make, out_shardings=self._shardings)(key)
        return state

    @property
    def frozen_info(self) -> Any:
        """The tree of `ParameterInfo` of `frozen`."""
        return describe(jax.eval_shape(lambda: self.task.init_frozen(jax.random.key(0))))

    def init_frozen(self, key: jax.Array) -> Any:
        """Random values for `frozen`, for a benchmark or a test of a step without a teacher."""
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.frozen)

        def make(key: jax.Array) -> Any:
            values = nn.unbox(self.task.init_frozen(key))
            return jax.tree.map(lambda x, form: x.astype(form.dtype), values, self.frozen)

        return jax.jit(make, out_shardings=shardings)(key) if self.frozen else ()

    @functools.cached_property
    def train(self) -> TrainStep:
        """(state, batch, root key, frozen) -> (state, sums); donates the state.

        sums: the task's own, and loss, grad_norm, learning_rate, nonfinite and skipped_steps. If
        the loss, the gradient or the update is not finite (nonfinite = 1), only the two counters of
        the state change.
        """
        task, accum_steps = self.task, self.config.train.accum_steps

        def step(
            state: TrainState, batch: Batch, key: jax.Array, frozen: Any = ()
        ) -> tuple[TrainState, Sums]:
            with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):
                rngs = {
                    name: random_streams.stream(key, name, state.step)
                    for name in task.random_streams
                }
                batch = batch | memory_of(state)
                loss, sums, grads, memory = batch_gradients(
                    task, self.info, state.params, batch, rngs, accum_steps, frozen
                )
                # A task may compute gradients of frozen parameters, too.
                grads = without_frozen(self.config, self.info, grads)
                grad_norm = optax.tree.norm(grads)
                learning_rate = jnp.asarray(self.schedule(state.step), jnp.float32)
                updates, opt_state = self.tx.update(grads, state.opt_state, state.params)
                finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
                finite &= jnp.isfinite(learning_rate * optax.tree.norm(updates))
                params = jax.tree.map(lambda p, u: p - learning_rate * u, state.params, updates)
                updated = dataclasses.replace(state, params=params, opt_state=opt_state)
                if isinstance(updated, StateWithMemory):
                    updated = dataclasses.replace(updated, memory=memory)
                updated = jax.tree.map(lambda new, old: jnp.where(finite, new, old), updated, state)
            skipped = state.skipped + ~finite
            scalars = {
                'loss': loss,
                'grad_norm': grad_norm,
                'learning_rate': learning_rate,
                'nonfinite': 1.0 - finite,
                'skipped_steps': skipped.astype(jnp.float32),
            }
            sums |= {name: (value, jnp.ones(())) for name, value in scalars.items()}
            return dataclasses.replace(updated, step=state.step + 1, skipped=skipped), sums

        return jax.jit(
            step,
            donate_argnums=0,
            out_shardings=(self._shardings, None),
            compiler_options=xla_options.options(self.mesh),
        )

    @functools.cached_property
    def evaluate(self) -> EvalStep:
        """(params, batch, frozen) -> (sums, predictions), without dropout.

        Every device has all of the predictions.
        """

        def step(params: Any, batch: Batch, frozen: Any = ()) -> tuple[Sums, dict[str, jax.Array]]:
            with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):
                sums, predictions = self.task.predict(params, batch, frozen)
                if predictions:
                    names = ('example_ids', 'example_weights')
                    predictions |= {name: batch[name] for name in names}
                return sums, {
                    name: jax.lax.with_sharding_constraint(x, PartitionSpec())
                    for name, x in predictions.items()
                }

        return jax.jit(step)

    def lower(self, phase: Phase) -> Any:
        """The training step for batches of `phase` (a `jax.stages.Lowered`), ready to be compiled.

        Raises ValueError if the batch does not divide over the mesh.
        """
        training = self.config.train
        key = jax.eval_shape(lambda: random_streams.root(training.seed, training.prng_impl))
        batch = abstract_batch(self.task.batch_spec(phase), self.mesh, training.accum_steps)
        train: Any = self.train
        return train.lower(self.abstract, batch, key, self.frozen)

    def batch_specs(self, phase: Phase, training: bool) -> dict[int, BatchSpec]:
        """The arrays of the batches of `phase`, in training or in evaluation, by length.

        Raises ValueError if the batch does not divide over the mesh.
        """
        accum_steps = self.config.train.accum_steps if training else 1
        if not training:
            phase = phase._replace(batch_size=self.config.eval.batch_size or phase.batch_size)
        lengths = self.task.lengths(phase)
        specs = {n: self.task.batch_spec(phase._replace(max_seq_length=n)) for n in lengths}
        for spec in specs.values():
            batch_shardings(spec, self.mesh, accum_steps)
        return specs


def build_step(
    config: Config,
    task: Task,
    mesh: Mesh,
    tx: optax.GradientTransformation | None = None,
    schedule: optax.Schedule | None = None,
) -> Step:
    """Returns the steps that train and evaluate `task` on `mesh`; nothing is compiled yet.

    tx, schedule: replace the optimizer and the learning-rate schedule of the configuration. Raises
    ValueError if the axis names of the parameters do not fit the mesh, or if the configuration asks
    for micro-batches and the task does not allow them.
    """
    if config.train.accum_steps > 1 and not task.rows_are_independent:
        raise ValueError(
            f'config.train.accum_steps is {config.train.accum_steps}; expected 1, because the loss '
            'of a row depends on the other rows of its batch'
        )
    if (lowest := frozen_layers(config)) is not None:
        task = dataclasses.replace(task, frozen_layers=lowest)
    boxed = jax.eval_shape(lambda: task.init(jax.random.key(0)))
    check_rules(boxed, mesh)
    info = describe(boxed)
    tx = tx or make_optimizer(config, info)
    counter: Any = jax.ShapeDtypeStruct((), jnp.int32)
    state = TrainState(counter, counter, boxed, jax.eval_shape(tx.init, boxed))
    abstract = abstract_state(state, mesh)
    if memory := task.memory_spec(config.train.phases[0]):
        arrays = abstract_batch(memory, mesh, config.train.accum_steps)
        abstract = StateWithMemory(**vars(abstract), memory=arrays)
    schedule = schedule or make_schedule(config)
    return Step(config, task, mesh, info, tx, schedule, abstract, _abstract_frozen(task, mesh))


def _abstract_frozen(task: Task, mesh: Mesh) -> Any:
    """The shapes of `Step.frozen`. Kernels have the dtype of the computation, because training does
    not update them."""
    boxed = jax.eval_shape(lambda: task.init_frozen(jax.random.key(0)))
    check_rules(boxed, mesh)
    abstract = abstract_state(boxed, mesh)
    cast = jax.eval_shape(lambda params: cast_kernels(params, describe(boxed)), nn.unbox(boxed))
    return jax.tree.map(lambda leaf, to: leaf.update(dtype=to.dtype), abstract, cast)


def shared_step(config: Config, task: Task, mesh: Mesh) -> Step:
    """Returns the result of `build_step`, which is the same object if only the seeds differ.

    So a step is compiled once for all seeds of a task.
    """
    data = dataclasses.replace(config.data, seed=0)
    train = dataclasses.replace(config.train, seed=0)
    return _build_step(dataclasses.replace(config, data=data, train=train), task, mesh)


_build_step = functools.lru_cache(maxsize=1)(build_step)

"""The gradients of a batch, computed in one or more micro-batches."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bert_jax.batch import Batch
from bert_jax.models.parameters import cast_kernels
from bert_jax.tasks.losses import Sums, divide
from bert_jax.tasks.task import RandomStreams, Task


def batch_gradients(
    task: Task,
    info: Any,
    params: Any,
    batch: Batch,
    rngs: RandomStreams,
    accum_steps: int,
    frozen: Any = (),
) -> tuple[jax.Array, Sums, Any, Batch]:
    """Returns loss, sums, gradients and memory of the batch, computed in `accum_steps`
    micro-batches.

    Each loss is divided by its count over the whole batch, so that a token has the same weight in
    every micro-batch. The gradients are float32. frozen: see `train_step.Step`.
    """
    denominators = task.loss_denominators(batch)
    params = cast_kernels(params, info)

    def weighted_loss(params: Any, part: Batch, rngs: RandomStreams) -> tuple[jax.Array, Any]:
        sums, memory = task.loss_and_memory(params, part, rngs, frozen)
        terms = [
            weight * divide(sums[name][0], denominators[name])
            for name, weight in task.loss_weights.items()
        ]
        return jnp.sum(jnp.stack(terms)), (sums, memory)

    def gradients(part: Batch, rngs: RandomStreams) -> tuple[Any, Batch]:
        grad = jax.value_and_grad(weighted_loss, has_aux=True)
        (loss, (sums, memory)), grads = grad(params, part, rngs)
        return (loss, sums, jax.tree.map(lambda x: x.astype(jnp.float32), grads)), memory

    if accum_steps == 1:
        summed, memory = gradients(batch, rngs)
    else:
        summed, memory = _accumulate(gradients, batch, rngs, accum_steps)
    return (*summed, memory)


def _accumulate(
    gradients: Callable[[Batch, RandomStreams], tuple[Any, Batch]],
    batch: Batch,
    rngs: RandomStreams,
    accum_steps: int,
) -> tuple[Any, Batch]:
    """Returns the sum of `gradients` over micro-batches of equal size, each with its own keys, and
    the memory of all rows."""
    # [batch, ...] -> [batch / accum, accum, ...]: every device has rows of every micro-batch.
    parts = {
        name: x.reshape(x.shape[0] // accum_steps, accum_steps, *x.shape[1:])
        for name, x in batch.items()
    }

    def micro_step(total: Any, index: jax.Array) -> tuple[Any, Batch]:
        part = {name: x[:, index] for name, x in parts.items()}
        keys = {name: jax.random.fold_in(key, index) for name, key in rngs.items()}
        summed, memory = gradients(part, keys)
        return jax.tree.map(jnp.add, total, summed), memory

    shapes, _ = jax.eval_shape(gradients, {name: x[:, 0] for name, x in parts.items()}, rngs)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    summed, memories = jax.lax.scan(micro_step, zeros, jnp.arange(accum_steps))
    # [accum, batch / accum, ...] -> [batch, ...]
    whole = jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), memories)
    return summed, whole

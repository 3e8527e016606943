"""The model's predictions during training for some lines of text with a masked word."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from bert_jax.batch import BatchSpec, HostBatch
from bert_jax.parallel.sharding import shard_batch
from bert_jax.training.train_step import Step

BLANK = '____'  # stands for the masked word in the lines that are printed
TOP = 3  # predictions that are shown

Guesses = list[tuple[str, float]]  # tokens and their probabilities, the most likely one first


@dataclasses.dataclass(frozen=True)
class Examples:
    """Lines of text with one masked word each, as a batch for the model.

    texts: the lines with a mask token. lines: the lines with BLANK instead. answers: the masked
    words, '' if they are not known. batch: this host's rows. The global batch begins with the
    lines; its other rows are padding. spec: the arrays of the batch. vocab_size: the number of
    tokens that can be predicted. decode: the text of a token id.
    """

    texts: list[str]
    lines: list[str]
    answers: list[str]
    batch: HostBatch
    spec: BatchSpec
    vocab_size: int
    decode: Callable[[int], str]

    def guesses(self, step: Step, params: Any) -> list[Guesses]:
        """The most likely tokens for each line. All processes have to call this together."""
        batch = shard_batch(self.batch, self.spec, step.mesh)
        probabilities, ids = jax.device_get(_top(step, self.vocab_size)(params, batch))
        tops = zip(ids.tolist(), probabilities.tolist(), strict=True)
        return [
            [(self.decode(i), p) for i, p in zip(*top, strict=True)]
            for top in itertools.islice(tops, len(self.lines))
        ]


@functools.lru_cache(maxsize=1)
def _top(step: Step, vocab_size: int) -> Callable[[Any, Any], Any]:
    """(params, batch) -> probabilities and ids of the most likely tokens, [rows, TOP] both.

    Every device has all of them.
    """
    task: Any = step.task

    def top(params: Any, batch: Any) -> tuple[jax.Array, jax.Array]:
        with jax.sharding.use_abstract_mesh(step.mesh.abstract_mesh):
            logits = task.apply(params, batch)['prediction_logits'][:, 0].astype(jnp.float32)
            # The table may have rows beyond the vocabulary, which are padding.
            probabilities = jax.nn.softmax(logits)[:, :vocab_size]
            values, ids = jax.lax.top_k(probabilities, min(TOP, vocab_size))
            replicated = PartitionSpec()
            return (
                jax.lax.with_sharding_constraint(values, replicated),
                jax.lax.with_sharding_constraint(ids, replicated),
            )

    return jax.jit(top)

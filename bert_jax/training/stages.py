"""The parts of a run with batches of one shape, and the transfer of batches to the devices."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import jax

from bert_jax.batch import Batch, BatchSpec, HostBatch, spec_of
from bert_jax.config import Phase
from bert_jax.parallel.sharding import shard_batch
from bert_jax.training.evaluation import Predictions
from bert_jax.training.train_step import Step


class EvalSet(Protocol):
    """This host's slices of the held-out batches; it can be iterated many times."""

    main_score: str  # the score that chooses the best step; '' if there is none

    def __iter__(self) -> Iterator[HostBatch]: ...

    def score(self, predictions: Predictions) -> dict[str, float]:
        """Official scores, in addition to the means of the task's sums."""


TrainBatches = Callable[[int, int], Iterator[HostBatch]]
EvalSets = Callable[[Phase], EvalSet]


class Stage(NamedTuple):
    """The remaining steps of a phase. The specs are by the length of a batch."""

    phase: Phase
    specs: dict[int, BatchSpec]
    eval_specs: dict[int, BatchSpec]
    batches: Iterator[HostBatch]
    eval_set: EvalSet


def remaining_stages(
    built: Step, step: int, batches: TrainBatches, eval_sets: EvalSets
) -> list[Stage]:
    """The remaining stages. The first one contains `step`; it may have no remaining steps."""
    stages, first, num_steps = [], 0, built.config.num_steps
    for phase in built.config.train.phases:
        begin, end = max(step, first), min(num_steps, first + phase.steps)
        if begin <= end and first < num_steps:
            specs, eval_specs = (built.batch_specs(phase, training) for training in (True, False))
            stages.append(Stage(phase, specs, eval_specs, batches(begin, end), eval_sets(phase)))
        first += phase.steps
    return stages


def prefetch(
    batches: Iterator[HostBatch], specs: dict[int, BatchSpec], mesh: jax.sharding.Mesh
) -> Iterator[Batch]:
    """Batches on the device; the transfer of the next one begins before a batch is yielded."""
    current: Batch | None = None
    for batch in batches:
        following = shard_batch(batch, spec_of(batch, specs), mesh)
        if current is not None:
            yield current
        current = following
    if current is not None:
        yield current

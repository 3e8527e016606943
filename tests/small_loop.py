"""Small runs of the training loop on synthetic batches and eight devices."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator

import jax
import numpy as np
from tiny_model import TINY, changed

from bert_jax import batch as batches
from bert_jax.batch import HostBatch
from bert_jax.config import Config, MeshConfig, ModelConfig, Phase, TrainConfig
from bert_jax.parallel.mesh import host_slice, make_mesh
from bert_jax.parallel.signals import Stopper
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.training.loop import train

MODEL = ModelConfig(
    vocab_size=50,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=24,
)
PHASES = (Phase(6, 16, 8, 3), Phase(4, 24, 8, 4))
CONFIG = dataclasses.replace(
    TINY,
    model=MODEL,
    mesh=MeshConfig(data=2, fsdp=4),
    train=TrainConfig(phases=PHASES, log_every=1, eval_every=5, checkpoint_every=4),
)
TASK = PretrainTask(MODEL)
Change = Callable[[int, dict[str, np.ndarray]], None]


def configured(**changes: object) -> Config:
    return changed(CONFIG, train=changes)


def run(
    workdir: pathlib.Path,
    config: Config = CONFIG,
    change: Change = lambda k, batch: None,
    asked: list[tuple[int, int]] | None = None,
    evaluated: Callable[[int], None] = lambda i: None,
    stopper: Stopper | None = None,
    eval_steps: int = 4,
) -> dict[str, np.ndarray]:
    """Trains; the final state's arrays. change(k, batch) may spoil batch k, or the run; so may
    evaluated(i), called for the i-th of the `eval_steps` batches of an evaluation."""
    host, num_hosts = host_slice(make_mesh(config.mesh))

    def mine(batch: dict[str, np.ndarray]) -> HostBatch:
        return {name: np.split(x, num_hosts)[host] for name, x in batch.items()}

    def train_batches(start: int, stop: int) -> Iterator[HostBatch]:
        if asked is not None:
            asked.append((start, stop))
        for k in range(start, stop):
            batch = batches.synthetic(TASK.batch_spec(PHASES[k >= PHASES[0].steps]), k)
            change(k, batch)
            yield mine(batch)

    class EvalBatches:
        main_score = ''

        def __init__(self, phase: Phase):
            self.spec = TASK.batch_spec(phase)

        def __iter__(self) -> Iterator[HostBatch]:
            for i in range(eval_steps):
                evaluated(i)
                yield mine(batches.synthetic(self.spec, 1000 + i))

        def score(self, predictions: object) -> dict[str, float]:
            return {}

    state = train(config, TASK, train_batches, EvalBatches, workdir, stopper)
    return arrays(state.params if num_hosts > 1 else state)


def arrays(state: object) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(state))
    return {jax.tree_util.keystr(path): value for path, value in leaves}


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].tobytes() == b[name].tobytes(), name


def poison(at: int) -> Change:
    def change(k: int, batch: dict[str, np.ndarray]) -> None:
        if k == at:
            batch['masked_lm_weights'][0, 0] = np.nan

    return change

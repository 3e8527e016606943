"""The lines with masked words that a pretraining run shows, as a batch for the model."""

import pathlib

import numpy as np

from bert_jax.config import Config
from bert_jax.data.pretraining.example_rows import example_rows
from bert_jax.parallel.mesh import batch_parts, host_slice
from bert_jax.training.examples import BLANK, Examples
from bert_jax.training.train_step import Step


def example_batch(store: pathlib.Path, config: Config, step: Step) -> Examples | None:
    """The lines with masked words as a batch; None if the objective has no masked words."""
    phase = config.train.phases[0]
    if 'masked_lm_positions' not in step.task.batch_spec(phase):
        return None
    made = example_rows(store, config, phase.max_seq_length, BLANK)
    parts = batch_parts(step.mesh)
    rows = max(-(-len(made.lines) // parts), 1) * parts
    spec = step.task.batch_spec(phase._replace(batch_size=rows, max_predictions_per_seq=1))
    host, num_hosts = host_slice(step.mesh)
    batch = {}
    for name, feature in spec.items():
        array = np.zeros(feature.shape, feature.dtype)
        if name in made.arrays:
            array[: len(made.lines)] = made.arrays[name]
        batch[name] = array[host * rows // num_hosts : (host + 1) * rows // num_hosts]
    vocabulary = made.vocabulary
    return Examples(
        made.texts,
        made.lines,
        made.answers,
        batch,
        spec,
        vocabulary.vocab_size,
        lambda i: vocabulary.decode([i]).strip() or vocabulary.pieces[i],
    )

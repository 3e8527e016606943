"""Masked words on a mesh of eight devices: the predictions equal those of the unsharded model."""

import jax
import numpy as np
import pytest

from bert_jax.batch import synthetic
from bert_jax.config import Config, MeshConfig, ModelConfig, Phase
from bert_jax.parallel.mesh import make_mesh
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.training.examples import TOP, Examples
from bert_jax.training.train_step import build_step

MODEL = ModelConfig(
    vocab_size=56,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=24,
    initializer_range=0.5,
)
WORDS = 50  # the other rows of the table are padding


@pytest.mark.parametrize(
    'axes', [*(pytest.param(x, marks=pytest.mark.slow) for x in ((8, 1, 1), (1, 8, 1))), (1, 4, 2)]
)
def test_predictions_of_a_sharded_model(axes: tuple[int, int, int]) -> None:
    task = PretrainTask(MODEL)
    step = build_step(Config(model=MODEL), task, make_mesh(MeshConfig(*axes)))
    state = step.init(jax.random.key(0))
    spec = task.batch_spec(Phase(1, 16, 8, 1))
    batch = synthetic(spec, seed=1)
    lines = ['one', 'two', 'three']
    examples = Examples(lines, lines, lines, batch, spec, WORDS, lambda i: f'<{i}>')
    with jax.transfer_guard('disallow'):  # as in the loop
        guesses = examples.guesses(step, state.params)
    params = jax.device_get(state.params)
    logits = np.array(jax.jit(task.apply)(params, batch)['prediction_logits'])[:3, 0]
    expected = np.array(jax.nn.softmax(logits))[:, :WORDS]
    assert len(guesses) == 3
    for row, guess in zip(expected, guesses, strict=True):
        best = np.argsort(-row)[:TOP]
        assert [word for word, _ in guess] == [f'<{i}>' for i in best]
        np.testing.assert_allclose([share for _, share in guess], row[best], rtol=1e-4)

"""The start of a run: saved parameters, fresh heads, fresh top layers, slower lower ones."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_parameters
import small_tasks
from flax import linen as nn
from flax import traverse_util
from tiny_model import TINY

from bert_jax.models.parameters import ParameterInfo, describe
from bert_jax.tasks.finetuning import ClassificationTask
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.training import initialization, optimizer


def flat(seed: int) -> dict[str, jax.Array]:
    params = nn.unbox(jax.jit(PretrainTask(TINY.model).init)(jax.random.key(seed)))
    return traverse_util.flatten_dict(params, sep='/')


def info() -> dict[str, ParameterInfo]:
    boxes = jax.eval_shape(lambda: PretrainTask(TINY.model).init(jax.random.key(0)))
    return traverse_util.flatten_dict(describe(boxes), sep='/')


def test_top_layers_and_the_pooler_start_afresh() -> None:
    saved = {path: x + 1 for path, x in flat(0).items()}
    fresh = {path: x - 1 for path, x in flat(1).items()}
    facts = info()
    for path, x in initialization.reinitialize(saved, fresh, facts, 2).items():
        if path.startswith('encoder/layers/'):
            np.testing.assert_array_equal(x[:1], saved[path][:1])
            np.testing.assert_array_equal(x[1:], fresh[path][1:])
        else:
            there = fresh if path.startswith('pooler/') else saved
            np.testing.assert_array_equal(x, there[path])


@pytest.mark.parametrize('taken', [True, False])
def test_a_head_of_other_labels_is_not_taken(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, taken: bool
) -> None:
    """A head of the same shape is loaded with a line in the log, unless its labels differ."""
    heads = ('pooler', 'classifier')
    source = small_tasks.fine_tuned_folder(tmp_path / 'source', heads, ('neg', 'pos'))
    task = ClassificationTask(small_tasks.MODEL, 2)
    boxed = jax.eval_shape(lambda: task.init(jax.random.key(0)))
    fresh = random_parameters.like_fresh(small_tasks.MODEL, heads, 2)
    fresh = jax.tree.map(lambda x: jnp.asarray(x) + 1, fresh)
    caplog.set_level('INFO')
    params = initialization.initial_params(source, fresh, describe(boxed), task_head=taken)
    own, theirs = (tree['classifier']['kernel'] for tree in (params, fresh))
    assert bool(jnp.array_equal(own, theirs)) != taken
    assert ('the task head (classifier) is loaded from' in caplog.text) == taken


def test_rates_fall_from_layer_to_layer() -> None:
    changes = {'weight_decay': 0.0, 'grad_clip_norm': 0.0, 'layer_decay': 0.5}
    config = dataclasses.replace(TINY, optim=dataclasses.replace(TINY.optim, **changes))
    params = flat(0)
    tx = optimizer.make_optimizer(config, info())
    gradients = {path: jnp.ones_like(x) for path, x in params.items()}
    update = jax.jit(lambda gradients, params: tx.update(gradients, tx.init(params), params)[0])
    updates = update(gradients, params)
    whole = float(updates['pooler/dense/bias'][0])
    for path, x in updates.items():
        if path.startswith('encoder/layers/'):  # three layers, the lowest first
            for layer, share in enumerate((0.125, 0.25, 0.5)):
                np.testing.assert_allclose(x[layer], whole * share, rtol=1e-6, err_msg=path)
        elif path.startswith('encoder/embeddings/'):
            np.testing.assert_allclose(x, whole / 16, rtol=1e-6, err_msg=path)
        else:
            np.testing.assert_allclose(x, whole, rtol=1e-6, err_msg=path)

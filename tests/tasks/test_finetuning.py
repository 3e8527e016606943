"""Losses of tasks with a head: their values, the rows that count, and parts of a batch."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_tasks
from flax import linen as nn

from bert_jax.config import ModelConfig
from bert_jax.models.parameters import describe
from bert_jax.tasks.finetuning import (
    ClassificationTask,
    HeadTask,
    MultiLabelTask,
    QuestionAnsweringTask,
    RegressionTask,
    TaggingTask,
)
from bert_jax.training.gradients import batch_gradients

ROWS, LENGTH = 8, 12
MODEL = dataclasses.replace(small_tasks.MODEL, num_hidden_layers=1)
TASKS = {
    'classes': ClassificationTask(MODEL, 3),
    'label sets': MultiLabelTask(MODEL, 3, (0.5, 2.0, 4.0)),
    'numbers': RegressionTask(MODEL),
    'tags': TaggingTask(MODEL, 4),
    'spans': QuestionAnsweringTask(MODEL),
}


@functools.cache
def params(name: str) -> dict:
    return nn.unbox(jax.jit(TASKS[name].init)(jax.random.key(0)))


def labelled(name: str, filler: int = 0) -> dict[str, jax.Array]:
    """Returns rows of several lengths; the last two only fill the batch. filler: their content."""
    random = np.random.default_rng(0)
    sizes = np.array([12, 5, 9, 7, 12, 3, 1, 1])
    sizes[-2:] += filler
    mask = (np.arange(LENGTH)[None] < sizes[:, None]).astype(np.int32)
    arrays = {
        'input_ids': random.integers(1, 20, (ROWS, LENGTH)) * mask,
        'token_type_ids': np.zeros((ROWS, LENGTH), np.int32),
        'attention_mask': mask,
        'example_weights': np.float32(np.arange(ROWS) < ROWS - 2),
        'example_ids': np.arange(ROWS),
        'label_ids': random.integers(0, 3, ROWS),
        'label_targets': np.arange(ROWS * 3).reshape(ROWS, 3) % 5 // 3,
        'label_values': np.float32(random.normal(size=ROWS)),
        'start_positions': np.minimum(2, sizes - 1),
        'end_positions': sizes - 1,
    }
    arrays['label_ids'][-2:] = filler
    arrays['label_values'][-2:] = filler
    arrays['label_targets'][-2:] = filler > 0
    if name == 'tags':
        there = random.random((ROWS, LENGTH)) < np.linspace(0.2, 1, ROWS)[:, None]
        weights = there * mask * arrays['example_weights'][:, None]
        arrays['label_ids'] = random.integers(0, 4, (ROWS, LENGTH))
        arrays['label_weights'] = np.float32(weights)
    return {name: jnp.asarray(x) for name, x in arrays.items()}


@functools.cache
def gradients(name: str, parts: int) -> Callable[..., tuple]:
    facts = describe(jax.eval_shape(lambda: TASKS[name].init(jax.random.key(0))))
    return jax.jit(
        lambda p, rows: batch_gradients(
            TASKS[name], facts, p, rows, {'dropout': jax.random.key(0)}, parts
        )
    )


def loss(name: str, rows: Mapping[str, jax.Array], parts: int = 1) -> tuple[float, dict]:
    value, _, grads, _ = gradients(name, parts)(params(name), dict(rows))
    return float(value), jax.device_get(grads)


@pytest.mark.parametrize('name', TASKS)
def test_what_fills_a_batch_counts_for_nothing(name: str) -> None:
    one, other = loss(name, labelled(name)), loss(name, labelled(name, 2))
    assert one[0] == pytest.approx(other[0], rel=1e-6) and one[0] > 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), one[1], other[1])


@pytest.mark.parametrize('name', TASKS)
def test_parts_of_a_batch_add_up(name: str) -> None:
    """Rows have different numbers of labels, and some have none."""
    whole, parts = loss(name, labelled(name)), loss(name, labelled(name), 4)
    assert whole[0] == pytest.approx(parts[0], rel=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), whole[1], parts[1])


def outputs(task: HeadTask, rows: Mapping[str, jax.Array], name: str) -> dict[str, np.ndarray]:
    return jax.device_get(jax.jit(task.apply)(params(name), dict(rows)))


def nats(logits: np.ndarray, label: int) -> float:
    return float(np.log(np.exp(logits).sum()) - logits[label])


@pytest.mark.parametrize('name', TASKS)
def test_losses_by_hand(name: str) -> None:
    task, rows = TASKS[name], labelled(name)
    found, host = outputs(task, rows, name), jax.device_get(rows)
    real = range(ROWS - 2)
    if name == 'classes':
        expected = [nats(found['logits'][i], host['label_ids'][i]) for i in real]
    elif name == 'label sets':
        shares = 1 / (1 + np.exp(-np.float64(found['logits'])))
        targets = host['label_targets']
        losses = -np.where(targets, [0.5, 2.0, 4.0] * np.log(shares), np.log(1 - shares))
        expected = losses.mean(axis=1)[: ROWS - 2].tolist()
        plain = task.sums(found, host)['task_loss']  # an evaluation has no weights
        unweighted = -np.where(targets, np.log(shares), np.log(1 - shares))[: ROWS - 2]
        assert plain[0] / plain[1] == pytest.approx(unweighted.mean(), rel=1e-5)
    elif name == 'numbers':
        expected = [(found['logits'][i, 0] - host['label_values'][i]) ** 2 for i in real]
    elif name == 'tags':
        places = np.argwhere(host['label_weights'] > 0)
        assert 0 < len(places) < host['attention_mask'].sum()
        expected = [nats(found['logits'][i, j], host['label_ids'][i, j]) for i, j in places]
    else:  # of the row's own tokens, the padding left out
        sizes = host['attention_mask'].sum(-1)
        expected = [
            np.mean(
                [
                    nats(found[f'{end}_logits'][i, : sizes[i]], host[f'{end}_positions'][i])
                    for end in ('start', 'end')
                ]
            )
            for i in real
        ]
    assert loss(name, rows)[0] == pytest.approx(np.mean(expected), rel=1e-5)


def test_fresh_heads_start_as_those_of_transformers() -> None:
    """They are normal with the deviation of the configuration. Other kernels start as in
    google-research/bert, with a smaller deviation, because the distribution is truncated."""
    model = ModelConfig(hidden_size=256, num_hidden_layers=1, num_attention_heads=4)
    params = nn.unbox(jax.jit(ClassificationTask(model, 100).init)(jax.random.key(0)))
    assert np.std(params['classifier']['kernel']) == pytest.approx(0.02, rel=0.02)
    assert np.std(params['pooler']['dense']['kernel']) == pytest.approx(0.0176, rel=0.02)


def test_scores_are_not_rounded_to_bfloat16() -> None:
    """In bfloat16 many scores would be equal, because large logits are multiples of 1 / 16."""
    for name, task in TASKS.items():
        narrow = dataclasses.replace(task, config=dataclasses.replace(MODEL, dtype='bfloat16'))
        found = outputs(narrow, labelled('tags'), name)
        scores = {name: x for name, x in found.items() if name.endswith('logits')}
        assert scores
        for x in scores.values():
            assert x.dtype == jnp.float32
            assert jnp.any(x != x.astype(jnp.bfloat16).astype(jnp.float32))

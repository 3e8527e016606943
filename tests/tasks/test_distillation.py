"""A student's losses compared with a plain computation; the teacher does not change."""

import dataclasses
from typing import Any

import jax
import numpy as np
import optax
import pytest
from small_run import QUICK
from tiny_model import TINY, mesh_of

from bert_jax import batch as batches
from bert_jax.config import Config, DistillConfig, MeshConfig
from bert_jax.models.parameters import describe
from bert_jax.parallel import sharding
from bert_jax.tasks.distillation import DistillTask
from bert_jax.training.train_step import Step, build_step

ONE = MeshConfig(1, 1)
WORDS = TINY.model.vocab_size - 4  # the last four rows of the tables are padding
KINDS = ('masked', 'all')
PARTS = [(ONE, 4), (MeshConfig(2, 2, 2), 1), (MeshConfig(2, 2, 2), 2)]


def task_of(dropout: float = 0.0, **settings: Any) -> DistillTask:
    """A student whose teacher has different layers, no dropout, and token types."""
    teacher = dataclasses.replace(
        TINY.model,
        num_hidden_layers=4,
        intermediate_size=96,
        hidden_dropout_prob=0.3,  # the teacher must not use it
        initializer_range=0.2,
    )
    student = dataclasses.replace(
        TINY.model,
        type_vocab_size=0,
        initializer_range=0.2,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return DistillTask(student, teacher=teacher, settings=DistillConfig(**settings), words=WORDS)


def built(task: DistillTask, mesh: MeshConfig = ONE, accum_steps: int = 1) -> Step:
    """A step whose update is the gradient."""
    train = dataclasses.replace(TINY.train, accum_steps=accum_steps)
    config = Config(task.config, optim=TINY.optim, train=train)
    return build_step(config, task, mesh_of(mesh), optax.identity(), lambda _: 1.0)


def ragged(task: DistillTask) -> dict[str, np.ndarray]:
    """Returns rows of very different lengths, of which one only fills the batch."""
    batch = batches.synthetic(task.batch_spec(TINY.train.phases[0]), 3)
    for row in range(len(batch['masked_lm_weights'])):
        batch['attention_mask'][row, 32 - row :] = 0
        batch['masked_lm_positions'][row] %= 32 - row
        batch['masked_lm_weights'][row, 1 + row % 5 :] = 0
    batch['masked_lm_weights'][-1] = batch['example_weights'][-1] = 0
    return batch


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@pytest.mark.parametrize('positions', [pytest.param(KINDS[0], marks=pytest.mark.slow), *KINDS[1:]])
def test_losses_are_those_of_a_plain_computation(positions: str) -> None:
    task = task_of(positions=positions, temperature=3.0)
    step, batch = built(task), ragged(task)
    params, teacher = step.init(jax.random.key(0)).params, step.init_frozen(jax.random.key(1))
    sums, _ = step.evaluate(params, batch, teacher)
    whole = {name: x for name, x in batch.items() if name != 'masked_lm_positions'}
    ours = jax.device_get(jax.jit(task.apply)(params, whole))
    inputs = {'input_ids': batch['input_ids'], 'attention_mask': batch['attention_mask']}
    model = dataclasses.replace(task, config=task.teacher_config)
    theirs = jax.device_get(jax.jit(model.apply)(teacher, inputs))
    kl = cosine = mlm = right = 0.0
    tokens = masked = 0
    for row in range(15):  # the last row is not an example
        used = {
            int(position): int(word)
            for position, word, weight in zip(
                *(batch[f'masked_lm_{name}'][row] for name in ('positions', 'ids', 'weights')),
                strict=True,
            )
            if weight
        }
        slots = batch['masked_lm_positions'][row][batch['masked_lm_weights'][row] > 0]
        compared = range(32 - row) if positions == 'all' else slots
        for i in compared:
            p = softmax(theirs['prediction_logits'][row, i, :WORDS].astype(float) / 3)
            q = softmax(ours['prediction_logits'][row, i, :WORDS].astype(float) / 3)
            kl += 9 * float((p * np.log(p / q)).sum())
        for i in range(32 - row):
            a, b = (x['last_hidden_state'][row, i].astype(float) for x in (ours, theirs))
            cosine += 1 - float(a @ b / np.sqrt((a @ a) * (b @ b)))
        words = batch['masked_lm_ids'][row][batch['masked_lm_weights'][row] > 0]
        for i, word in zip(slots, words, strict=True):
            scores = ours['prediction_logits'][row, i].astype(float)
            mlm -= float(np.log(softmax(scores)[word]))
            right += scores.argmax() == word
        tokens, masked = tokens + 32 - row, masked + len(slots)
        assert used
    expected = {
        'kl_loss': (kl, tokens if positions == 'all' else masked),
        'cosine_loss': (cosine, tokens),
        'mlm_loss': (mlm, masked),
        'mlm_accuracy': (right, masked),
    }
    for name, pair in expected.items():
        np.testing.assert_allclose(sums[name], pair, rtol=2e-5, err_msg=name)
    counts = task.loss_denominators(batch)
    assert {name: float(x) for name, x in counts.items()} == {
        name: expected[name][1] for name in task.loss_weights
    }


@pytest.mark.slow
@pytest.mark.parametrize('positions', ['masked'] if QUICK else KINDS)
@pytest.mark.parametrize(('mesh', 'accum_steps'), PARTS[-1:] if QUICK else PARTS, ids=str)
def test_devices_and_micro_batches_change_nothing(
    positions: str, mesh: MeshConfig, accum_steps: int
) -> None:
    task = task_of(positions=positions)
    batch = ragged(task)
    results = []
    for step in (built(task), built(task, mesh, accum_steps)):
        arrays = sharding.shard_batch(batch, task.batch_spec(TINY.train.phases[0]), step.mesh)
        state, teacher = step.init(jax.random.key(0)), step.init_frozen(jax.random.key(1))
        before = jax.device_get(teacher)
        state, sums = step.train(state, arrays, jax.random.key(2), teacher)
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(teacher), before)
        results.append((jax.device_get(state.params), jax.device_get(sums)))
    (params, sums), (others, other_sums) = results
    for name in (*task.loss_weights, 'loss', 'mlm_accuracy', 'grad_norm'):
        one, two = (x[name][0] / x[name][1] for x in (sums, other_sums))
        np.testing.assert_allclose(two, one, rtol=2e-5, err_msg=name)
    scale = max(np.abs(x).max() for x in jax.tree.leaves(params))
    for ours, theirs in zip(jax.tree.leaves(params), jax.tree.leaves(others), strict=True):
        np.testing.assert_allclose(theirs, ours, atol=2e-5 * scale, rtol=0)


def test_the_loss_is_the_weighted_sum_and_a_weight_of_0_leaves_out_the_work() -> None:
    task = task_of(kl_weight=0.5, mlm_weight=3.0, cosine_weight=0.25)
    step, batch = built(task), ragged(task)
    _, sums = step.train(
        step.init(jax.random.key(0)), batch, jax.random.key(2), step.init_frozen(jax.random.key(1))
    )
    means = {name: float(value / count) for name, (value, count) in sums.items()}
    expected = 0.5 * means['kl_loss'] + 3 * means['mlm_loss'] + 0.25 * means['cosine_loss']
    assert means['loss'] == pytest.approx(expected, rel=1e-5)
    alone = built(task_of(kl_weight=0.0, cosine_weight=0.0))
    text = alone.lower(TINY.train.phases[0])
    both = built(task_of()).lower(TINY.train.phases[0])
    needed = (lowered.cost_analysis()['flops'] for lowered in (text, both))
    assert next(needed) < 0.8 * next(needed)
    assert set(alone.task.loss_weights) == {'mlm_loss'}


@pytest.mark.slow
def test_the_teacher_is_not_trained() -> None:
    """It has no dropout and no gradients, and the state has none of its arrays."""
    task = task_of(dropout=0.1)
    step, batch = built(task), ragged(task)
    params, teacher = step.init(jax.random.key(0)).params, step.init_frozen(jax.random.key(1))

    def loss(params: Any, teacher: Any, key: jax.Array) -> jax.Array:
        sums = task.loss(params, batch, {'dropout': key}, teacher)
        return sum(weight * sums[name][0] for name, weight in task.loss_weights.items())

    ours, theirs = jax.jit(jax.grad(loss, (0, 1)))(params, teacher, jax.random.key(3))
    assert all(np.any(x) for x in jax.tree.leaves(ours))
    assert not any(np.any(x) for x in jax.tree.leaves(theirs))
    # A model that is its own teacher differs from it by its dropout alone.
    same = dataclasses.replace(task, teacher=task.config)
    for rates, small in (
        (same, False),
        (dataclasses.replace(task_of(), teacher=task.config), True),
    ):
        sums = jax.jit(rates.loss)(params, batch, {'dropout': jax.random.key(3)}, params)
        for name in ('kl_loss', 'cosine_loss'):
            assert (abs(float(sums[name][0])) < 1e-3) == small, name
    info = describe(jax.eval_shape(lambda: task.init(jax.random.key(0))))
    assert jax.tree.structure(step.abstract.params) == jax.tree.structure(info)
    assert len(jax.tree.leaves(step.frozen)) == len(jax.tree.leaves(teacher)) > 10


def test_the_teacher_is_sharded_like_the_student() -> None:
    step = built(task_of(), MeshConfig(2, 2, 2))
    teacher = step.init_frozen(jax.random.key(0))
    kernel = teacher['encoder']['layers']['intermediate']['kernel']
    assert (
        kernel.sharding.spec
        == step.abstract.params['encoder']['layers']['intermediate']['kernel'].sharding.spec
    )
    assert kernel.addressable_shards[0].data.size * 4 == kernel.size


def test_widths_have_to_agree() -> None:
    narrow = dataclasses.replace(TINY.model, hidden_size=32)
    with pytest.raises(ValueError, match=r'is 32, but the teacher has 64.*cosine_weight=0'):
        DistillTask(narrow, teacher=TINY.model)
    task = DistillTask(narrow, teacher=TINY.model, settings=DistillConfig(cosine_weight=0.0))
    step, batch = built(task), ragged(task)
    sums, _ = step.evaluate(
        step.init(jax.random.key(0)).params, batch, step.init_frozen(jax.random.key(1))
    )
    assert 'cosine_loss' not in sums and float(sums['kl_loss'][0]) > 0


def test_flops_count_the_teachers_forward_pass() -> None:
    task, phase = task_of(), TINY.train.phases[0]
    alone = dataclasses.replace(task, teacher=task.config).flops(phase)
    assert alone / 4 * 3 < task.flops(phase) < 2 * alone
    assert task_of(positions='all').flops(phase) > task.flops(phase)

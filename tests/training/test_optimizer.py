"""Schedules, the decay mask and AdamW against the formulas."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bert_jax.config import Config, OptimConfig, Phase, TrainConfig
from bert_jax.models.parameters import Kind, ParameterInfo, describe
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.training.optimizer import make_optimizer, make_schedule


def config(**optim: object) -> Config:
    train = TrainConfig(phases=(Phase(60, 8, 4, 1), Phase(40, 16, 4, 2)))
    values = {'learning_rate': 0.5, 'warmup_steps': 10} | optim
    return Config(optim=OptimConfig(**values), train=train)  # type: ignore[arg-type]


def fact(kind: Kind, *axes: str) -> ParameterInfo:
    return ParameterInfo(axes, kind, 'layers' if 'layers' in axes else 'embeddings', 'float32')


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('linear', {55: 0.25, 100: 0.0}),
        ('cosine', {55: 0.25, 100: 0.0}),
        ('constant', {55: 0.5, 100: 0.5}),
        ('polynomial', {55: 0.125, 100: 0.0}),
        ('inverse_sqrt', {40: 0.25, 90: 0.5 / 3}),
    ],
)
def test_schedules_warm_up_and_span_all_phases(name: str, expected: dict[int, float]) -> None:
    schedule = make_schedule(config(schedule=name))
    for step, value in ({0: 0.0, 5: 0.25, 10: 0.5} | expected).items():
        np.testing.assert_allclose(schedule(step), value, atol=1e-6)


def test_no_warm_up_starts_at_the_peak_and_ends_where_it_is_told() -> None:
    schedule = make_schedule(config(warmup_steps=0, end_learning_rate=0.1))
    np.testing.assert_allclose([schedule(0), schedule(100)], [0.5, 0.1], atol=1e-6)


def test_decay_spares_biases_and_layer_norms_only() -> None:
    task = PretrainTask(dataclasses.replace(Config().model, num_hidden_layers=2))
    info = describe(jax.eval_shape(lambda: task.init(jax.random.key(0))))
    decayed = {
        jax.tree_util.keystr(path, simple=True, separator='/')
        for path, fact in jax.tree_util.tree_leaves_with_path(info)
        if fact.decays
    }
    kernels = ('attention/query_key_value', 'attention/output', 'intermediate', 'output')
    assert decayed == {
        *(f'encoder/layers/{name}/kernel' for name in kernels),
        *(f'encoder/embeddings/{kind}_embeddings' for kind in ('word', 'position', 'token_type')),
        *(f'{name}/kernel' for name in ('masked_lm_transform/dense', 'pooler/dense')),
        'next_sentence/kernel',
    }


@pytest.mark.parametrize('bias_correction', [True, False])
def test_adamw_is_the_formula(bias_correction: bool) -> None:
    optim = config(bias_correction=bias_correction, grad_clip_norm=1.0).optim
    tx = make_optimizer(Config(optim=optim), {'kernel': fact('kernel'), 'bias': fact('bias')})
    rng = np.random.default_rng(0)
    params = {'kernel': rng.normal(size=5), 'bias': rng.normal(size=5)}
    state = tx.init(jax.tree.map(jnp.float32, params))
    m = v = jax.tree.map(np.zeros_like, params)
    for t in range(1, 4):
        grads = jax.tree.map(lambda p: rng.normal(size=p.shape), params)
        updates, state = tx.update(
            jax.tree.map(jnp.float32, grads), state, jax.tree.map(jnp.float32, params)
        )
        norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
        for name in params:
            g = grads[name] / max(norm, 1.0)
            m = m | {name: 0.9 * m[name] + 0.1 * g}
            v = v | {name: 0.999 * v[name] + 0.001 * g**2}
            c1, c2 = (1 - 0.9**t, 1 - 0.999**t) if bias_correction else (1, 1)
            step = m[name] / c1 / (np.sqrt(v[name] / c2) + optim.eps)
            decay = 0.01 * params[name] if name == 'kernel' else 0
            np.testing.assert_allclose(updates[name], step + decay, rtol=2e-4)


def test_clipping_can_be_switched_off() -> None:
    grads = {'kernel': jnp.full(4, 100.0)}
    for clip, expected in ((0.0, 100.0), (1.0, 0.5)):
        tx = make_optimizer(config(grad_clip_norm=clip), {'kernel': fact('kernel')})
        _, state = tx.update(grads, tx.init(grads), grads)
        np.testing.assert_allclose(optax.tree.get(state, 'mu')['kernel'], 0.1 * expected, rtol=1e-5)


def test_lamb_takes_its_trust_ratio_from_each_layer_and_projection_alone() -> None:
    """The reference is optax with the matrices of each layer as separate parameters."""
    optim = config(name='lamb', weight_decay=0.1, grad_clip_norm=0.0).optim
    shapes = {
        'layers/query_key_value/kernel': (2, 4, 2, 3, 5),
        'layers/query_key_value/bias': (2, 2, 3, 5),
        'layers/output/kernel': (2, 6, 4),
        'layers/output_norm/scale': (2, 4),
        'word_embeddings': (7, 4),
    }
    heads = ('heads', 'qkv', 'head_dim')
    info = {
        'layers/query_key_value/kernel': fact('kernel', 'layers', 'embed', *heads),
        'layers/query_key_value/bias': fact('bias', 'layers', *heads),
        'layers/output/kernel': fact('kernel', 'layers', 'mlp', 'embed'),
        'layers/output_norm/scale': fact('norm', 'layers', 'features'),
        'word_embeddings': fact('table', 'vocab', 'embed'),
    }
    tx = make_optimizer(Config(optim=optim), info)
    rng = np.random.default_rng(0)

    def random(scale: float) -> dict[str, np.ndarray]:
        found = {}
        for name, shape in shapes.items():
            layer_scale = rng.uniform(0.1, 10, (shape[0], *[1] * (len(shape) - 1)))
            found[name] = np.float32(scale * layer_scale * rng.normal(size=shape))
        return found

    def apart(tree: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = {}
        for name, stacked in tree.items():
            layers = stacked if name.startswith('layers/') else [stacked]
            for i, value in enumerate(layers):
                fused = 'query_key_value/kernel' in name
                parts = [value[..., j, :] for j in range(3)] if fused else [value]
                found |= {f'{i}/{j}/{name}': part for j, part in enumerate(parts)}
        return found

    def decays(tree: dict[str, np.ndarray]) -> dict[str, bool]:
        return {name: not name.endswith(('bias', 'scale')) for name in tree}

    reference = optax.chain(
        optax.scale_by_adam(optim.beta1, optim.beta2, optim.eps),
        optax.add_decayed_weights(optim.weight_decay, decays),
        optax.masked(optax.scale_by_trust_ratio(), decays),
    )
    params = random(1.0)
    state, its_state = tx.init(params), reference.init(apart(params))
    for _ in range(2):
        grads = random(0.1)
        updates, state = tx.update(grads, state, params)
        expected, its_state = reference.update(apart(grads), its_state, apart(params))
        for name, value in apart(updates).items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-5)
    ratios = {np.linalg.norm(expected[name]).round(3) for name in expected if '/output/' in name}
    assert len(ratios) == 2, 'the layers have ratios of their own'


def test_fresh_parameters_have_their_own_learning_rate() -> None:
    """Heads and the attention to the source have it, but the layers of a decoder do not."""
    parts = ('embeddings', 'layers', 'decoder', 'cross_attention', 'classifier')
    info = {part: ParameterInfo(('embed',), 'bias', part, 'float32') for part in parts}
    ones = dict.fromkeys(parts, jnp.ones(3))
    updates = []
    for rate in (0.0, 1.5):
        tx = make_optimizer(config(fresh_learning_rate=rate), info)
        updates.append(tx.update(ones, tx.init(ones), ones)[0])
    usual, other = updates
    ratios = {part: float(other[part][0] / usual[part][0]) for part in parts}
    assert ratios == pytest.approx(dict.fromkeys(parts[:3], 1.0) | dict.fromkeys(parts[3:], 3.0))

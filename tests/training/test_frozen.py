"""Parameters that config.optim.freeze names do not change with any optimizer."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from kinds import tiny
from small_run import QUICK
from tiny_model import TINY, mesh_of, run_steps

from bert_jax import batch as batches
from bert_jax.config import MeshConfig, ModelConfig, from_dict
from bert_jax.models.presets import PRESETS
from bert_jax.tasks.pretraining import OBJECTIVES
from bert_jax.training import optimizer
from bert_jax.training.train_step import Step, build_step

ONE = MeshConfig(1, 1)


@pytest.mark.parametrize(
    ('freeze', 'name'),
    [
        pytest.param('embeddings', 'adamw', marks=pytest.mark.slow),
        pytest.param('2', 'lamb', marks=pytest.mark.slow),
        pytest.param('3', 'adamw', marks=pytest.mark.slow),
    ],
)
def test_what_is_frozen_does_not_change(freeze: str, name: str) -> None:
    optim = dataclasses.replace(TINY.optim, freeze=freeze, name=name, layer_decay=0.9)
    config = dataclasses.replace(TINY, optim=optim, objective='mlm')
    mesh = mesh_of(ONE)
    built = build_step(config, OBJECTIVES['mlm'](config.model), mesh)
    first = jax.device_get(built.init(jax.random.key(0)).params)
    _, state = run_steps(config, ONE, 3, lambda _: built.init(jax.random.key(0)))
    layers = int(freeze) if freeze.isdecimal() else 0
    changed, total = 0, 0
    for fact, before, after in zip(
        jax.tree.leaves(built.info),
        jax.tree.leaves(first),
        jax.tree.leaves(jax.device_get(state.params)),
        strict=True,
    ):
        if fact.part == 'embeddings':
            np.testing.assert_array_equal(before, after)
        elif fact.part == 'layers':
            np.testing.assert_array_equal(before[:layers], after[:layers])
            for i in range(layers, len(before)):
                changed += (before[i] != after[i]).any()
                total += 1
        else:
            changed += (before != after).any()
            total += 1
    assert changed >= 0.9 * total > 0  # the bias of the keys has no effect


def test_frozen_embeddings_have_no_state_in_the_optimizer() -> None:
    sizes = {}
    for freeze in ('', 'embeddings', '3'):
        config = dataclasses.replace(TINY, optim=dataclasses.replace(TINY.optim, freeze=freeze))
        built = build_step(config, OBJECTIVES['mlm+nsp'](config.model), mesh_of(ONE))
        sizes[freeze] = sum(leaf.size for leaf in jax.tree.leaves(built.abstract.opt_state))
    assert sizes['3'] < 0.2 * sizes['']
    assert sizes['3'] < sizes['embeddings'] < sizes[''] - 2 * 64_000  # two moments of the table


# Kinds whose layers differ: a pair as the carry of the scan, local attention, recomputation.
MODELS = {
    'bert': dataclasses.replace(TINY.model, scan_unroll=0),  # XLA counts the body of a loop once
    'modernbert': dataclasses.replace(
        tiny(PRESETS['modernbert-base']), remat='dots', scan_unroll=4
    ),
    'xlnet': dataclasses.replace(tiny(PRESETS['xlnet-base-cased']), num_hidden_layers=3),
}


def built_with(model: ModelConfig, freeze: str) -> Step:
    quiet = dataclasses.replace(model, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    optim = dataclasses.replace(TINY.optim, freeze=freeze)
    config = dataclasses.replace(TINY, model=quiet, optim=optim, objective='mlm')
    return build_step(config, OBJECTIVES['mlm'](quiet), mesh_of(ONE))


@pytest.mark.slow
@pytest.mark.parametrize('kind', list(MODELS)[-1:] if QUICK else MODELS)
def test_the_backward_pass_ends_at_the_boundary(kind: str) -> None:
    """The gradients of the other parameters stay as they are, and the compiled program has fewer
    floating-point operations: as many fewer as `task.flops` says."""
    phase = TINY.train.phases[0]
    flops, counted, gradients = {}, {}, {}
    for freeze in ('', '2'):
        step = built_with(MODELS[kind], freeze)
        params = step.init(jax.random.key(0)).params
        batch = batches.synthetic(step.task.batch_spec(phase), 0)

        def loss(params: Any, step: Step = step, batch: Any = batch) -> jax.Array:
            sums = step.task.loss(params, batch, {'dropout': jax.random.key(1)})
            total, count = sums['mlm_loss']
            return total / count

        def gradient(params: Any, step: Step = step, loss: Any = loss) -> Any:
            value, grads = jax.value_and_grad(loss)(params)
            return value, optimizer.without_frozen(step.config, step.info, grads)

        compiled = jax.jit(gradient).lower(params).compile()
        flops[freeze] = compiled.cost_analysis()['flops']
        counted[freeze] = step.task.flops(phase)
        gradients[freeze] = compiled(params)
    full = gradients['']
    for freeze, (value, gradient) in gradients.items():
        np.testing.assert_allclose(value, full[0], rtol=1e-5)
        masked = optimizer.without_frozen(
            built_with(MODELS[kind], freeze).config, step.info, full[1]
        )
        for here, there in zip(jax.tree.leaves(gradient), jax.tree.leaves(masked), strict=True):
            np.testing.assert_allclose(here, there, atol=1e-5, rtol=1e-4)
    if MODELS[kind].remat == 'none':
        saved = (counted[''] - counted['2']) / (flops[''] - flops['2'])
        assert 0.8 < saved < 1.25, (flops, counted)
    else:
        assert flops['2'] < flops['']


@pytest.mark.parametrize('freeze', ['13', 'layers', '-1', '0'])
def test_mistakes(freeze: str) -> None:
    with pytest.raises(ValueError, match=r'config\.optim\.freeze'):
        from_dict({'optim': {'freeze': freeze}})

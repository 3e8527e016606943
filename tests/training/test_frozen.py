"""Parameters that config.optim.freeze names do not change with any optimizer."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_model import TINY, mesh_of, run_steps

from bert_jax.config import MeshConfig, from_dict
from bert_jax.tasks.pretraining import OBJECTIVES
from bert_jax.training.train_step import build_step

ONE = MeshConfig(1, 1)


@pytest.mark.parametrize(
    ('freeze', 'optimizer'), [('embeddings', 'adamw'), ('2', 'lamb'), ('3', 'adamw')]
)
def test_what_is_frozen_does_not_change(freeze: str, optimizer: str) -> None:
    optim = dataclasses.replace(TINY.optim, freeze=freeze, name=optimizer, layer_decay=0.9)
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


@pytest.mark.parametrize('freeze', ['13', 'layers', '-1', '0'])
def test_mistakes(freeze: str) -> None:
    with pytest.raises(ValueError, match=r'config\.optim\.freeze'):
        from_dict({'optim': {'freeze': freeze}})

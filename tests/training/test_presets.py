"""Training of a tiny model of each kind in the table of presets, with its published objective.

PYTHONPATH=tests python tests/training/test_presets.py
    writes the golden files again
"""

import dataclasses
import json
import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kinds import KINDS, PHASE, configuration
from small_run import QUICK, write_corpus
from tiny_model import ROOT, mesh_of, run_steps

from bert_jax.config import Config, MeshConfig, validate
from bert_jax.parallel.mesh import PRESETS as MESHES
from bert_jax.preflight.checks import check_early
from bert_jax.preflight.resolve import resolve, without_data
from bert_jax.tasks.pretraining import OBJECTIVES
from bert_jax.training.initialization import reinitialize
from bert_jax.training.train_step import Step, build_step

GOLDEN = ROOT / 'tests' / 'golden'
PARAMETERS, LOSSES = GOLDEN / 'params_kinds.txt', GOLDEN / 'losses_kinds.json'
ONE = MeshConfig(1, 1)
# One device trains with dropout and AdamW; eight devices without dropout, in two micro-batches,
# with LAMB. The golden losses for eight devices were computed on one device with whole batches.
ADAMW: dict[str, Any] = {}
LAMB: dict[str, Any] = {'dropout': False, 'name': 'lamb', 'learning_rate': 0.02}
FEW = ('albert-base',)
MESH_OF = dict(zip(KINDS, [*MESHES.values(), MeshConfig(2, 2, 2)] * len(KINDS), strict=False))


def step_of(config: Config) -> Step:
    return build_step(config, OBJECTIVES[config.objective](config.model), mesh_of(ONE))


def flat(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator='/'): leaf for path, leaf in leaves}


def parameters(name: str) -> set[str]:
    """A line for each parameter: its path, kind, part of the model, axis names and shape."""
    step = step_of(configuration(name))
    shapes = flat(step.abstract.params)
    return {
        f'{path} {fact.kind} {fact.part} {",".join(fact.axes)} '
        f'{"x".join(map(str, shapes[path].shape))}'
        for path, fact in flat(step.info).items()
    }


def all_parameters() -> str:
    """The parameters of the first kind. For the other kinds: the additional (+) and the missing (-)
    parameters."""
    known = {name: parameters(name) for name in KINDS}
    first = next(iter(KINDS))
    lines = [f'{first}:', *(f'  {line}' for line in sorted(known[first]))]
    for name in list(KINDS)[1:]:
        lines.append(f'{name}, compared with {first}:')
        changed = [(line, '+') for line in known[name] - known[first]]
        changed += [(line, '-') for line in known[first] - known[name]]
        lines += [f'  {sign} {line}' for line, sign in sorted(changed)]
    return '\n'.join(lines) + '\n'


def test_parameters_are_the_golden_ones() -> None:
    assert all_parameters() == PARAMETERS.read_text()


@pytest.mark.slow
@pytest.mark.parametrize('name', [x for x in KINDS if x not in FEW] if QUICK else KINDS)
def test_losses_are_the_golden_ones(name: str) -> None:
    losses, _ = run_steps(configuration(name, **ADAMW), ONE, steps=10)
    np.testing.assert_allclose(losses, golden()[name]['adamw'], rtol=0, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize('name', FEW if QUICK else KINDS)
def test_micro_batches_on_eight_devices_are_batches_on_one(name: str) -> None:
    config, expected = configuration(name, accum_steps=2, **LAMB), golden()[name]['lamb']
    losses, _ = run_steps(config, MESH_OF[name], steps=10)
    np.testing.assert_allclose(losses, expected, rtol=0, atol=2e-5)
    assert losses[-1] < losses[0] - 0.1


def golden() -> dict[str, dict[str, list[float]]]:
    return json.loads(LOSSES.read_text())


def updates(name: str, params: dict[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """The updates of the first step if all gradients are 1, by the option that is on."""
    plain: dict[str, Any] = {'weight_decay': 0.0, 'grad_clip_norm': 0.0}
    options: dict[str, dict[str, Any]] = {'none': {}, 'lamb': {'name': 'lamb'}}
    if not KINDS[name].share_layers:
        options |= {'layer_decay': {'layer_decay': 0.5}, 'freeze': {'freeze': '1'}}
    steps = {
        key: step_of(configuration(name, **plain, **values)) for key, values in options.items()
    }

    @jax.jit
    def compute(params: Any) -> Any:
        gradients = jax.tree.map(jnp.ones_like, params)
        return {
            key: step.tx.update(gradients, step.tx.init(params), params)[0]
            for key, step in steps.items()
        }

    return {key: flat(tree) for key, tree in jax.device_get(compute(params)).items()}


@pytest.mark.slow
@pytest.mark.parametrize('name', list(KINDS)[::2] if QUICK else KINDS)
def test_what_treats_layers_in_different_ways(name: str) -> None:
    """LAMB, layer-wise rates, frozen layers and reinitialized layers work with each kind."""
    step, random = step_of(configuration(name)), np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(size=leaf.shape), jnp.float32), step.abstract.params
    )
    facts, before, found = flat(step.info), flat(params), updates(name, params)
    plain, lamb = found['none'], found['lamb']
    for path, fact in facts.items():  # the trust ratio: an update is as long as the weights
        if fact.decays and 'qkv' not in fact.axes:
            axes = tuple(range('layers' in fact.axes, before[path].ndim))
            norms = [np.sqrt((np.asarray(x) ** 2).sum(axes)) for x in (lamb[path], before[path])]
            np.testing.assert_allclose(*norms, rtol=1e-4, err_msg=path)
        elif not fact.decays:
            np.testing.assert_allclose(lamb[path], plain[path], rtol=1e-6, err_msg=path)
    if KINDS[name].share_layers:
        return
    number = np.arange(layers := KINDS[name].num_hidden_layers)
    for path, fact in facts.items():
        rate: Any = {'embeddings': 0.5 ** (layers + 1)}.get(fact.part, 1.0)
        trained: Any = fact.part != 'embeddings'
        starts_afresh: Any = fact.part == 'pooler'
        if fact.part == 'layers':
            column = number.reshape(-1, *[1] * (plain[path].ndim - 1))
            rate, trained, starts_afresh = (
                0.5 ** (layers - column),
                column > 0,
                column == layers - 1,
            )
        for option, expected in (('layer_decay', rate), ('freeze', trained)):
            wanted = plain[path] * expected
            np.testing.assert_allclose(found[option][path], wanted, rtol=1e-6, err_msg=path)
        saved, negative = {path: before[path]}, {path: -before[path]}
        fresh = reinitialize(saved, negative, {path: fact}, 1)[path]
        wanted = np.where(starts_afresh, -before[path], before[path])
        np.testing.assert_array_equal(fresh, wanted, err_msg=path)


SHARED = [name for name, model in KINDS.items() if model.share_layers]


@pytest.mark.parametrize('name', SHARED)
@pytest.mark.parametrize(
    ('key', 'changes'),
    [
        ('optim.layer_decay', {'layer_decay': 0.5}),
        ('optim.freeze', {'freeze': '1'}),
        ('reinit_layers', {}),
    ],
)
def test_shared_layers_are_all_the_same(name: str, key: str, changes: dict[str, Any]) -> None:
    config = configuration(name, **changes)
    if not changes:
        config = dataclasses.replace(config, reinit_layers=1, init_from='x')
    with pytest.raises(ValueError, match=rf'config\.{key} is .*the layers share'):
        validate(config)
    validate(configuration(name, freeze='embeddings'))


@pytest.mark.parametrize('name', KINDS)
def test_plan_benchmark_and_check_begin(name: str, tmp_path: pathlib.Path) -> None:
    """The commands accept the configuration, and each check that needs no data and no compilation
    passes."""
    write_corpus(tmp_path)
    config, task = without_data(configuration(name))
    phase = config.train.phases[0]
    assert phase == PHASE
    assert task.flops(phase) > 6 * PHASE.batch_size * PHASE.max_seq_length * 2 * 64 * 4 * 64
    values = {'corpus': f'text:{tmp_path}/corpus.txt', 'vocab_file': f'{tmp_path}/vocab.txt'}
    values |= {'cache_dir': str(tmp_path / 'cache'), 'sentences': 'line'}
    data = dataclasses.replace(config.data, **values, holdout=0.1)
    resolver = resolve(dataclasses.replace(config, data=data), tmp_path / 'run')
    check_early(resolver)
    assert resolver.step.task == dataclasses.replace(task, config=resolver.run_config.model)


if __name__ == '__main__':
    PARAMETERS.write_text(all_parameters())
    kinds = {
        name: {
            optimizer: run_steps(configuration(name, **settings), ONE, steps=10)[0]
            for optimizer, settings in (('adamw', ADAMW), ('lamb', LAMB))
        }
        for name in KINDS
    }
    lines = [f'{json.dumps(name)}: {json.dumps(losses)}' for name, losses in kinds.items()]
    LOSSES.write_text('{\n' + ',\n'.join(lines) + '\n}\n')

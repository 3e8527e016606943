"""Sharding: every mesh gives the numbers of one device, and mistakes that Flax ignores are found.

PYTHONPATH=tests python tests/parallel/test_sharding.py
    prints how far each mesh is from one device
"""

import dataclasses
import functools
import math
import os
import re

if __name__ == '__main__':
    os.environ.setdefault('XLA_FLAGS', '--xla_force_host_platform_device_count=8')

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_run import QUICK
from tiny_model import TINY, run_steps

from bert_jax.config import Config, MeshConfig, Phase
from bert_jax.models import layers
from bert_jax.models.parameters import describe
from bert_jax.parallel import sharding
from bert_jax.parallel.mesh import PRESETS, batch_parts, make_mesh
from bert_jax.tasks.finetuning import ClassificationTask, TaggingTask
from bert_jax.tasks.pretraining import PretrainTask
from bert_jax.training.train_step import TrainState, build_step

MESHES = dict(PRESETS) | {'all': MeshConfig(2, 2, 2)}


@functools.cache
def one_device(config: Config) -> tuple[list[float], TrainState]:
    return run_steps(config, MeshConfig(1, 1), steps=10)


def differences(name: str, config: Config = TINY) -> tuple[float, float, float]:
    """Returns the largest differences in ten steps: of a loss, of a parameter, and of a sum of
    gradients as a share of the largest value in its array."""
    one, state_one = one_device(config)
    losses, state = run_steps(config, MESHES[name], steps=10)
    assert one[-1] < one[0] - 0.1

    def largest(ours: object, theirs: object, share: bool) -> float:
        leaves = (jax.tree.leaves(jax.device_get(tree)) for tree in (ours, theirs))
        pairs = zip(*leaves, strict=True)
        return max(
            float(np.abs(a - b).max() / (np.abs(b).max() + 1e-3 if share else 1)) for a, b in pairs
        )

    # Adam's first moments are sums of the gradients.
    moments = [optax.tree.get(s.opt_state, 'mu') for s in (state, state_one)]
    return (
        largest(losses, one, share=False),
        largest(state.params, state_one.params, share=False),
        largest(*moments, share=True),
    )


@pytest.mark.slow
@pytest.mark.parametrize('name', ('dp', 'all') if QUICK else MESHES)
def test_every_mesh_gives_the_losses_and_gradients_of_one_device(name: str) -> None:
    of_losses, of_parameters, of_gradients = differences(name)
    assert of_losses < 5e-6
    assert of_parameters < 2e-5
    assert of_gradients < 1e-4


@pytest.mark.skipif(QUICK, reason='AdamW is tested above')
@pytest.mark.parametrize('changed', ['lamb', 'untied'])
def test_lamb_and_a_decoder_of_its_own_under_every_axis(changed: str) -> None:
    model = dataclasses.replace(TINY.model, tie_word_embeddings=changed != 'untied')
    settings = dataclasses.replace(TINY.optim, name='lamb' if changed == 'lamb' else 'adamw')
    config = dataclasses.replace(TINY, model=model, optim=settings)
    of_losses, of_parameters, _ = differences('all', config)
    assert of_losses < 5e-6
    assert of_parameters < 2e-5


@functools.cache
def compiled_step(mesh_config: MeshConfig) -> tuple[str, object, object]:
    mesh = make_mesh(mesh_config)
    step = build_step(TINY, PretrainTask(TINY.model), mesh)
    compiled = step.lower(TINY.train.phases[0]).compile()
    return compiled.as_text(), compiled.memory_analysis(), step.abstract


@pytest.mark.slow
def test_fsdp_holds_an_eighth_of_the_state_and_dp_gathers_nothing() -> None:
    text, memory, abstract = compiled_step(MESHES['fsdp'])
    leaves = jax.tree.leaves(abstract)
    total = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    held = sum(
        np.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves
    )
    assert total / 8 < held < 1.15 * total / 8, 'norms and biases are whole'
    batch_bytes = 40_000
    assert memory.argument_size_in_bytes < held + batch_bytes  # type: ignore[attr-defined]
    assert 'all-gather' in text
    aliases = re.search(r'input_output_alias=\{(.*?)\}, entry', text)
    assert aliases is not None
    assert aliases[1].count('alias)') == len(leaves), 'every leaf of the state is donated'
    assert 'all-gather' not in compiled_step(MESHES['dp'])[0]


@pytest.mark.slow
@pytest.mark.parametrize('name', ('fsdp_tp',) if QUICK else MESHES)
def test_no_device_has_the_logits_of_more_than_its_rows_and_words(name: str) -> None:
    text, mesh = compiled_step(MESHES[name])[0], make_mesh(MESHES[name])
    rows, slots, vocab = 16 // batch_parts(mesh), 5, TINY.model.vocab_size
    words = vocab // mesh.shape['tensor']
    assert re.search(rf'f32\[({rows},{slots}|{rows * slots}),{words}\]', text)
    shapes = [list(map(int, dims.split(','))) for dims in re.findall(r'\[(\d+(?:,\d+)+)\]', text)]
    wide = [dims for dims in shapes if {vocab, words} & set(dims)]
    # The word table, too, has the vocabulary on one side.
    scores = [dims for dims in wide if not {64, 64 // mesh.shape['fsdp']} & set(dims)]
    assert max(map(math.prod, scores)) <= words * rows * slots
    if words < vocab:
        assert not [dims for dims in wide if vocab in dims]


def test_shards_on_the_devices_are_what_the_rules_say() -> None:
    mesh = make_mesh(MESHES['fsdp'])
    state = build_step(TINY, PretrainTask(TINY.model), mesh).init(jax.random.key(0))
    table = state.params['encoder']['embeddings']['word_embeddings']
    assert {s.data.shape for s in table.addressable_shards} == {(TINY.model.vocab_size, 64 // 8)}


@pytest.mark.parametrize('platform', ['cpu', 'tpu'])
@pytest.mark.parametrize(
    ('shape', 'axes', 'split'),
    [
        ((8, 4, 6, 6), ('batch', 'heads', 'length', 'length'), (('data', 'fsdp'), 'tensor')),
        ((8, 6, 5), ('batch', 'length', 'hidden'), (('data', 'fsdp'),)),
    ],
)
def test_the_bits_of_dropout_are_split_as_what_they_drop(
    shape: tuple[int, ...],
    axes: tuple[str, ...],
    split: tuple,
    platform: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On TPUs each chip generates its own bits. With another split, a second drawing would have
    other bits."""
    monkeypatch.setattr(layers, 'platform', lambda: platform)
    mesh = make_mesh(MESHES['all'])
    whole = jax.sharding.NamedSharding(mesh, jax.P())

    def bits(key: jax.Array) -> jax.Array:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return layers._dropout_mask(key, shape, axes, 6554)

    compiled = jax.jit(bits, in_shardings=whole).lower(jax.random.key(0)).compile()
    expected = jax.sharding.NamedSharding(mesh, jax.P(*split))
    assert compiled.output_shardings.is_equivalent_to(expected, len(shape))


def boxed(shape: tuple[int, ...], *names: str) -> nn.LogicallyPartitioned:
    return nn.LogicallyPartitioned(jnp.zeros(shape), names)


@pytest.mark.parametrize(
    ('params', 'words'),
    [
        ({'a': jnp.zeros(8)}, ['parameter a', 'no logical axis names']),
        ({'a': boxed((8, 8), 'embed')}, ['parameter a', '(8, 8)']),
        ({'a': boxed((8,), 'embedd')}, ["'embedd'", 'no rule']),
        ({'a': boxed((8, 8), 'embed', 'embed')}, ['two dimensions', 'fsdp']),
        ({'a': boxed((9,), 'embed')}, ['parameter a', "'embed'", '9', '8 devices']),
    ],
)
def test_what_flax_ignores_raises(params: dict, words: list[str]) -> None:
    with pytest.raises(ValueError) as raised:
        sharding.check_rules(params, make_mesh(MESHES['fsdp']))
    for word in words:
        assert word in str(raised.value)


def test_every_rule_is_used_by_a_model_or_an_activation() -> None:
    tasks = [
        PretrainTask(TINY.model),
        ClassificationTask(TINY.model, 3),
        TaggingTask(TINY.model, 3),
    ]
    gated = dataclasses.replace(TINY.model, gated_mlp=True)
    tasks.append(TaggingTask(gated, 3))
    used = {'batch', 'batch_over_data', 'length', 'hidden', 'predictions'}
    for task in tasks:
        boxes = jax.eval_shape(lambda task=task: task.init(jax.random.key(0)))
        for fact in jax.tree.leaves(describe(boxes)):
            used |= set(fact.axes)
            assert fact.part and fact.kind
    assert used == set(sharding.RULES)
    split = {axis for axis in used if sharding.RULES[axis]}
    assert split - {'batch', 'batch_over_data'} == set(sharding.REMEDIES)


def test_meshes_and_batches_that_do_not_fit() -> None:
    assert dict(make_mesh(MeshConfig(-1, 2)).shape) == {'data': 4, 'fsdp': 2, 'tensor': 1}
    assert dict(make_mesh(MeshConfig(-1, 1, 4)).shape)['data'] == 2
    for wrong in (
        MeshConfig(3, 1),
        MeshConfig(-1, 3),
        MeshConfig(-1, -1),
        MeshConfig(-1, 16),
        MeshConfig(8, 1, 2),
    ):
        with pytest.raises(ValueError, match='8 devices'):
            make_mesh(wrong)
    task = PretrainTask(dataclasses.replace(TINY.model))
    with pytest.raises(ValueError, match='12 sequences'):
        sharding.batch_shardings(task.batch_spec(Phase(1, 16, 12, 2)), make_mesh(MESHES['dp']))
    sixteen = task.batch_spec(Phase(1, 16, 16, 2))
    sharding.batch_shardings(sixteen, make_mesh(MESHES['dp']), 2)
    with pytest.raises(ValueError, match='in 4 micro-batches; choose a multiple of 32'):
        sharding.batch_shardings(sixteen, make_mesh(MESHES['dp']), 4)


def test_constrain_wants_a_name_per_dimension() -> None:
    with pytest.raises(ValueError, match=r'1 axis names .* \(2, 3\)'):
        sharding.constrain(jnp.zeros((2, 3)), 'batch')


if __name__ == '__main__':
    print('| mesh of 8 devices | losses | parameters | sums of gradients |\n|---|---|---|---|')
    for name, sizes in MESHES.items():
        numbers = ' | '.join(f'{number:.1e}' for number in differences(name))
        print(f'| {name}, {dict(make_mesh(sizes).shape)} | {numbers} |')

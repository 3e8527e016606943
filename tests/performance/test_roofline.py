"""Training steps compiled for a TPU slice, and their plans."""

import collections
import types
from typing import Any

import jax
import numpy as np
import pytest
import rich.console
import rich.table
import small_run
from tiny_model import TINY, changed

from bert_jax.config import Config, MeshConfig, Phase
from bert_jax.models import flash_attention
from bert_jax.models.flops import step_flops
from bert_jax.parallel.chips import GIB
from bert_jax.parallel.mesh import PRESETS
from bert_jax.performance import roofline, tables, topologies
from bert_jax.performance.collectives import Collective
from bert_jax.tasks.pretraining import PretrainTask

PHASE = Phase(1000, 32, 16, 5)


def plan(config: Config, four: list[jax.Device], phase: Phase = PHASE) -> dict[str, Any]:
    """The plan of pretraining on a v5e-4."""
    task = PretrainTask(config.model)
    return roofline.plan(config, task, phase, topologies.parse('v5e-4'), four)


def test_a_whole_ring_sends_in_both_directions() -> None:
    """The slice has 16 x 16 chips, and `fsdp` goes along its second dimension."""
    whole = np.array(
        [[types.SimpleNamespace(coords=(x, y, 0)) for y in range(16)] for x in range(16)]
    )
    gather = Collective('all-gather', ('fsdp',), 100.0, 1, True)
    for fsdp, seconds in ((16, 50), (8, 100), (1, 100)):  # the whole ring, half of it, one chip
        devices = whole.reshape(16, 16 // fsdp, fsdp)
        mesh: Any = types.SimpleNamespace(devices=devices, axis_names=('x', 'data', 'fsdp'))
        assert roofline._link_seconds(gather, mesh, topologies.parse('v5e:16x16'), 1.0) == seconds
    both = gather._replace(axes=('x', 'data'))
    assert roofline._link_seconds(both, mesh, topologies.parse('v5e:16x16'), 1.0) == 25


def test_groups_share_the_links_between_their_devices() -> None:
    """Devices of a group are eight chips apart: a link carries the traffic of eight groups."""
    ring = np.array([types.SimpleNamespace(coords=(x, 0, 0)) for x in range(16)]).reshape(2, 8)
    mesh: Any = types.SimpleNamespace(devices=ring, axis_names=('data', 'fsdp'))
    tpu_slice = topologies.parse('v5e:16x1')
    for axis, seconds in (('data', 400), ('fsdp', 100)):
        gather = Collective('all-gather', (axis,), 100.0, 1, True)
        assert roofline._link_seconds(gather, mesh, tpu_slice, 1.0) == seconds


@pytest.mark.slow
def test_the_compiler_for_tpus_takes_the_flash_attention_kernel(
    four: list[jax.Device], caplog: pytest.LogCaptureFixture
) -> None:
    """Its rows and heads are sharded."""
    flash_attention._log_missing.cache_clear()
    changes = {'attention': 'flash', 'attention_probs_dropout_prob': 0.0, 'hidden_size': 256}
    changes |= {'max_position_embeddings': 128}
    config = changed(TINY, model=changes, mesh=MeshConfig(data=1, fsdp=2, tensor=2))
    phase = PHASE._replace(max_seq_length=128)
    assert plan(config, four, phase)['fits']
    assert not caplog.messages, 'plain attention'


@pytest.mark.slow
def test_the_figures_of_a_plan(four: list[jax.Device]) -> None:
    config = changed(TINY, mesh=MeshConfig(data=1, fsdp=2, tensor=2))
    result = plan(config, four)
    assert result['fits']
    assert result['flops'] == step_flops(TINY.model, PHASE)
    # Nearly all parameters are sharded four ways. Biases and norms, which are much of so small a
    # model, are sharded two ways or not at all.
    count = sum(leaf.size for leaf in jax.tree.leaves(abstract_params()))
    assert count <= result['memory']['parameters'] < 1.15 * count, 'four bytes, a quarter of them'
    assert result['memory']['optimizer'] == pytest.approx(
        2 * result['memory']['parameters'], rel=0.01
    )
    assert 0 < result['memory']['program and padding'] < GIB
    sent = result['collectives']
    assert sum(size for name, size in sent.items() if name.endswith('over tensor')) > 0
    # Each layer sums its activations over `tensor` four times, two of them in the backward pass.
    activations = 2 * PHASE.batch_size / 2 * PHASE.max_seq_length * TINY.model.hidden_size
    layers = TINY.model.num_hidden_layers
    assert sent['synchronous all-reduce over tensor'] >= 4 * layers * activations
    *overlapped, synchronous = result['seconds'].values()
    assert synchronous > 0 and result['step_seconds'] == max(overlapped) + synchronous
    assert 0 < result['mfu'] < 1
    assert result['chip_hours'] == pytest.approx(result['days'] * 24 * 4)
    assert tables.details_table(result).row_count > 10
    fits, time, cost = tables.summary([result], config, price=2.0)
    assert 'yes' in fits and 'hours at best' in time and 'at $2.00 a chip-hour' in cost


@pytest.mark.skipif(small_run.QUICK, reason='one mesh is planned above')
def test_the_collectives_of_the_presets(four: list[jax.Device]) -> None:
    """dp all-reduces gradients and gathers nothing. fsdp reduce-scatters them. Both together
    reduce-scatter them and all-reduce the parts."""
    count = sum(leaf.size for leaf in jax.tree.leaves(abstract_params()))

    def sent(mesh: MeshConfig) -> dict[str, float]:
        result = plan(changed(TINY, mesh=mesh), four)['collectives']
        kinds: dict[str, float] = collections.defaultdict(float)
        for words, size in result.items():
            kinds[words.removeprefix('synchronous ').replace('data+fsdp', 'both')] += size
        return kinds

    dp, fsdp = sent(PRESETS['dp']), sent(PRESETS['fsdp'])
    assert set(dp) == {'all-reduce over data'}
    whole = dp['all-reduce over data']
    assert 0 < whole <= 2 * 3 / 4 * 4 * count, 'no more than float32 gradients'
    assert fsdp['all-reduce over fsdp'] < whole / 10
    assert 0 < fsdp['reduce-scatter over fsdp'] <= 3 / 4 * 4 * count
    both = sent(MeshConfig(data=2, fsdp=2))
    assert both['all-reduce over fsdp'] + both['all-reduce over both'] < whole / 10
    assert 0 < both['reduce-scatter over fsdp'] <= 1 / 2 * 4 * count
    assert both['all-reduce over data'] < whole / 2, 'of what is left of each gradient'


@pytest.mark.skipif(small_run.QUICK, reason='takes half a minute')
def test_a_wide_model_overlaps_its_collectives_and_copies_little(four: list[jax.Device]) -> None:
    """The model is wide enough to be compiled as a real one is: parameters are gathered while a
    device computes, and hardly anything is copied or transposed."""
    sizes = {'hidden_size': 512, 'num_attention_heads': 8, 'intermediate_size': 2048}
    sizes |= {'vocab_size': 8192, 'num_hidden_layers': 2, 'max_position_embeddings': 256}
    config = changed(TINY, model=sizes, mesh=MeshConfig(data=2, fsdp=2))
    result = plan(config, four, Phase(1000, 256, 64, 40))
    sent: dict[str, float] = collections.defaultdict(float)
    for name, size in result['collectives'].items():
        sent[name.partition(' over ')[0]] += size
    assert sent['synchronous all-gather'] < sent['all-gather'] / 4
    assert 'synchronous all-to-all' not in sent
    count = 2 * 12 * 512 * 512 + 8192 * 512
    gradients = sent['synchronous reduce-scatter'] + sent['synchronous all-reduce']
    assert 0 < gradients < 0.7 * 4 * count, 'scattered, the halves added up, some in bfloat16'
    assert 0 < result['rearranged'] < 0.05 * result['memory_traffic']


def abstract_params() -> object:
    return jax.eval_shape(lambda: PretrainTask(TINY.model).init(jax.random.key(0)))


@pytest.mark.skipif(small_run.QUICK, reason='the messages of the compiler are tested below')
def test_a_plan_that_does_not_fit(four: list[jax.Device]) -> None:
    wide = {'vocab_size': 1 << 24, 'hidden_size': 128, 'num_hidden_layers': 1}
    config = changed(TINY, model=wide)
    result = plan(config, four)
    assert not result['fits']
    assert result['exceeds'] > GIB
    assert 'seconds' not in result
    assert '--config.mesh.fsdp=-1' in tables.advice(result, config)
    assert 'NO' in tables.summary([result], config, None)[0]
    assert 'does not fit' in text_of(tables.phases_table([result]))
    swept = [result | {'preset': 'dp'}]
    assert 'does not fit' in text_of(tables.sweep_table(swept))
    assert 'nearest is dp' in tables.best_line(swept, config)


def text_of(table: rich.table.Table) -> str:
    with (console := rich.console.Console(width=200)).capture() as captured:
        console.print(table)
    return captured.get()


@pytest.mark.parametrize(
    'message',
    [
        'RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 18.25G of 15.75G hbm.',
        'RESOURCE_EXHAUSTED: the total memory required for HLO temporaries (18.25G) exceeds '
        'available HBM (15.75G).',
    ],
)
def test_messages_about_too_little_memory(message: str) -> None:
    result = roofline._too_large(RuntimeError(message))
    assert (result['used'], result['exceeds']) == (18.25 * GIB, 2.5 * GIB)
    state = {'parameters': GIB, 'optimizer': 2 * GIB, 'batch': 0}
    result |= {'memory': state, 'devices': 8, 'mesh': {'data': 1, 'fsdp': 8, 'tensor': 1}}
    result |= {'remat': 'dots', 'rows_per_device': 2, 'phase': [9, 512, 16, 77]}
    assert 'remat=full' in tables.advice(result, TINY), 'micro-batches would have one short row'
    many = result | {'rows_per_device': 64}
    assert 'accum_steps=2 ' in tables.advice(many, TINY)
    large = many | {'used': 40 * GIB}
    assert 'accum_steps=4 ' in tables.advice(large, TINY), 'enough of them'
    assert 'remat=full' in tables.advice(many | {'used': 500 * GIB}, TINY)
    four = changed(TINY, train={'accum_steps': 4})
    assert 'accum_steps=8 ' in tables.advice(many, four)
    assert 'accum_steps=2' in tables.advice(result | {'remat': 'full'}, TINY)
    least = result | {'remat': 'full', 'rows_per_device': 1}
    assert 'more chips' in tables.advice(least, TINY)


def test_an_unknown_message_of_the_compiler_is_the_error() -> None:
    with pytest.raises(ValueError, match=r'compiler says: RESOURCE_EXHAUSTED: no vmem$'):
        roofline._too_large(RuntimeError('RESOURCE_EXHAUSTED: no vmem\nallocation trace'))


@pytest.mark.slow
def test_a_step_that_cannot_be_read_has_an_error(
    four: list[jax.Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise NotImplementedError('how often the loop while.3 runs is not known')

    monkeypatch.setattr(roofline, '_roofline', unknown)
    result = plan(changed(TINY, model={'num_hidden_layers': 1}), four)
    assert result['fits'] and 'time of a step is not known: how often' in result['error']
    fits, time = tables.summary([result], TINY, None)
    assert 'yes' in fits and 'time of a step is not known: how often' in time
    swept = [result | {'preset': 'dp'}]
    assert 'is not known: how' in text_of(tables.sweep_table(swept))
    assert tables.best_line(swept, TINY) == 'nothing fits'

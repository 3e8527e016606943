"""The run's step compiled for a slice, and what is said of it."""

import collections
import dataclasses
import itertools
import json
import pathlib
import sys
import types
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
import rich.console
import rich.table
import small_run
from absl.testing import flagsaver
from tiny_model import ROOT, TINY

from bert_jax import plan
from bert_jax.config import Config, MeshConfig, Phase
from bert_jax.models import flash_attention
from bert_jax.models.flops import step_flops
from bert_jax.parallel.chips import GIB
from bert_jax.parallel.mesh import PRESETS, make_mesh
from bert_jax.performance import plan_tables, topologies
from bert_jax.performance.hlo import Collective

PHASE = Phase(1000, 32, 16, 5)


def test_links_go_both_ways_around_a_whole_ring_only() -> None:
    """On 16 x 16 chips; `fsdp` goes along the second dimension."""
    whole = np.array(
        [[types.SimpleNamespace(coords=(x, y, 0)) for y in range(16)] for x in range(16)]
    )
    gather = Collective('all-gather', ('fsdp',), 100.0, 1, True)
    for fsdp, seconds in ((16, 50), (8, 100), (1, 100)):  # the whole ring, half of it, one chip
        devices = whole.reshape(16, 16 // fsdp, fsdp)
        mesh: Any = types.SimpleNamespace(devices=devices, axis_names=('x', 'data', 'fsdp'))
        assert plan._seconds(gather, mesh, topologies.parse('v5e:16x16'), 1.0) == seconds
    both = gather._replace(axes=('x', 'data'))
    assert plan._seconds(both, mesh, topologies.parse('v5e:16x16'), 1.0) == 25


def test_links_are_shared_with_the_devices_between() -> None:
    """Every eighth of a ring of 16: each link carries the traffic of eight such pairs."""
    ring = np.array([types.SimpleNamespace(coords=(x, 0, 0)) for x in range(16)]).reshape(2, 8)
    mesh: Any = types.SimpleNamespace(devices=ring, axis_names=('data', 'fsdp'))
    of = topologies.parse('v5e:16x1')
    for axis, seconds in (('data', 400), ('fsdp', 100)):
        gather = Collective('all-gather', (axis,), 100.0, 1, True)
        assert plan._seconds(gather, mesh, of, 1.0) == seconds


def test_flash_attention_on_a_slice(
    four: list[jax.Device], caplog: pytest.LogCaptureFixture
) -> None:
    """The TPU's compiler takes the kernel, its rows and heads split."""
    flash_attention._say_there_is_none.cache_clear()
    changes = {'attention': 'flash', 'attention_probs_dropout_prob': 0.0, 'hidden_size': 256}
    model = dataclasses.replace(TINY.model, **changes, max_position_embeddings=128)
    config = dataclasses.replace(TINY, model=model, mesh=MeshConfig(data=1, fsdp=2, tensor=2))
    phase = PHASE._replace(max_seq_length=128)
    assert plan.plan(config, phase, topologies.parse('v5e-4'), four)['fits']
    assert not caplog.messages, 'plain attention'


def test_the_step_of_a_slice(four: list[jax.Device]) -> None:
    config = dataclasses.replace(TINY, mesh=MeshConfig(data=1, fsdp=2, tensor=2))
    found = plan.plan(config, PHASE, topologies.parse('v5e-4'), four)
    assert found['fits']
    assert found['flops'] == step_flops(TINY.model, PHASE)
    # Nearly all parameters are split four ways; biases and norms, much in so
    # small a model, two ways or not at all.
    count = sum(leaf.size for leaf in jax.tree.leaves(abstract_params()))
    assert count <= found['memory']['parameters'] < 1.15 * count, 'four bytes, a quarter of them'
    assert found['memory']['optimizer'] == pytest.approx(
        2 * found['memory']['parameters'], rel=0.01
    )
    assert 0 < found['memory']['program and padding'] < GIB
    sent = found['collectives']
    assert sum(size for name, size in sent.items() if name.endswith('over tensor')) > 0
    # Every layer adds up its activations over `tensor` four times: twice forward, twice backward.
    activations = 2 * PHASE.batch_size / 2 * PHASE.max_seq_length * TINY.model.hidden_size
    layers = TINY.model.num_hidden_layers
    assert sent['synchronous all-reduce over tensor'] >= 4 * layers * activations
    *overlapped, synchronous = found['seconds'].values()
    assert synchronous > 0 and found['step_seconds'] == max(overlapped) + synchronous
    assert 0 < found['mfu'] < 1
    assert found['chip_hours'] == pytest.approx(found['days'] * 24 * 4)
    table = plan_tables.of_phase(found, config)
    assert table.row_count > 10


@pytest.mark.skipif(small_run.QUICK, reason='one mesh is planned above')
def test_what_the_presets_send(four: list[jax.Device]) -> None:
    """dp adds up gradients and gathers nothing; fsdp scatters what it adds up; both together
    scatter, then add up the parts."""
    count = sum(leaf.size for leaf in jax.tree.leaves(abstract_params()))

    def sent(mesh: MeshConfig) -> dict[str, float]:
        config = dataclasses.replace(TINY, mesh=mesh)
        found = plan.plan(config, PHASE, topologies.parse('v5e-4'), four)['collectives']
        kinds: dict[str, float] = collections.defaultdict(float)
        for words, size in found.items():
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
def test_what_a_device_waits_for_and_moves(four: list[jax.Device]) -> None:
    """Of a model wide enough that the compiler treats it as it does a real one: parameters come
    while it works, gradients may be waited for; hardly anything is copied or transposed."""
    sizes = {'hidden_size': 512, 'num_attention_heads': 8, 'intermediate_size': 2048}
    sizes |= {'vocab_size': 8192, 'num_hidden_layers': 2, 'max_position_embeddings': 256}
    model = dataclasses.replace(TINY.model, **sizes)
    config = dataclasses.replace(TINY, model=model, mesh=MeshConfig(data=2, fsdp=2))
    found = plan.plan(config, Phase(1000, 256, 64, 40), topologies.parse('v5e-4'), four)
    sent: dict[str, float] = collections.defaultdict(float)
    for name, size in found['collectives'].items():
        sent[name.partition(' over ')[0]] += size
    assert sent['synchronous all-gather'] < sent['all-gather'] / 4
    assert 'synchronous all-to-all' not in sent
    count = 2 * 12 * 512 * 512 + 8192 * 512
    gradients = sent['synchronous reduce-scatter'] + sent['synchronous all-reduce']
    assert 0 < gradients < 0.7 * 4 * count, 'scattered, the halves added up, some in bfloat16'
    assert 0 < found['rearranged'] < 0.05 * found['memory_traffic']


def abstract_params() -> object:
    from bert_jax.tasks.pretraining import PretrainTask

    return jax.eval_shape(lambda: PretrainTask(TINY.model).init(jax.random.key(0)))


@pytest.mark.skipif(small_run.QUICK, reason='what the compiler says is tested below')
def test_what_does_not_fit_says_by_how_much_and_what_helps(four: list[jax.Device]) -> None:
    wide = dataclasses.replace(TINY.model, vocab_size=1 << 24, hidden_size=128, num_hidden_layers=1)
    config = dataclasses.replace(TINY, model=wide)
    found = plan.plan(config, PHASE, topologies.parse('v5e-4'), four)
    assert not found['fits']
    assert found['exceeds'] > GIB
    assert 'seconds' not in found
    assert '--config.mesh.fsdp=-1' in plan_tables.advice(found, config)
    assert 'NO' in shown(plan_tables.of_phase(found, config))
    swept = [found | {'preset': 'dp'}]
    assert 'does not fit' in shown(plan_tables.of_sweep(swept))
    assert 'nearest is dp' in plan_tables.best(swept, config)


def shown(table: rich.table.Table) -> str:
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
def test_what_the_compiler_says_of_memory(message: str) -> None:
    found = plan._too_large(message)
    assert (found['used'], found['exceeds']) == (18.25 * GIB, 2.5 * GIB)
    state = {'parameters': GIB, 'optimizer': 2 * GIB, 'batch': 0}
    found |= {'memory': state, 'devices': 8, 'mesh': {'data': 1, 'fsdp': 8, 'tensor': 1}}
    found |= {'remat': 'dots', 'rows_per_device': 2}
    assert 'remat=full' in plan_tables.advice(found, TINY)
    assert 'accum_steps=2' in plan_tables.advice(found | {'remat': 'full'}, TINY)
    least = found | {'remat': 'full', 'rows_per_device': 1}
    assert 'more chips' in plan_tables.advice(least, TINY)


def test_no_room_in_other_words_is_said_in_the_compilers() -> None:
    with pytest.raises(ValueError, match=r'compiler says: RESOURCE_EXHAUSTED: no vmem$'):
        plan._too_large('RESOURCE_EXHAUSTED: no vmem\nallocation trace')


def test_a_sweep_compiled(four: list[jax.Device], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, 'SWEPT_REMAT', ('full',))
    monkeypatch.setattr(plan, 'SWEPT_ROWS', (4,))
    found = list(plan.sweep(TINY, topologies.parse('v5e-4'), four))
    assert [one['preset'] for one in found] == ['dp', 'fsdp', 'fsdp_tp']
    whole, split, both = (one['memory']['parameters'] for one in found)
    assert split < whole / 3 and both < whole / 3
    for one in found:
        assert (one['fits'], one['remat'], one['phase'][2]) == (True, 'full', 16)
        assert one['tokens_per_second'] == pytest.approx(16 * 32 / one['step_seconds'])
    table = shown(plan_tables.of_sweep(found))
    fastest = max(found, key=lambda one: one['tokens_per_second'])
    assert f'best: {fastest["preset"]}, remat full, 4 on a device' in plan_tables.best(found, TINY)
    assert table.count('full') == 3


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """main on four devices that need no compiler; what is tested stands in for `plan.plan`."""
    monkeypatch.setattr(topologies, 'devices', lambda of: jax.devices()[: of.chips])
    first = ['plan', f'--config={ROOT / "configs/tiny.py"}', '--topology=v5e-4']

    def call(*more: str) -> int:
        with flagsaver.flagsaver(), monkeypatch.context() as patch:
            patch.setattr(sys, 'argv', [*first, *more])  # where the values of --config are read
            return plan.main(sys.argv)

    return call


def test_where_the_numbers_go_is_looked_at_first(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(plan, 'plan', lambda *_: pytest.fail('has begun'))
    with pytest.raises(ValueError, match=r'no/p.json is in no folder; make it: mkdir -p no$'):
        run('--output=no/p.json')
    with pytest.raises(ValueError, match='is a folder'):
        run(f'--output={tmp_path}')


def planned(config: Config, phase: Phase, of: topologies.Slice, devices: list) -> dict[str, Any]:
    """What `plan.plan` could say: 32 sequences fit on a device, 16 are as good (2 of 999 words); no
    `tensor`."""
    mesh = dict(make_mesh(config.mesh, devices).shape)
    if mesh['tensor'] > 1:
        raise ValueError('vocab does not divide\nby two')
    rows, state = phase.batch_size / len(devices), {'parameters': 2**20}
    found = {'mesh': mesh, 'remat': config.model.remat, 'phase': list(phase), 'devices': of.chips}
    found |= {'rows_per_device': rows, 'memory': state, 'memory_limit': 16 * GIB, 'bound': 'memory'}
    if rows > (2 if config.model.vocab_size == 999 else 32) or config.model.vocab_size > 1000:
        return found | {'fits': False, 'used': (16 + rows) * GIB, 'exceeds': rows * GIB}
    speed = min(rows, 16) * (1 + mesh['fsdp'] + 10 * (config.model.remat == 'dots'))
    return found | {'fits': True, 'tokens_per_second': speed, 'step_seconds': 1.0, 'mfu': 0.5}


def test_every_phase_must_fit(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of_a_step = {'flops': 1e9, 'collectives': {}, 'seconds': {}, 'days': 1.5, 'chip_hours': 144.0}
    of_a_step |= {
        'slice': 'v5e:2x2',
        'counted': '4 chips',
        'memory_traffic': 2e9,
        'rearranged': 1e9,
    }
    monkeypatch.setattr(plan, 'plan', lambda *of: planned(*of) | of_a_step)
    small = '--config.model.vocab_size=1000'
    assert run(small, '--config.train.phases=((900,32,16,5),(900,48,16,5))') == 0
    assert capsys.readouterr().out.splitlines()[-1] == 'the run: 3.00 days, 288 chip-hours at best'
    assert run(small, '--config.train.phases=((900,32,16,5),(900,48,256,5))') == 1
    assert 'the run' not in capsys.readouterr().out


def test_what_can_not_be_read_says_so(
    four: list[jax.Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise NotImplementedError('how often the loop while.3 runs is not known')

    monkeypatch.setattr(plan, '_roofline', unknown)
    found = plan.plan(TINY, PHASE, topologies.parse('v5e-4'), four)
    assert found['fits'] and 'can not be told: how often' in found['error']
    assert 'can not be told: how often' in shown(plan_tables.of_phase(found, TINY))
    swept = [found | {'preset': 'dp'}]
    assert 'can not be told' in shown(plan_tables.of_sweep(swept))
    assert plan_tables.best(swept, TINY) == 'nothing fits'


def test_a_sweep(
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept, file = [], tmp_path / 'p.json'

    def fake(*arguments: Any) -> dict[str, Any]:
        kept.append(len(json.loads(file.read_text())) if file.exists() else 0)
        return planned(*arguments)

    monkeypatch.setattr(plan, 'plan', fake)
    flags = ['--sweep', f'--output={file}', '--config.mesh.data=2', '--config.mesh.fsdp=2']
    assert run(*flags, '--config.model.vocab_size=1000') == 0
    out, err = capsys.readouterr()
    assert kept == list(range(len(kept))), 'what is known so far is in the file'
    found = json.loads(file.read_text())
    tried = {(one['preset'], one['remat']): one['rows_per_device'] for one in found}
    each = itertools.product(('dp', 'fsdp', 'fsdp_tp', 'config'), plan.SWEPT_REMAT)
    assert tried == {(name, remat): 8 if name == 'fsdp_tp' else 32 for name, remat in each}
    assert len(found) == 3 * (3 + 3 + 1 + 3) == err.count('\n')
    assert 'plan: fsdp, remat none, 16 on a device: 80 tokens/s\n' in err
    assert 'plan: fsdp_tp, remat full, 8 on a device: vocab does not divide\n' in err
    last = out.splitlines()[-1]
    assert (
        'best: fsdp, remat dots, 16 on a device: 240 tokens/s, 64 in all: --config.mesh.data'
        in last
    )
    assert last.endswith('--config.mesh.fsdp=4 --config.mesh.tensor=1 --config.model.remat=dots')

    assert run('--sweep', '--config.model.vocab_size=999') == 0
    rows = [line.split()[4] for line in capsys.readouterr().err.splitlines() if 'fsdp,' in line]
    assert rows == ['8', '4', '2'] * 3, 'fewer until they fit'

    assert run('--sweep', '--config.train.accum_steps=2') == 1
    out, err = capsys.readouterr()
    assert 'dp, remat none, 2 on a device: does not fit, 2 GiB over 16.00 GiB\n' in err
    assert 'config' not in err, "configs/tiny.py's own mesh is dp's"
    assert 'nothing fits; nearest is dp, remat none, 2 on a device: does not fit, 2 GiB' in out
    assert 'what helps most: --config.model.remat=full' in out.splitlines()[-1]

"""The command `python -m bert_jax.plan`; tests/performance compiles the steps that it plans."""

import itertools
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import pytest
from absl.testing import flagsaver
from tiny_model import ROOT

from bert_jax import plan
from bert_jax.config import Config, Phase
from bert_jax.parallel.chips import GIB
from bert_jax.parallel.mesh import make_mesh
from bert_jax.performance import roofline, topologies
from bert_jax.performance.sweep import REMAT_POLICIES
from bert_jax.tasks.finetuning import QuestionAnsweringTask
from bert_jax.tasks.task import Task


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs plan.main for four devices without the compiler for TPUs. planned: a function in place
    of `roofline.plan`."""
    monkeypatch.setattr(topologies, 'devices', lambda tpu_slice: jax.devices()[: tpu_slice.chips])

    def call(planned: Callable[..., Any], *flags: str, config: str = 'tiny') -> int:
        argv = ['plan', f'--config={ROOT}/configs/{config}.py', '--topology=v5e-4', *flags]
        with flagsaver.flagsaver(), monkeypatch.context() as patch:
            patch.setattr(roofline, 'plan', planned)
            patch.setattr(sys, 'argv', argv)  # --config reads its overrides there
            return plan.main(argv)

    return call


def test_output_is_checked_before_anything_is_planned(
    run: Callable[..., int], tmp_path: pathlib.Path
) -> None:
    with pytest.raises(ValueError, match=r'p.json: its folder does not exist; run: mkdir -p no$'):
        run(pytest.fail, '--output=no/p.json')
    with pytest.raises(ValueError, match='is a folder'):
        run(pytest.fail, f'--output={tmp_path}')


SHAPE = {'slice': 'v5e:2x2', 'counted': '4 chips'}


def fake_plan(
    config: Config, task: Task, phase: Phase, tpu_slice: topologies.TpuSlice, devices: list
) -> dict[str, Any]:
    """A plan as `roofline.plan` could make it, by the size of the vocabulary.

    1000: 32 sequences fit on a device, and 16 are as fast. 999: 2 sequences fit. Larger: none fits.
    A mesh with `tensor` has an error.
    """
    mesh = dict(make_mesh(config.mesh, devices).shape)
    if mesh['tensor'] > 1:
        raise ValueError('vocab does not divide\nby two')
    rows, remat = phase.batch_size / len(devices), task.config.remat
    vocab_size = config.model.vocab_size
    result = {'mesh': mesh, 'remat': remat, 'phase': list(phase), 'devices': len(devices)}
    result |= {'rows_per_device': rows, 'memory': {'parameters': 2**20}, 'memory_limit': 16 * GIB}
    if rows > (2 if vocab_size == 999 else 32) or vocab_size > 1000:
        return result | {'fits': False, 'used': (16 + rows) * GIB, 'exceeds': rows * GIB}
    speed = min(rows, 16) * (1 + mesh['fsdp'] + 10 * (remat == 'dots'))
    result |= {'fits': True, 'used': 2**20, 'bound': 'memory', 'mfu': 0.5}
    return result | {'tokens_per_second': speed, 'step_seconds': 1.0}


def full_plan(*arguments: Any) -> dict[str, Any]:
    """`fake_plan` with all figures of a plan that fits."""
    figures: dict[str, Any] = SHAPE | {'flops': 1e9, 'collectives': {}, 'seconds': {}}
    figures |= {'memory_traffic': 2e9, 'rearranged': 1e9, 'days': 1.5, 'chip_hours': 144.0}
    result = fake_plan(*arguments)
    return figures | result if result['fits'] else SHAPE | result


def test_the_first_lines_are_the_summary(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ['--config.model.vocab_size=1000']
    flags.append('--config.train.phases=((900,32,16,5),(900,48,16,5))')
    assert run(full_plan, *flags, '--price=1.25') == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[:3] == [
        'fits   yes: 0.0 of 16.0 GiB on each device, 4 chips',
        'time   72.0 hours at best: 1,000.0 ms a step (16 x 32), 1,000.0 ms (16 x 48)',
        'cost   288 chip-hours, $360 at $1.25 a chip-hour',
    ]
    assert err.splitlines() == [
        'plan: phase 1 of 2: compiling the step of 16 x 32 tokens ...',
        'plan: phase 2 of 2: compiling the step of 16 x 48 tokens ...',
    ]
    assert 'to and from memory' not in out
    assert max(map(len, out.splitlines()[3:])) <= 80
    assert run(full_plan, *flags, '--details') == 0
    out = capsys.readouterr().out
    assert out.splitlines()[2].startswith('cost   288 chip-hours; --price=DOLLARS')
    assert out.count('to and from memory') == 2


def test_every_phase_must_fit(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is the same as that of `bert_jax train` for a step that does not fit."""
    small = '--config.model.vocab_size=1000'
    assert run(full_plan, small, '--config.train.phases=((900,32,16,5),(900,48,256,5))') == 2
    fits, advice, *_ = capsys.readouterr().out.splitlines()
    needs = 'needs 80.0 of 16.0 GiB on each device, 64 GiB too much'
    assert fits == f'fits   NO: a step of 256 x 48 {needs}'
    assert advice.startswith('try    --config.model.remat=full')


def test_what_is_known_is_shown_after_an_interruption(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: Any) -> dict[str, Any]:
        if arguments[2].max_seq_length == 48:
            raise KeyboardInterrupt
        return full_plan(*arguments)

    flags = ['--config.model.vocab_size=1000']
    with pytest.raises(KeyboardInterrupt):
        run(interrupted, *flags, '--config.train.phases=((900,32,16,5),(900,48,16,5))')
    out = capsys.readouterr().out
    assert '16 x 32' in out and 'hours at best' not in out


def test_fine_tuning_is_planned(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The number of its steps depends on the data, so only the time of a step is shown."""
    seen = list[Any]()

    def see(*arguments: Any) -> dict[str, Any]:
        seen.extend(arguments[1:3])
        return full_plan(*arguments)

    sizes = ['--config.data.max_seq_length=64', '--config.train.batch_size=16']
    assert run(see, '--config.model.vocab_size=1000', *sizes, config='finetune_squad') == 0
    task, phase = seen
    assert isinstance(task, QuestionAnsweringTask) and task.config.vocab_size == 1000
    assert (phase.max_seq_length, phase.batch_size) == (64, 16)
    shown = capsys.readouterr().out
    assert 'time   1,000.0 ms a step (16 x 64) at best; how many steps depends' in shown
    assert 'chip-hours' not in shown


def test_a_sweep(
    run: Callable[..., int], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, file = [], tmp_path / 'p.json'

    def count_saved(*arguments: Any) -> dict[str, Any]:
        saved.append(len(json.loads(file.read_text())) if file.exists() else 0)
        return fake_plan(*arguments)

    flags = ['--sweep', f'--output={file}', '--config.mesh.data=2', '--config.mesh.fsdp=2']
    assert run(count_saved, *flags, '--config.model.vocab_size=1000') == 0
    out, err = capsys.readouterr()
    assert saved == list(range(len(saved))), 'the file has all plans so far'
    plans = json.loads(file.read_text())
    last_rows = {(one['preset'], one['remat']): one['rows_per_device'] for one in plans}
    each = itertools.product(('dp', 'fsdp', 'fsdp_tp', 'config'), REMAT_POLICIES)
    assert last_rows == {(name, remat): 8 if name == 'fsdp_tp' else 32 for name, remat in each}
    assert len(plans) == 3 * (3 + 3 + 1 + 3) == err.count('\n')
    assert 'plan: fsdp, remat none, 16 on a device: 80 tokens/s\n' in err
    assert 'plan: fsdp_tp, remat full, 8 on a device: vocab does not divide\n' in err
    best = out.splitlines()[-1]
    assert 'best: fsdp, remat dots, 16 on a device: 240 tokens/s, 64 in all: --config.mesh' in best
    assert best.endswith('--config.mesh.fsdp=4 --config.mesh.tensor=1 --config.model.remat=dots')

    assert run(fake_plan, '--sweep', '--config.model.vocab_size=999') == 0
    rows = [line.split()[4] for line in capsys.readouterr().err.splitlines() if 'fsdp,' in line]
    assert rows == ['8', '4', '2'] * 3, 'halved until it fits'

    assert run(fake_plan, '--sweep', '--config.train.accum_steps=2') == 2
    out, err = capsys.readouterr()
    assert 'dp, remat none, 2 on a device: does not fit, 2 GiB over 16.00 GiB\n' in err
    assert 'config' not in err, "configs/tiny.py's own mesh is dp's"
    assert 'nothing fits; nearest is dp, remat none, 2 on a device: does not fit, 2 GiB' in out
    assert 'what helps most: --config.model.remat=full' in out.splitlines()[-1]

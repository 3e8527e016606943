"""The launch scripts for one machine, the installation, and a run in the background."""

import re

import pytest
from launch_checkout import BUCKET, ODD, ROOT, Checkout, split, until


@pytest.mark.parametrize(('script', 'extras'), [('gpu', 'gcs,hf,cuda'), ('tpu_vm', 'hf,tpu')])
def test_one_machine(checkout: Checkout, script: str, extras: str) -> None:
    shown = checkout.run(f'launch/{script}.sh', *ODD, '--dry_run')
    assert checkout.calls('python') == []
    lines = split(shown.stdout)
    assert checkout.run(f'launch/{script}.sh', *ODD).returncode == 0
    pip, main = checkout.calls('python')
    assert [['python', *w[1:]] for w in lines if w[0].endswith('python')] == [pip, main]
    assert pip[-1] == f'.[data,finetune,{extras}]'
    assert main == ['python', '-m', 'bert_jax.main', '--config=configs/tiny.py', *ODD]
    assert checkout.seen('python')['GLIBC_TUNABLES'] == ''
    checkout.run(f'launch/{script}.sh', INSTALL='no')
    assert len(checkout.calls('python')) == 3


def test_what_config_may_name(checkout: Checkout) -> None:
    own = checkout.folder / 'my own.py'
    for path in (own, checkout.root / 'configs' / 'large.py'):
        path.parent.mkdir(exist_ok=True)
        path.write_text('')
    pod = ('launch/tpu_pod.sh', 'start', 'pod', '--zone=z', '--dry_run', '--', BUCKET)
    for command in ['launch/gpu.sh', '--dry-run'], pod:
        for config in ('large', 'configs/large.py', str(own), f'{own}:mrpc', 'large:mrpc'):
            shown = checkout.run(*command, CONFIG=config)
            assert shown.returncode == 0, shown.stderr
            assert config in shown.stdout
    for command in ['launch/gpu.sh'], ['bash', 'launch/slurm.sbatch'], pod:
        for config in ('configs/nowhere.py', 'larg'):
            done = checkout.run(*command, CONFIG=config)
            assert done.returncode == 2 and done.stderr.count('\n') == 1
            assert f': CONFIG={config} is neither a file' in done.stderr and 'large' in done.stderr
    assert checkout.run(*pod[:1], 'status', *pod[2:4], CONFIG='nowhere').returncode == 0


@pytest.mark.parametrize(
    ('environment', 'words'),
    [
        ({'INSTALL': 'no', 'VENV': 'my venv'}, 'INSTALL=only ./launch/gpu.sh'),
        ({'INSTALL': 'none'}, 'INSTALL=none is not known'),
        ({'PYTHON': '/no/python', 'VENV': 'new'}, 'PYTHON=/no/python is not a program'),
    ],
)
def test_an_environment_that_cannot_be_used(
    checkout: Checkout, environment: dict[str, str], words: str
) -> None:
    done = checkout.run('launch/gpu.sh', **environment)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith('gpu.sh: ') and words in done.stderr
    assert checkout.calls('python', 'python3') == []


def test_the_first_run_says_its_stages(checkout: Checkout) -> None:
    done = checkout.run('launch/local.sh')
    assert done.returncode == 0
    (installing, training) = done.stderr.splitlines()
    assert installing.startswith('local.sh: installing bert_jax and its libraries into ')
    assert training.startswith('local.sh: training configs/code.py; ')
    (pip, main) = checkout.calls('python')
    assert pip[-1] == '.[data,finetune,hf,plot]' and '--config=configs/code.py' in main
    assert checkout.run('launch/local.sh', '--dry_run').stderr == ''


def test_which_tests_run(checkout: Checkout) -> None:
    pytest_here = ['python', '-m', 'pytest', '-n', '2', '--dist', 'worksteal']
    for argv, chosen in {
        (): ['-m', 'not slow'],
        ('tests/data',): ['-m', 'not slow', 'tests/data'],
        ('--all',): [],
        ('tests/data', '--all', '-x'): ['tests/data', '-x'],
    }.items():
        checkout.answer()
        assert checkout.run('launch/test.sh', *argv, INSTALL='no').returncode == 0
        assert checkout.calls('python') == [[*pytest_here, *chosen]]


@pytest.mark.parametrize('script', ['local', 'test', 'gpu', 'tpu_vm'])
def test_a_dry_run_makes_nothing(checkout: Checkout, script: str) -> None:
    before = sorted(checkout.root.rglob('*'))
    shown = checkout.run(f'launch/{script}.sh', '--dry_run', VENV='new')
    assert 'python3 -m venv new\nnew/bin/python -m pip install' in shown.stdout
    checkout.answer(python3=['exit 1'])  # older than 3.11
    shown = checkout.run(f'launch/{script}.sh', '--dry_run', VENV='new')
    if script == 'tpu_vm':
        assert 'python3 -m uv venv --quiet --seed --python=3.12 new\n' in shown.stdout
    else:
        assert shown.returncode == 2 and 'set PYTHON=' in shown.stderr
    assert sorted(checkout.root.rglob('*')) == before


def test_what_one_python_has_pinned_the_other_has_too() -> None:
    pinned = (ROOT / 'launch/constraints.txt').read_text()
    older, newer = (set(re.findall(rf'(.*)==.*; python_version {of}', pinned)) for of in '<>')
    assert older == newer and {'jax', 'libtpu'} <= older


def test_a_run_in_the_background(checkout: Checkout) -> None:
    def state() -> str:
        return checkout.run('launch/background.sh', 'state').stdout.strip()

    def start(command: str) -> int:
        return checkout.run('launch/background.sh', 'start', 'bash', '-c', command).returncode

    assert state() == 'run: none'
    assert start('echo said; exit 3') == 0
    until(lambda: state() == 'run: exit 3')
    assert (checkout.root / 'runs' / 'run.log').read_text() == 'said\n'
    assert start('trap "exit 143" TERM; while true; do sleep 0.1; done') == 0
    assert state() == 'run: running' and start('true') == 2
    assert checkout.run('launch/background.sh', 'stop').returncode == 0
    assert state() == 'run: stopped'
    assert start('kill -KILL $PPID $$') == 0  # as a machine that is restarted does
    until(lambda: state() == 'run: lost')
    setsid = checkout.folder / 'bin/setsid'
    setsid.write_text('#!/bin/sh\nexit 7\n')
    setsid.chmod(0o755)
    assert start('true') == 1 and state() == 'run: none'

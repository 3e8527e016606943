"""The help of the launch scripts, and the script for TPU pods, without a cloud.

Programs that record their arguments replace gcloud and other commands.
"""

import pathlib
import shutil
import sys

import pytest
from launch_checkout import BUCKET, LOCATION, ODD, ROOT, Checkout, execute, split, until

SCRIPTS = sorted([*ROOT.glob('launch/*.sh'), *ROOT.glob('launch/*.sbatch'), ROOT / '.ci' / 'run'])
SHELLCHECK = shutil.which('shellcheck', path=f'{pathlib.Path(sys.executable).parent}:/usr/bin')
COMMANDS = ['create', 'install', 'start', 'logs', 'status', 'stop', 'delete']


@pytest.mark.skipif(not SHELLCHECK, reason='shellcheck is not installed')
def test_shellcheck() -> None:
    done = execute([str(SHELLCHECK), '--external-sources', *map(str, SCRIPTS)], ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize('script', sorted(path.name for path in SCRIPTS if path.suffix))
def test_help_explains_a_script_and_does_nothing(checkout: Checkout, script: str) -> None:
    """It does not look at CONFIG either."""
    before = sorted(checkout.root.rglob('*'))
    lines = (checkout.root / 'launch' / script).read_text().splitlines()[1:]
    comment = [line for line in lines if line.startswith('# ')]
    behind = [] if script == 'background.sh' else [['start', 'pod', '-h']]
    for flags in ['--help'], ['-h'], *behind:
        done = checkout.run('bash', f'launch/{script}', *flags, CONFIG='nowhere', VENV='new')
        assert done.returncode == 0 and done.stderr == '', done.stderr
        first, *others = done.stdout.splitlines()
        assert first == comment[0].removeprefix('# ') and len(others) >= 4
        assert not any('SBATCH' in line or line.startswith('set ') for line in others)
        assert max(map(len, others)) <= 100
    assert sorted(checkout.root.rglob('*')) == before
    assert checkout.lines() == []


CREATED = {
    '--spot': ['tpu-vm', '--version=v2-alpha-tpuv5-lite', '--spot'],
    '--type=v6e-8': ['tpu-vm', '--version=v2-alpha-tpuv6e'],
    '--type=v5p-8': ['tpu-vm', '--version=v2-alpha-tpuv5'],
    '--type=v4-8': ['tpu-vm', '--version=tpu-ubuntu2204-base'],
    '--type=v4-8 --version=v2-x': ['tpu-vm', '--version=v2-x'],
    '--type=v5e-64': ['tpu-vm', '--version=v2-alpha-tpuv5-lite'],
    '--queue': ['queued-resources', '--node-id=pod', '--runtime-version=v2-alpha-tpuv5-lite'],
    '--slices=4 --spot': [
        *('queued-resources', '--node-count=4', '--node-prefix=pod'),
        *('--runtime-version=v2-alpha-tpuv5-lite', '--spot'),
    ],
}


@pytest.mark.parametrize('flags', CREATED)
def test_create(checkout: Checkout, flags: str) -> None:
    assert checkout.pod('create', *flags.split()).returncode == 0
    kind, *rest = CREATED[flags]
    size = flags.split()[0].removeprefix('--type=') if '--type' in flags else 'v5litepod-256'
    size = size.replace('v5e', 'v5litepod')
    words = ['gcloud', 'compute', 'tpus', kind, 'create', 'pod', *LOCATION]
    assert checkout.calls('gcloud') == [[*words, f'--accelerator-type={size}', *rest]]


@pytest.mark.parametrize('flags', [[], ['--slices=2']])
@pytest.mark.parametrize('command', COMMANDS)
def test_a_dry_run_says_what_a_real_one_does(
    checkout: Checkout, command: str, flags: list[str]
) -> None:
    main = ['--', BUCKET, *ODD] if command == 'start' else []
    assert checkout.pod(command, *flags, *main).returncode == 0
    done = checkout.calls('gcloud')
    checkout.answer()
    shown = checkout.pod(command, *flags, '--dry_run', *main)
    assert [words for words in split(shown.stdout) if words[0] == 'gcloud'] == done != []
    assert checkout.calls('gcloud') == []
    everywhere = command in ('install', 'start', 'stop')
    for call in done:
        assert set(LOCATION) <= set(call)
        assert ('--worker=all' in call) == everywhere
        assert ('--node=all' in call) == (everywhere and bool(flags))


def test_a_dry_watch_shows_one_round(checkout: Checkout) -> None:
    shown = checkout.pod('watch', '--dry_run', '--', BUCKET)
    assert shown.returncode == 0
    calls = [words for words in split(shown.stdout) if words[0] == 'gcloud']
    verbs = ['describe', 'ssh', 'delete', 'create', 'scp', 'ssh', 'ssh']
    assert [next(verb for verb in verbs if verb in call) for call in calls] == verbs
    assert BUCKET in calls[-1][-1], 'the run'
    assert checkout.calls('gcloud') == []


@pytest.mark.parametrize(
    ('flags', 'options'),
    [([], '-n 100'), (['--follow', '--lines=5'], '-n 5 -F'), (['--lines=+1', '--all'], '-n +1')],
)
def test_logs(checkout: Checkout, flags: list[str], options: str) -> None:
    assert checkout.pod('logs', *flags).returncode == 0
    (call,) = checkout.calls('gcloud')
    assert call[-1] == f'--command=tail {options} bert_jax/runs/run.log'
    assert ('--worker=all' in call) == ('--all' in flags)


def test_start_hands_main_its_arguments(checkout: Checkout) -> None:
    """The shell of a worker parses the command that gcloud receives into the same arguments."""
    odd = checkout.folder / 'my own.py'
    odd.write_text('')
    checkout.pod('start', '--', BUCKET, *ODD, CONFIG=str(odd))
    (call,) = checkout.calls('gcloud')
    command = call[-1].removeprefix('--command=')
    worker = checkout.folder / 'worker' / 'bert_jax'
    shutil.copytree(ROOT / 'launch', worker / 'launch')
    (worker / 'launch' / 'tpu_vm.sh').write_text(
        '#!/usr/bin/env bash\nprintf "%s\\n" "$INSTALL" "$CONFIG" "$@" >got\n'
    )
    assert execute(['bash', '-c', command], worker.parent).returncode == 0
    until((worker / 'runs' / 'run.exit').exists)
    got = (worker / 'got').read_text().splitlines()
    assert got == ['no', str(odd), '--distributed', BUCKET, *ODD]


def test_watch_goes_on_after_a_preemption(checkout: Checkout) -> None:
    checkout.answer(
        describe=['READY', 'PREEMPTED', 'gone', 'CREATING', 'READY', 'exit 1', 'READY'],
        state=['running', 'none', 'running', 'exit 0'],
    )
    done = checkout.pod('watch', '--spot', '--', BUCKET, *ODD)
    assert done.returncode == 0, done.stderr
    assert checkout.actions() == ['delete', 'create', 'install', 'start']
    calls = {call[4]: call for call in checkout.calls('gcloud') if 'state' not in call[-1]}
    assert {'--spot', '--accelerator-type=v5litepod-256', *LOCATION} <= set(calls['create'])
    assert calls['scp'][5:7] == ['runs/pod.tar.gz', 'pod:bert_jax.tar.gz']
    checkout.answer()
    checkout.pod('start', '--', BUCKET, *ODD)
    assert checkout.calls('gcloud') == [calls['ssh']]
    assert 'pod is PREEMPTED' in done.stderr and 'pod is READY, the run: exit 0' in done.stderr


def test_watch_queues_again_and_does_not_give_up_at_once(checkout: Checkout) -> None:
    waiting = ['gone', 'gone', 'WAITING_FOR_RESOURCES', 'ACTIVE']
    checkout.answer(
        describe=[*waiting, 'SUSPENDING', 'SUSPENDED', *waiting],
        state=['none', 'none', 'none', 'exit 0'],
        create=['exit 1', ''],
        scp=['', 'exit 255', ''],
    )
    done = checkout.pod('watch', '--slices=2', '--', BUCKET)
    assert done.returncode == 0, done.stderr
    made = ['create', 'create', 'install', 'start']
    assert checkout.actions() == [*made, 'delete', *made]
    assert all(call[3] == 'queued-resources' for call in checkout.calls('gcloud'))
    assert [c[-1] for c in checkout.calls('gcloud') if c[4] == 'delete'] == ['--force']


@pytest.mark.parametrize(
    ('states', 'code', 'restarts'),
    [
        (['exit 2'], 2, 0),  # a mistake stays one
        (['exit 3'], 3, 0),
        (['stopped'], 143, 0),
        (['exit 143', 'running', 'lost', 'exit 0'], 0, 2),  # saved; the machine was restarted
        (['exit 1', 'exit 134', 'exit 0'], 0, 2),
        (['exit 1'], 1, 2),  # and given up
        (['exit 1', *['running'] * 5] * 3, 1, 2),
        (['exit 1', 'exit 1', *['running'] * 60, 'exit 1', 'exit 1', 'exit 0'], 0, 4),
    ],
)
def test_watch_on_a_tpu_that_stays(
    checkout: Checkout, states: list[str], code: int, restarts: int
) -> None:
    checkout.answer(describe=['READY'], state=states)
    done = checkout.pod('watch', '--', BUCKET)
    assert done.returncode == code, done.stderr
    assert checkout.actions() == ['restart'] * restarts


MISTAKES = {
    '': "unknown command ''",
    'make pod': "unknown command 'make'",
    'create --zone=z': "'create' is not followed by the TPU's name",
    'create pod': '--zone is missing',
    'create pod --zone=z': '--type is missing',
    'create pod --zone=z --type=v9-8': '--type=v9-8 is not known',
    'create pod --zone z': '--zone has no value; write --zone=z',
    'logs pod --zone=z --lines': '--lines has no value; write --lines=VALUE',
    'create pod --zone=z --type=v4-8 --slices=two': "not 'two'",
    'create pod --zone=z --size=8': "unknown flag '--size=8'",
    'logs pod --zone=z --lines=all': "+1 for all, not 'all'",
    'create pod --zone=z --type=v4-8 -- --workdir=gs://b/r': 'takes no arguments of bert_jax train',
    'start pod --zone=z': "--workdir=''",
    'start pod --zone=z -- --workdir=runs/here': "--workdir='runs/here'",
    'watch pod --zone=z --type=v4-8 -- --workdir=/nfs/run': "--workdir='/nfs/run'",
}


@pytest.mark.parametrize('words', MISTAKES)
def test_a_mistake_is_named_in_one_line(checkout: Checkout, words: str) -> None:
    done = checkout.run('launch/tpu_pod.sh', *words.split())
    assert done.returncode == 2
    assert MISTAKES[words] in done.stderr and done.stderr.count('\n') == 1
    assert checkout.calls('gcloud') == []

"""The launch script of Slurm."""

import re

import pytest
from launch_checkout import ODD, ROOT, Checkout, split


@pytest.mark.parametrize(('code', 'requeued'), [(0, False), (143, True), (2, False)])
def test_slurm(checkout: Checkout, code: int, requeued: bool) -> None:
    checkout.answer(srun=[f'exit {code}'])
    job = {'SLURM_JOB_ID': '7', 'SLURM_GPUS_ON_NODE': '4'}
    assert checkout.run('bash', 'launch/slurm.sbatch', *ODD, **job).returncode == code
    step = ['srun', '--kill-on-bad-exit=0', '--cpu-bind=none', './launch/gpu.sh', '--distributed']
    step += ODD
    requeue = ['scontrol', 'requeue', 'incomplete', '7']
    assert checkout.calls('srun', 'scontrol') == [step, *[requeue] * requeued]
    seen = checkout.seen('srun')
    assert (seen['JAX_LOCAL_DEVICE_IDS'], seen['INSTALL']) == ('0,1,2,3', 'no')
    checkout.answer()
    shown = checkout.run('bash', 'launch/slurm.sbatch', '--dry_run', *ODD, **job)
    assert split(shown.stdout)[-2:] == [step, requeue]
    assert checkout.calls('srun', 'scontrol') == []


def test_slurm_gives_all_of_a_node() -> None:
    """Its defaults are a CPU for a process and a part of the memory."""
    options = re.findall(r'^#SBATCH --(\S+)$', (ROOT / 'launch/slurm.sbatch').read_text(), re.M)
    assert {'exclusive', 'mem=0', 'ntasks-per-node=1', 'gpus-per-node=8'} <= {*options}


def test_slurm_without_slurm(checkout: Checkout) -> None:
    (checkout.folder / 'bin' / 'srun').unlink()
    done = checkout.run('bash', 'launch/slurm.sbatch')
    assert done.returncode == 2
    assert done.stderr == (
        'slurm.sbatch: srun does not exist here; on a Slurm cluster, type: '
        'sbatch launch/slurm.sbatch ...\n'
    )


def test_slurm_from_elsewhere(checkout: Checkout) -> None:
    done = checkout.run('bash', '-c', 'cd launch && bash slurm.sbatch')
    assert done.returncode == 2 and 'is not the checkout' in done.stderr

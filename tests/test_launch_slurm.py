"""The launch script of Slurm."""

import re

import pytest
from launch_desk import ODD, ROOT, Desk, split


@pytest.mark.parametrize(('code', 'requeued'), [(0, False), (143, True), (2, False)])
def test_slurm(desk: Desk, code: int, requeued: bool) -> None:
    desk.answer(srun=[f'exit {code}'])
    job = {'SLURM_JOB_ID': '7', 'SLURM_GPUS_ON_NODE': '4'}
    assert desk.run('bash', 'launch/slurm.sbatch', *ODD, **job).returncode == code
    step = ['srun', '--kill-on-bad-exit=0', '--cpu-bind=none', './launch/gpu.sh', '--distributed']
    step += ODD
    requeue = ['scontrol', 'requeue', 'incomplete', '7']
    assert desk.calls('srun', 'scontrol') == [step, *[requeue] * requeued]
    seen = desk.seen('srun')
    assert (seen['JAX_LOCAL_DEVICE_IDS'], seen['INSTALL']) == ('0,1,2,3', 'no')
    desk.answer()
    shown = desk.run('bash', 'launch/slurm.sbatch', '--dry_run', *ODD, **job)
    assert split(shown.stdout)[-2:] == [step, requeue]
    assert desk.calls('srun', 'scontrol') == []


def test_slurm_gives_all_of_a_node() -> None:
    """Its defaults are a CPU for a process and a part of the memory."""
    options = re.findall(r'^#SBATCH --(\S+)$', (ROOT / 'launch/slurm.sbatch').read_text(), re.M)
    assert {'exclusive', 'mem=0', 'ntasks-per-node=1', 'gpus-per-node=8'} <= {*options}


def test_slurm_without_slurm(desk: Desk) -> None:
    (desk.folder / 'bin' / 'srun').unlink()
    done = desk.run('bash', 'launch/slurm.sbatch')
    assert done.returncode == 2
    assert done.stderr == (
        'slurm.sbatch: srun does not exist here; on a Slurm cluster, type: '
        'sbatch launch/slurm.sbatch ...\n'
    )


def test_slurm_from_elsewhere(desk: Desk) -> None:
    done = desk.run('bash', '-c', 'cd launch && bash slurm.sbatch')
    assert done.returncode == 2 and 'is not the checkout' in done.stderr

"""Real runs that go on with other processes, devices and meshes than they were begun with.

PYTHONPATH=tests python tests/training/test_elastic.py
    prints the matrix: the largest difference of a loss
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

import pytest
import small_run
from small_hosts import DEVICES, Hosts

STEPS = 5  # before the checkpoint, and after it


class Place(NamedTuple):
    """One process with `devices`, or two with DEVICES each; the sizes of the mesh."""

    devices: int
    data: int
    fsdp: int
    tensor: int
    processes: int = 1


ONE = Place(1, 1, 1, 1)
TWO = Place(2 * DEVICES, 1, 8, 1, processes=2)
FROM = {
    'dp: data 8': Place(8, 8, 1, 1),
    'fsdp: fsdp 8': Place(8, 1, 8, 1),
    'fsdp_tp: fsdp 4, tensor 2': Place(8, 1, 4, 2),
    'fsdp 8, two processes': TWO,
}
TO = {
    'data 2, fsdp 2, tensor 2': Place(8, 2, 2, 2),
    'fsdp 2, tensor 2 (4 devices)': Place(4, 1, 2, 2),
    '1 device': ONE,
    'fsdp 8, two processes': TWO,
    'fsdp 4, tensor 2, two processes': Place(2 * DEVICES, 1, 4, 2, processes=2),
}


def train(folder: pathlib.Path, workdir: pathlib.Path, place: Place, steps: int) -> str:
    """Trains to step `steps` on the devices of `place`; returns the output."""
    flags = {f'mesh__{axis}': getattr(place, axis) for axis in ('data', 'fsdp', 'tensor')}
    flags |= {'train__phases': '((6000,32,16,5),)', 'train__num_steps': steps}
    flags |= {'data__pad_vocab_to_multiple_of': 2, 'eval__max_batches': 1}
    if place.processes == 2:
        hosts = Hosts(folder, workdir, **flags)
        assert hosts.wait() == [0, 0], hosts.output()
        return hosts.output()
    done = subprocess.run(
        small_run.command(folder, workdir, **flags),
        env=small_run.environment(place.devices),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def losses(workdir: pathlib.Path) -> list[float]:
    lines = [line for line in small_run.numbers(workdir) if line['split'] == 'train']
    assert [line['step'] for line in lines] == list(range(1, 2 * STEPS + 1))
    return [line['loss'] for line in lines]


def difference(folder: pathlib.Path, source: str, target: str) -> float:
    """Returns the difference between the losses after the checkpoint and those of a run on one
    device that never stopped. A run that was begun in `folder` is not begun again."""
    if not (folder / 'never').exists():
        small_run.write_corpus(folder)
        train(folder, folder / 'never', ONE, 2 * STEPS)
    if not (begun := folder / f'from-{list(FROM).index(source)}').exists():
        train(folder, begun, FROM[source], STEPS)
    workdir = folder / f'{begun.name}-to-{list(TO).index(target)}'
    shutil.copytree(begun, workdir)
    assert f'continuing from step {STEPS} ' in train(folder, workdir, TO[target], 2 * STEPS)
    never, found = losses(folder / 'never'), losses(workdir)
    assert never[STEPS] < never[0] - 0.01, 'what was restored had learned something'
    return max(abs(a - b) for a, b in zip(found[STEPS:], never[STEPS:], strict=True))


# From each mesh, and to each mesh, a run changes at least once. The script has all pairs.
CHANGES = [
    ('dp: data 8', 'fsdp 8, two processes'),
    ('fsdp: fsdp 8', 'fsdp 2, tensor 2 (4 devices)'),
    ('fsdp_tp: fsdp 4, tensor 2', '1 device'),
    ('fsdp 8, two processes', 'data 2, fsdp 2, tensor 2'),
    ('fsdp 8, two processes', 'fsdp 4, tensor 2, two processes'),
]


@pytest.mark.slow
@pytest.mark.skipif(
    small_run.QUICK, reason='test_checkpoint, test_hosts and test_bucket have parts'
)
def test_goes_on_elsewhere(tmp_path: pathlib.Path) -> None:
    assert tuple({*names} for names in zip(*CHANGES, strict=True)) == ({*FROM}, {*TO})
    for source, target in CHANGES:
        assert difference(tmp_path, source, target) < 5e-6, (source, target)


if __name__ == '__main__':
    os.environ['JAX_PLATFORMS'] = 'cpu'
    print(f'| from, to | {" | ".join(TO)} |\n{"|---" * (len(TO) + 1)}|')
    with tempfile.TemporaryDirectory() as temporary:
        for begun in FROM:
            row = (f'{difference(pathlib.Path(temporary), begun, end):.1e}' for end in TO)
            print(f'| {begun} | {" | ".join(row)} |', flush=True)
    sys.exit()

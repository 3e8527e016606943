"""A real disk that fills up while a run saves: one line, and the checkpoints so far are whole."""

import pathlib
import shutil
import subprocess

import pytest
import small_run

SCRIPT = (
    'mount -t tmpfs -o size=900k tmpfs "$0" && "$@"; code=$?; ls "$0/run/checkpoints"; exit $code'
)


def can_mount() -> bool:
    """Returns whether this user may mount a small disk that no other process sees."""
    if small_run.QUICK or not shutil.which('unshare'):
        return False
    command = ['unshare', '-rm', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason='mounts no disk here, or in a hurry')
def test_a_disk_that_fills_up(tmp_path: pathlib.Path) -> None:
    small_run.write_corpus(tmp_path)
    disk = tmp_path / 'disk'
    disk.mkdir()
    flags = {'train__phases': '((400,32,8,5),)', 'train__checkpoint_every': 5, 'train__keep': 99}
    command = small_run.command(tmp_path, disk / 'run', **flags)
    done = subprocess.run(
        ['unshare', '-rm', 'sh', '-c', SCRIPT, str(disk), *command],
        env=small_run.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert 'Traceback' not in done.stderr and 'raised an exception' not in done.stderr
    steps = [int(name) for name in done.stdout.split() if name.isdigit()]
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f'bert_jax: no space is left for {disk / "run"}; the checkpoints up to')
    assert f' step {max(steps)} are complete. Make room' in last

"""Real runs that are killed: when they continue, they end with the bits of a run never killed.

`pytest -s tests/training/test_kill.py` prints the log of the kills.
"""

import dataclasses
import pathlib
import random
import subprocess
import tempfile
import time
from collections.abc import Callable

import pytest
import small_run

BOUNDARY, STEPS, EVERY = 130, 200, 40
FLAGS = {
    'train__phases': '((130,32,8,5),(70,48,8,7))',
    'train__checkpoint_every': EVERY,
    'train__eval_every': 50,
}


@dataclasses.dataclass(frozen=True)
class Kill:
    moment: str  # in words
    began: int  # step the killed process had started from
    reached: int  # step of the last line it wrote
    saved: int  # newest checkpoint it left
    saving: bool  # whether it left a checkpoint half written

    def __str__(self) -> str:
        half = ', another half written' if self.saving else ''
        return (
            f'SIGKILL {self.moment:24} from step {self.began:3}, at step {self.reached:3}; '
            f'newest checkpoint {self.saved:3}{half}'
        )


def kill_and_go_on(folder: pathlib.Path, seed: int) -> list[Kill]:
    """Runs one workdir through to the end with its kills, another without; leaves both."""
    small_run.write_corpus(folder)
    workdir, rng = folder / 'killed', random.Random(seed)

    def reached() -> int:
        lines = small_run.metrics(workdir)
        return lines[-1]['step'] if lines else 0

    def after_step(low: int, high: int) -> tuple[str, Callable[[], bool]]:
        step = rng.randint(low, high)
        return f'after step {step}', lambda: reached() >= step

    def in_save(step: int) -> tuple[str, Callable[[], bool]]:
        pattern = f'checkpoints/{step}.orbax-checkpoint-tmp*'
        return f'in the save of step {step}', lambda: any(workdir.glob(pattern))

    whole = small_run.start(folder, folder / 'whole', stdout=subprocess.DEVNULL, **FLAGS)
    delay = rng.uniform(1.0, 5.0)
    begin = time.monotonic()
    moments = [
        (f'{delay:.1f} s after its start', lambda: time.monotonic() - begin > delay),
        after_step(5, EVERY - 2),  # nothing saved yet
        in_save(EVERY),
        after_step(BOUNDARY + 1, BOUNDARY + 10),  # continues from the phase before
        in_save(4 * EVERY),
    ]
    if small_run.QUICK:
        moments = moments[4:]
    kills = []
    for moment, come in moments:
        began = max(small_run.saved_steps(workdir), default=0)
        with _running(folder, workdir) as process:
            while not come():
                assert process.poll() is None, f'ended before it was killed, {moment}'
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.02))
            process.kill()
        half = any((workdir / 'checkpoints').glob('*.orbax-checkpoint-tmp*'))
        saved = max(small_run.saved_steps(workdir), default=0)
        kills.append(Kill(moment, began, reached(), saved, half))
        print(kills[-1], flush=True)
    code, output = small_run.finish(folder, workdir, **FLAGS)
    assert code == 0, output
    assert whole.wait(timeout=300) == 0
    return kills


class _running:
    """A process that is gone, with whatever it wrote, when the block is left."""

    def __init__(self, folder: pathlib.Path, workdir: pathlib.Path):
        self._process = small_run.start(folder, workdir, stdout=subprocess.DEVNULL, **FLAGS)

    def __enter__(self) -> subprocess.Popen:
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def compare(folder: pathlib.Path) -> str:
    """Raises AssertionError where the two runs of `folder` differ."""
    killed, whole = folder / 'killed', folder / 'whole'
    lines = small_run.numbers(killed)
    keys = [(line['step'], line['split']) for line in lines]
    assert [key for key in keys if key[1] == 'train'] == [
        (step, 'train') for step in range(1, STEPS + 1)
    ]
    assert [key for key in keys if key[1] == 'eval'] == [
        (step, 'eval') for step in range(50, STEPS + 1, 50)
    ]
    arrays = small_run.same_bits(killed, whole, STEPS)
    return (
        f'the same as a run never killed: {len(lines)} lines of metrics.jsonl, '
        f'{arrays} arrays of the last checkpoint, bit for bit'
    )


@pytest.mark.slow
def test_killed_run_ends_with_the_same_bits(tmp_path: pathlib.Path) -> None:
    kills = kill_and_go_on(tmp_path, seed=1)
    print(compare(tmp_path))
    assert len(kills) == (1 if small_run.QUICK else 5)
    assert any(k.saved < BOUNDARY < k.reached for k in kills), 'none across the phase boundary'
    assert any(k.saving for k in kills), 'none in the middle of a save'
    if not small_run.QUICK:
        assert any(k.began for k in kills), 'none that had gone on from a checkpoint'
    assert not any((tmp_path / 'killed/checkpoints').glob('*.orbax-checkpoint-tmp*'))


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as name:
        kill_and_go_on(pathlib.Path(name), seed=int(time.time()))
        print(compare(pathlib.Path(name)))

"""A checkpoint of one mesh goes on under every other, with the losses of a run that never stopped.

python tests/test_elastic.py      prints the matrix: the largest difference of a loss
"""

import functools
import os
import pathlib
import sys
import tempfile

if __name__ == '__main__':
    os.environ.setdefault('XLA_FLAGS', '--xla_force_host_platform_device_count=8')

import numpy as np
import pytest
import small_run
from tiny_model import TINY, run_steps

from bert_jax import sharding
from bert_jax.checkpoint import Checkpoints
from bert_jax.config import MeshConfig

STEPS = 5  # before the checkpoint, and after it
FROM = sharding.PRESETS  # eight devices
TO = {
    '8 data x fsdp x tensor': MeshConfig(2, 2, 2),
    '4 fsdp x tensor': MeshConfig(1, 2, 2),
    '1': MeshConfig(1, 1, 1),
}


@functools.cache
def never_stopped() -> list[float]:
    return run_steps(TINY, MeshConfig(1, 1, 1), 2 * STEPS)[0]


@functools.cache
def saved(source: str) -> pathlib.Path:
    workdir = pathlib.Path(tempfile.mkdtemp(prefix='bert_jax_elastic_'))
    checkpoints = Checkpoints(workdir, 1)
    checkpoints.save(STEPS, run_steps(TINY, FROM[source], STEPS)[1])
    checkpoints.close()
    return workdir


def difference(source: str, target: str) -> float:
    """The largest of the steps after the checkpoint."""
    checkpoints = Checkpoints(saved(source), 1)
    losses, state = run_steps(TINY, TO[target], STEPS, checkpoints.restore)
    checkpoints.close()
    assert int(state.step) == 2 * STEPS
    return float(np.abs(np.subtract(losses, never_stopped()[STEPS:])).max())


# The script has all pairs.
@pytest.mark.skipif(small_run.QUICK, reason='test_sharding and test_checkpoint have the parts')
@pytest.mark.parametrize(('source', 'target'), zip(FROM, TO, strict=True))
def test_goes_on_elsewhere(source: str, target: str) -> None:
    assert difference(source, target) < 5e-6
    losses = never_stopped()
    assert losses[STEPS] < losses[0] - 0.05, 'what was restored had learned something'


if __name__ == '__main__':
    print(f'| from 8 devices, to | {" | ".join(FROM)} |\n{"|---" * (len(FROM) + 1)}|')
    for target in TO:
        row = ' | '.join(f'{difference(source, target):.1e}' for source in FROM)
        print(f'| {target} | {row} |')
    sys.exit()

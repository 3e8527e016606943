"""A signal to one of two processes, or to both, stops all of them at the same batch."""

import pathlib
import sys

import pytest
import small_run
from small_hosts import Hosts

# Trains on synthetic batches; some of the processes send themselves a signal at a batch of `place`.
SIGNALLED = """
import os, pathlib, signal, sys, time
from absl import flags
from bert_jax.parallel import distributed
_, workdir, name, place, processes = flags.FLAGS(sys.argv)
distributed.join()
import jax
import small_loop
from bert_jax.config.errors import Interrupted
from bert_jax.parallel.signals import Stopper

evaluations = 0

def interrupt():
    if str(jax.process_index()) in processes:
        os.kill(os.getpid(), getattr(signal, name))

def trained(k, batch):
    if place == 'training' and k == 2:
        interrupt()
    if place == 'training':
        time.sleep(0.3)

def evaluated(i):
    global evaluations
    evaluations += i == 0
    if i == 2 and evaluations == {'evaluation': 1, 'last evaluation': 2}.get(place):
        interrupt()
    time.sleep(0.2 * (place != 'nowhere'))

config = small_loop.configured(num_steps=6 if place != 'training' else 0, checkpoint_every=99)
run = {'change': trained, 'evaluated': evaluated, 'eval_steps': 20}
try:
    with Stopper() as stopper:
        for seed in range(2):
            small_loop.run(pathlib.Path(workdir) / str(seed), config, stopper=stopper, **run)
except Interrupted as stopped:
    print(stopped, flush=True)
    sys.exit(128 + stopped.number)
"""
SIGNALS = [
    ('SIGINT', 'evaluation', '0'),
    ('SIGINT', 'evaluation', '01'),
    ('SIGTERM', 'evaluation', '1'),
    ('SIGINT', 'training', '01'),
    ('SIGTERM', 'training', '01'),
    ('SIGINT', 'last evaluation', '1'),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'place', 'processes'), SIGNALS[:1] if small_run.QUICK else SIGNALS
)
def test_a_signal_to_some_stops_all_at_the_same_batch(
    tmp_path: pathlib.Path, name: str, place: str, processes: str
) -> None:
    """The signal goes to one of two processes, or to both, as from one terminal."""
    command = [sys.executable, '-c', SIGNALLED, str(tmp_path / 'run'), name, place, processes]
    path = f'{small_run.ROOT}:{small_run.ROOT / "tests"}'
    hosts = Hosts(tmp_path, tmp_path / 'run', command=command, environment={'PYTHONPATH': path})
    assert hosts.wait() == [143, 143], hosts.output()
    first = tmp_path / 'run' / '0'
    steps, evals = small_run.saved_steps(first), {}
    for line in small_run.metrics(first):
        evals[line['step']] = evals.get(line['step'], False) or line['split'] == 'eval'
    said = [log.read_text() for log in hosts.logs]
    if place == 'last evaluation':  # the next run does not begin
        assert evals[6] and steps[-1] == 6 and not small_run.saved_steps(tmp_path / 'run' / '1')
        assert all('stopped before step 1 of 6' in text for text in said), said
    else:
        step = max(evals)
        assert step < 10 and steps[-1] == step and not evals[step], evals
        assert all(f'saved at step {step} of ' in text for text in said), said
        assert place != 'evaluation' or step == 5
    if (place, processes) == (
        'evaluation',
        '0',
    ) and not small_run.QUICK:  # the processes that resume evaluate first
        command[command.index(place)] = 'nowhere'
        hosts = Hosts(tmp_path, tmp_path / 'run', command=command, environment={'PYTHONPATH': path})
        assert hosts.wait() == [0, 0], hosts.output()
        lines = [(line['step'], line['split']) for line in small_run.metrics(first)]
        assert (5, 'eval') in lines and lines[-1] == (6, 'eval')

"""Plans a run on a TPU slice: compiles its training step, without a TPU, and estimates its time.

    python -m bert_jax.plan --config=configs/large.py --topology=v5e-256
    python -m bert_jax.plan --config=configs/large.py --topology=v5p:4x4x4 --sweep --output=p.json

It needs only the compiler for TPUs (`pip install '.[tpu]'`). Memory is what the compiler reports.
Times are a roofline model: the times of computing, of memory traffic and of sending are computed
from the peak numbers of the chip. They are assumed to overlap fully, so the longest of them counts.
The time of synchronous collectives, during which a chip does nothing else, is added. This is a
lower bound: the steps of a run take longer.
"""

import os
import sys
from typing import Any

os.environ['JAX_PLATFORMS'] = 'cpu'  # before JAX looks for a TPU

from absl import flags
from rich.console import Console

from bert_jax.config import command_line
from bert_jax.config.console import say
from bert_jax.performance import topologies

TOPOLOGY = flags.DEFINE_string('topology', None, f'The slice: {topologies.EXAMPLES}.')
SWEEP = flags.DEFINE_boolean(
    'sweep', False, 'Look for the best sequences per device, remat policy and mesh preset.'
)
OUTPUT = flags.DEFINE_string('output', '', 'File for the plan as JSON.')


def main(argv: list[str]) -> int:
    config, _ = command_line.parse(argv)
    if not TOPOLOGY.value:
        raise ValueError(f'--topology is missing: {topologies.EXAMPLES}')
    command_line.check_output(OUTPUT.value)
    tpu_slice = topologies.parse(TOPOLOGY.value)

    # These imports take seconds, so mistakes on the command line are reported before them.
    from bert_jax.performance import roofline, tables
    from bert_jax.performance.sweep import sweep
    from bert_jax.preflight.resolve import without_data

    config, task = without_data(config)
    devices, console, plans = topologies.devices(tpu_slice), Console(), list[dict[str, Any]]()
    if SWEEP.value:
        results = sweep(config, task, tpu_slice, devices)
    else:
        phases = config.train.phases
        results = (roofline.plan(config, task, phase, tpu_slice, devices) for phase in phases)
    try:
        for plan in results:
            plans.append(plan)
            command_line.write(plans, OUTPUT.value)
            if SWEEP.value:
                say(f'plan: {tables.sweep_line(plan)}')
            else:
                console.print(tables.phase_table(plan, config))
    finally:  # also if it is interrupted
        if SWEEP.value and plans:
            console.print(tables.sweep_table(plans))
            print(tables.best_line(plans, config))
    if SWEEP.value:
        return 0 if any(plan['fits'] for plan in plans) else 1
    if config.kind == 'pretraining' and all('days' in plan for plan in plans):
        print(tables.run_line(plans))
    return 0 if all(plan['fits'] for plan in plans) else 1


if __name__ == '__main__':
    sys.exit(command_line.run('plan', main, sys.argv))

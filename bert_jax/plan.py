"""Plans a run on a TPU slice: compiles its training step, without a TPU, and estimates its time.

    bert_jax plan --config=large --topology=v5e-256
    bert_jax plan --config=large --topology=v5e-256 --price=1.2 --details
    bert_jax plan --config=large --topology=v5p:4x4x4 --sweep --output=p.json

The exit code is 2 if the run does not fit.

It needs only the compiler for TPUs (`pip install '.[tpu]'`). Memory is what the compiler reports.
Times are a roofline model: the times of computing, of memory traffic and of sending are computed
from the peak numbers of the chip. They are assumed to overlap fully, so the longest of them counts.
The time of synchronous collectives, during which a chip does nothing else, is added. This is a
lower bound: the steps of a run take longer.
"""

import os
import sys
from typing import Any

from absl import flags
from rich.console import Console

from bert_jax.config import Config, command_line
from bert_jax.config.console import say, working
from bert_jax.performance import topologies

DOES_NOT_FIT = 2  # the exit code of `bert_jax train`, too
TOPOLOGY = flags.DEFINE_string('topology', None, f'The slice: {topologies.EXAMPLES}.')
SWEEP = flags.DEFINE_boolean(
    'sweep', False, 'Look for the best sequences per device, remat policy and mesh preset.'
)
PRICE = flags.DEFINE_float('price', None, 'The price of a chip-hour in dollars.', lower_bound=0)
DETAILS = flags.DEFINE_boolean('details', False, "Print the compiler's figures for each phase.")
OUTPUT = flags.DEFINE_string('output', '', 'File for the plan as JSON.')


def main(argv: list[str]) -> int:
    config, _, typed = command_line.parse(argv)
    if not TOPOLOGY.value:
        raise ValueError(f'--topology is missing: {topologies.EXAMPLES}')
    command_line.check_output(OUTPUT.value)
    tpu_slice = topologies.parse(TOPOLOGY.value)

    # These imports take seconds, so mistakes on the command line are reported before them.
    from bert_jax.performance import roofline, tables
    from bert_jax.performance.sweep import sweep
    from bert_jax.preflight.resolve import without_data

    config, task = without_data(config, typed)
    devices, console, plans = topologies.devices(tpu_slice), Console(), list[dict[str, Any]]()
    try:
        if SWEEP.value:
            for plan in sweep(config, task, tpu_slice, devices):
                plans.append(plan)
                command_line.write(plans, OUTPUT.value)
                say(f'plan: {tables.sweep_line(plan)}')
            return 0 if any(plan['fits'] for plan in plans) else DOES_NOT_FIT
        phases = config.train.phases
        for number, phase in enumerate(phases, 1):
            shape = f'{phase.batch_size:,} x {phase.max_seq_length}'
            of = f'phase {number} of {len(phases)}: ' if len(phases) > 1 else ''
            with working(f'plan: {of}compiling the step of {shape} tokens'):
                plans.append(roofline.plan(config, task, phase, tpu_slice, devices))
            command_line.write(plans, OUTPUT.value)
        print(*tables.summary(plans, config, PRICE.value), sep='\n')
        return 0 if all(plan['fits'] for plan in plans) else DOES_NOT_FIT
    finally:  # also if it is interrupted
        if plans:
            _show(plans, config, console)


def _show(plans: list[dict[str, Any]], config: Config, console: Console) -> None:
    """Prints the tables of the plans so far."""
    from bert_jax.performance import tables

    if SWEEP.value:
        console.print(tables.sweep_table(plans))
        print(tables.best_line(plans, config))
        return
    console.print(tables.phases_table(plans))
    if DETAILS.value:
        console.print(*map(tables.details_table, plans))


if __name__ == '__main__':
    os.environ['JAX_PLATFORMS'] = 'cpu'  # before JAX looks for a TPU
    # A program for devices of another machine can be written to a cache, but not read from it.
    os.environ['JAX_ENABLE_COMPILATION_CACHE'] = 'false'
    sys.exit(command_line.run('plan', main, sys.argv))

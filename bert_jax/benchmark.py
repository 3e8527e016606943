"""Measures the speed of training steps on the devices of this machine.

    bert_jax benchmark --config=large --batch_size=64 --max_seq_length=128
    bert_jax benchmark --config=base --batch_size=8,16,32 --output=speed.json
    bert_jax benchmark --config=base --batch_size=8 --sweep      # 8, 16, 32...
    bert_jax benchmark --config=base --batch_size=8 --profile

On several hosts, start it on each one, with --distributed or --coordinator as for bert_jax train;
process 0 prints the results. The batches are synthetic, and TensorFlow is not needed. The size of
the vocabulary is config.model.vocab_size. If config.mesh does not fit the devices, a line says so,
and the batch is split over all devices (config.mesh.data=-1).
"""

import dataclasses
import re
import sys
from typing import Any

from absl import flags
from rich.console import Console

from bert_jax.config import Config, command_line
from bert_jax.config.console import say
from bert_jax.parallel import distributed

# Modules that import JAX are imported in functions. So a mistake on the command line takes no time.

BATCH_SIZE = flags.DEFINE_list(
    'batch_size', None, "Sequences over all devices; several to compare. Default: the phase's."
)
SWEEP = flags.DEFINE_boolean(
    'sweep', False, 'Double the batch while it fits and gives more tokens per second.'
)
LENGTH = flags.DEFINE_integer('max_seq_length', 0, "Default: the first phase's.")
STEPS = flags.DEFINE_integer('steps', 30, 'Steps that are timed.', lower_bound=1)
WARMUP = flags.DEFINE_integer('warmup', 3, 'Steps before them.', lower_bound=0)
PROFILE = flags.DEFINE_boolean('profile', False, 'Where the time goes, part by part of the model.')
OUTPUT = flags.DEFINE_string('output', '', 'File for the numbers as JSON.')


def _sizes(default: int) -> list[int]:
    sizes = BATCH_SIZE.value or [str(default)]
    for size in sizes:
        if not re.fullmatch(r'[1-9]\d*', size):
            raise ValueError(f'--batch_size has {size!r}; expected positive integers, as in 32,64')
    if SWEEP.value and len(sizes) > 1:
        raise ValueError(f'--sweep begins with one batch size; --batch_size has {len(sizes)}')
    return list(map(int, sizes))


def _with_fitting_mesh(config: Config) -> Config:
    import jax

    from bert_jax.parallel.mesh import PRESETS, make_mesh

    try:
        make_mesh(config.mesh)
    except ValueError as error:
        if jax.process_index() == 0:
            say(f'benchmark: {error}; using config.mesh.data=-1 instead')
        return dataclasses.replace(config, mesh=PRESETS['dp'])
    return config


def main(argv: list[str]) -> int:
    config, _, typed = command_line.parse(argv)
    _sizes(config.train.phases[0].batch_size)  # raises if the flags are wrong

    import jax

    from bert_jax.performance import measure, tables
    from bert_jax.performance.sweep import search
    from bert_jax.preflight.resolve import without_data

    distributed.join()
    first = jax.process_index() == 0
    output = OUTPUT.value if first else ''
    command_line.check_output(output)
    config, task = without_data(config, typed)
    config, sizes = _with_fitting_mesh(config), _sizes(config.train.phases[0].batch_size)
    for size in sizes:  # before the first is measured
        measure.reshaped(config, task, size, LENGTH.value)  # raises if it does not fit

    def report(line: str) -> None:
        if first:
            say(f'benchmark: {line}')

    def measured(size: int) -> dict[str, Any]:
        shaped = measure.reshaped(config, task, size, LENGTH.value)
        return measure.measure(shaped, task, STEPS.value, WARMUP.value, report, PROFILE.value)

    results = list[dict[str, Any]]()
    try:
        for result in search(measured, *sizes, *sizes) if SWEEP.value else map(measured, sizes):
            results.append(result)
            command_line.write(results, output)
    finally:  # also if the next one fails
        if first and results:
            console = Console()
            console.width = console.width if console.is_terminal else 100
            console.print(*tables.benchmark_tables(results))
    return 0 if any(result['fits'] for result in results) else 2


if __name__ == '__main__':
    sys.exit(command_line.run('benchmark', main, sys.argv, leave=distributed.fail))

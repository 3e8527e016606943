"""Pretrains or fine-tunes an encoder. With --check, only checks the configuration.

bert_jax train --config=tiny --workdir=runs/tiny
"""

import logging
import pathlib
import sys
import tempfile
from collections.abc import Collection

from bert_jax.parallel import signals

if __name__ == '__main__':
    # Before the other imports, which take seconds.
    signals.exit_at_once('bert_jax: interrupted; a run continues from its last checkpoint')

from absl import flags
from etils import epath

from bert_jax.config import Config, command_line
from bert_jax.parallel import distributed

# Modules that import JAX are imported in functions. So a mistake on the command line takes no time.

WORKDIR = flags.DEFINE_string(
    'workdir', None, "The run's folder; by default runs/NAME of the configuration."
)
CHECK = flags.DEFINE_boolean(
    'check', False, 'Check what the run needs, print what is wrong, and write nothing.'
)
START_OVER = flags.DEFINE_boolean(
    'start_over', False, 'Begin a new run; the files of the earlier one are kept in WORKDIR.1.'
)


def run(
    config: Config, workdir: epath.Path, start_over: bool = False, typed: Collection[str] = ()
) -> None:
    """Runs the fast checks, and then pretrains or fine-tunes. start_over: renames the workdir.
    typed: the keys of the configuration that the command line sets."""
    from bert_jax.preflight import paths

    paths.check(config, workdir, start_over)
    from bert_jax.preflight import start  # imports JAX, which takes seconds

    start.run(config, workdir, start_over, typed)


def check(
    config: Config, workdir: epath.Path, start_over: bool = False, typed: Collection[str] = ()
) -> int:
    """Prints the checks of the configuration and returns the exit code. typed: see `run`."""
    from bert_jax.preflight import paths

    if missing := paths.problems(config, workdir, start_over):
        process = distributed.process_index()
        who = f'process {process}: ' if process else ''
        for problem in missing:
            paths.print_check('FAIL', 'paths', f'{who}{problem}')
        paths.print_check('skip', 'the rest', f'{who}not checked until these paths are corrected')
        return 2
    from bert_jax.preflight import checks
    from bert_jax.preflight.resolve import with_converted_start

    continued = None if start_over else workdir
    with tempfile.TemporaryDirectory() as cache:  # a check keeps no converted checkpoint
        converted = with_converted_start(config, continued, pathlib.Path(cache))
        return checks.check(converted, workdir, config, start_over, typed)


def main(argv: list[str]) -> int:
    """Runs the configuration, or checks it (--check), and returns the exit code."""
    logging.getLogger('bert_jax').setLevel(logging.INFO)
    config, name, typed = command_line.parse(argv)
    workdir = epath.Path(WORKDIR.value or f'runs/{name}').expanduser()
    distributed.join()
    if CHECK.value:
        return check(config, workdir, START_OVER.value, typed)
    run(config, workdir, START_OVER.value, typed)
    return 0


if __name__ == '__main__':
    sys.exit(command_line.run('bert_jax', main, sys.argv, leave=distributed.fail))

"""Pretrains or fine-tunes an encoder. With --check, only checks the configuration.

bert_jax train --config=tiny --workdir=runs/tiny
"""

import dataclasses
import logging
import pathlib
import sys
import tempfile

from bert_jax.parallel import signals

if __name__ == '__main__':
    signals.exit_at_once()  # before the other imports, which take seconds

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


def with_converted_start(config: Config, cache: pathlib.Path | None = None) -> Config:
    """The configuration with folders of bert_jax as init_from and distill.teacher. A checkpoint of
    another project is converted into `cache`, by default that of config.data.cache_dir."""
    if not config.init_from and not config.distill.teacher:
        return config
    from bert_jax.convert import cached  # takes a second, and most runs do not need it
    from bert_jax.data.text import staging

    cache = cache or staging.cache_of(config.data)
    lowercase = None if config.data.lowercase else False  # True is the default, too

    def converted(folder: str) -> str:
        return cached.model_folder(folder, cache, lowercase) if folder else ''

    distill = dataclasses.replace(config.distill, teacher=converted(config.distill.teacher))
    return dataclasses.replace(config, init_from=converted(config.init_from), distill=distill)


def run(config: Config, workdir: epath.Path) -> None:
    """Runs the fast checks, and then pretrains or fine-tunes."""
    from bert_jax.preflight import paths

    paths.check(config, workdir)
    from bert_jax.preflight import checks
    from bert_jax.preflight.resolve import resolve

    resolver = resolve(with_converted_start(config), workdir, init_from=config.init_from)
    checks.check_early(resolver)
    resolver.run()


def check(config: Config, workdir: epath.Path) -> int:
    """Prints the checks of the configuration and returns the exit code."""
    from bert_jax.preflight import paths

    if missing := paths.problems(config, workdir):
        process = distributed.process_index()
        who = f'process {process}: ' if process else ''
        for problem in missing:
            paths.print_check('FAIL', 'paths', f'{who}{problem}')
        paths.print_check('skip', 'the rest', f'{who}not checked until these paths are corrected')
        return 2
    from bert_jax.preflight import checks

    with tempfile.TemporaryDirectory() as cache:  # a check keeps no converted checkpoint
        converted = with_converted_start(config, pathlib.Path(cache))
        return checks.check(converted, workdir, config.init_from)


def main(argv: list[str]) -> int:
    """Runs the configuration, or checks it (--check), and returns the exit code."""
    logging.getLogger('bert_jax').setLevel(logging.INFO)
    config, name = command_line.parse(argv)
    workdir = epath.Path(WORKDIR.value or f'runs/{name}').expanduser()
    distributed.join()
    if CHECK.value:
        return check(config, workdir)
    run(config, workdir)
    return 0


if __name__ == '__main__':
    sys.exit(command_line.run('bert_jax', main, sys.argv, leave=distributed.fail))

"""Pretrains a BERT: flags in, objects built, one call out.

python -m bert_jax.main --config=configs/tiny.py --workdir=runs/tiny
"""
# ruff: noqa: E402  (signals are seen to before imports, which take seconds)

import logging
import os
import signal
import sys
import traceback
from typing import Any

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # before anything imports TensorFlow
os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')  # it imports only the other, which takes seconds


def _leave(number: int, _: Any) -> None:
    """While training, the loop has its own way; an exception could get lost in an import."""
    os.write(2, b'bert_jax: interrupted; the same command goes on from what is saved\n')
    os._exit(128 + number)


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)

import absl.logging
import jax
from absl import flags
from etils import epath

from bert_jax.config import Config, command_line
from bert_jax.parallel import distributed
from bert_jax.preflight import checks
from bert_jax.preflight.resolve import resolve
from bert_jax.training.checkpoint import first_line
from bert_jax.training.loop import Interrupted
from bert_jax.training.metrics import say

LOG = logging.getLogger('bert_jax.main')

WORKDIR = flags.DEFINE_string(
    'workdir', '', 'Where the run lives; default runs/NAME of the config.'
)
CHECK = flags.DEFINE_boolean(
    'check', False, 'Look at what the run needs, say what is wrong, and leave; nothing is written.'
)

NO_SUCH_FILE = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    NotADirectoryError,
    IsADirectoryError,
)


def run(config: Config, workdir: epath.Path) -> None:
    """Pretrains or fine-tunes, after the checks that take seconds."""
    resolver = resolve(config, workdir)
    checks.check_early(resolver)
    resolver.run()


def cli(argv: list[str]) -> int:
    """The exit code: 0 done; 2 a mistake, said in one line; 3 not finite; 143, by Ctrl-C 130,
    interrupted with everything saved; 1 what nobody foresaw, with a traceback."""
    # Libraries speak up for warnings only; the project says a line at a time what it does.
    logging.basicConfig(
        handlers=[_Stderr()], format='%(message)s', level=logging.WARNING, force=True
    )
    logging.getLogger('bert_jax').setLevel(logging.INFO)
    absl.logging.set_verbosity(absl.logging.WARNING)
    try:
        config, name = command_line.parse(argv)
        workdir = epath.Path(WORKDIR.value or f'runs/{name}').expanduser()
        distributed.join()
        if CHECK.value:
            return checks.check(config, workdir)
        run(config, workdir)
    except Interrupted as stop:
        return _say(stop, 128 + stop.number)
    except FloatingPointError as error:
        return distributed.fail(_say(error, 3))
    except (ValueError, ImportError, *NO_SUCH_FILE, flags.Error) as error:
        return distributed.fail(_say(error, 2))
    except Exception as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and 'RESOURCE_EXHAUSTED' in str(error):
            line = first_line(error).removesuffix('.')
            return distributed.fail(_say(f'{line}. {checks.OUT_OF_MEMORY_HINT}', 2))
        traceback.print_exc()
        return distributed.fail(1)
    return 0


def _say(what: object, code: int) -> int:
    say(f'bert_jax: {what}')
    return code


class _Stderr(logging.Handler):
    """Writes to what sys.stderr is now: a live progress line puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))


if __name__ == '__main__':
    sys.exit(cli(sys.argv))

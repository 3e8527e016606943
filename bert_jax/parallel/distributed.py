"""Runs of several processes: how a process joins the others, and how it exits after an error."""

import contextlib
import os
import signal
import socket
import sys
import threading
from typing import Any

from absl import flags

from bert_jax.config.console import say
from bert_jax.config.errors import first_line
from bert_jax.parallel.signals import SIGNALS

DISTRIBUTED = flags.DEFINE_boolean(
    'distributed', False, 'Join the other processes of a TPU pod, of Slurm or of Open MPI.'
)
COORDINATOR = flags.DEFINE_string(
    'coordinator', None, 'HOST:PORT, a free port of process 0, without TPU pod, Slurm or Open MPI.'
)
NUM_PROCESSES = flags.DEFINE_integer(
    'num_processes', None, 'The number of processes; needed with --coordinator.'
)
PROCESS_ID = flags.DEFINE_integer(
    'process_id', None, 'The number of this process, from 0; needed with --coordinator.'
)

# If a process sends no heartbeat for this long, JAX ends the other processes, which would otherwise
# hang in a collective.
HEARTBEAT_SECONDS = 20
# A failed process waits this many seconds, so that the others can report their own error.
SECONDS_BEFORE_EXIT = 5


def process_index() -> int:
    """Returns the number of this process; 0 if JAX is not imported yet, as before `join`."""
    jax: Any = sys.modules.get('jax')
    return jax.process_index() if jax else 0


def join() -> None:
    """Initializes jax.distributed if the flags ask for it.

    Raises ValueError if the other processes are not found or cannot be reached.
    """
    three_flags = COORDINATOR, NUM_PROCESSES, PROCESS_ID
    given: tuple[Any, Any, Any] = (COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
    missing = [f'--{flag.name}' for flag in three_flags if flag.value is None]
    if len(missing) == 3 and not DISTRIBUTED.value:
        return
    if 0 < len(missing) < 3:
        raise ValueError(f'{" and ".join(missing)} must be given too')
    if not missing:
        _check(*given)
    import jax  # takes seconds; mistakes above are reported before it

    others = 'the others' if missing else f'{given[1]} processes at {given[0]}'
    say(f'waiting for {others}, five minutes at most')
    # Handlers written in Python do not run while JAX waits. Afterwards SIGTERM is handled by JAX.
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    try:
        jax.distributed.initialize(
            *given,
            # Slurm's detection would leave this process only one of its GPUs.
            cluster_detection_method=None if missing else 'deactivate',
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except ValueError as error:
        raise ValueError(
            f'this is not a process of a TPU pod, of Slurm or of Open MPI ({error}); start each of '
            'N processes with --coordinator=HOST:PORT (of process 0), --num_processes=N and '
            '--process_id=I'
        ) from error
    except jax.errors.JaxRuntimeError as error:
        where = 'the other processes' if missing else f'--coordinator={given[0]}'
        raise ValueError(f'{where} cannot be reached: {first_line(error)}') from error
    finally:
        for number in SIGNALS:
            if number != signal.SIGTERM or not jax.distributed.is_initialized():
                signal.signal(number, before[number])


def _check(coordinator: str, num_processes: int, process_id: int) -> None:
    host, _, port = coordinator.rpartition(':')
    if not host or not port.isdecimal():
        raise ValueError(f'--coordinator={coordinator}; expected HOST:PORT')
    if not 0 <= process_id < num_processes:
        raise ValueError(
            f'--process_id={process_id} with --num_processes={num_processes}; expected 0 to '
            f'{num_processes - 1}'
        )
    try:
        socket.getaddrinfo(host.strip('[]'), int(port))
    except OSError as error:
        raise ValueError(f'--coordinator={coordinator}: no such host: {error}') from error


def fail(code: int) -> int:
    """Ends a failed process with the exit code `code`; a process that is alone returns it instead.

    One of several processes has to end here. A normal exit would wait for the other processes,
    which wait for this one in a collective. code: 1 is an unexpected error, such as a collective
    with a process that has died.
    """
    if 'jax' not in sys.modules:
        return code
    import jax

    if not jax.distributed.is_initialized():
        return code
    try:
        if code == 1:
            say(
                'bert_jax: unless there is another error above, another process has died; start '
                'all processes again, and they continue from the newest checkpoint'
            )
        leaving = threading.Thread(target=_shut_down, daemon=True)
        leaving.start()
        leaving.join(SECONDS_BEFORE_EXIT)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _shut_down() -> None:
    import jax

    with contextlib.suppress(Exception):  # the other processes may have ended
        jax.distributed.shutdown()

"""Joining the other processes of a run, and leaving them when this one fails."""

import contextlib
import os
import signal
import socket
import sys
import threading
from typing import Any

import jax
from absl import flags

DISTRIBUTED = flags.DEFINE_boolean(
    'distributed', False, 'One of several processes; a TPU pod, Slurm or Open MPI says of which.'
)
COORDINATOR = flags.DEFINE_string(
    'coordinator', None, 'HOST:PORT, a free port of process 0, where nothing says of which.'
)
NUM_PROCESSES = flags.DEFINE_integer('num_processes', None, 'How many, beside --coordinator.')
PROCESS_ID = flags.DEFINE_integer('process_id', None, 'From 0, beside --coordinator.')

# After which a process that is not heard of counts as dead, and JAX ends the others: a collective
# would wait for it for ever.
HEARTBEAT_SECONDS = 20
# For the others to have failed too, so that each says why.
PARTING_SECONDS = 5
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def join() -> None:
    """Where the flags say so. Raises ValueError where neither they nor anything else say enough, or
    the others can't be reached."""
    of_three = COORDINATOR, NUM_PROCESSES, PROCESS_ID
    given: tuple[Any, Any, Any] = (COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
    missing = [f'--{flag.name}' for flag in of_three if flag.value is None]
    if len(missing) == 3 and not DISTRIBUTED.value:
        return
    if 0 < len(missing) < 3:
        raise ValueError(f'{" and ".join(missing)} must be given too')
    if not missing:
        _check(*given)
    of = 'the others' if missing else f'{given[1]} processes at {given[0]}'
    print(f'waiting for {of}, five minutes at most', file=sys.stderr, flush=True)
    # While JAX waits, no handler written in Python would run. SIGTERM is JAX's own afterwards.
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    try:
        jax.distributed.initialize(
            *given,
            # Slurm's would leave this process one of its GPUs.
            cluster_detection_method=None if missing else 'deactivate',
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except ValueError as error:
        raise ValueError(
            'nothing here says which processes there are, as a TPU pod, Slurm or Open MPI do '
            f'({error}); give each of N --coordinator=HOST:PORT (of process 0), --num_processes=N '
            'and --process_id=I'
        ) from error
    except jax.errors.JaxRuntimeError as error:
        where = 'the other processes' if missing else f'--coordinator={given[0]}'
        line = str(error).strip().split('\n')[0]
        raise ValueError(f'{where} can not be reached: {line}') from error
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
    """The exit code of a process that failed. One of several does not come back: it would wait for
    the others at its end, and they for it in their next collective.

    code: 1 where nobody foresaw it; where another has died, a collective may end so.
    """
    if not jax.distributed.is_initialized():
        return code
    try:
        if code == 1:
            sys.stderr.write(
                'bert_jax: if nothing above says otherwise, another of the processes has died; '
                'start all again, and they go on from the newest checkpoint\n'
            )
        leaving = threading.Thread(target=_shut_down, daemon=True)
        leaving.start()
        leaving.join(PARTING_SECONDS)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _shut_down() -> None:
    with contextlib.suppress(Exception):  # the others may be gone
        jax.distributed.shutdown()

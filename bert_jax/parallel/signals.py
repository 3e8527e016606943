"""Handlers of SIGTERM and SIGINT. They end the process, or during training let the run save first.

This module takes little time to import, so that a command can install the handlers before its other
imports.
"""

import itertools
import logging
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from bert_jax.config.errors import Interrupted

LOG = logging.getLogger('bert_jax.parallel.signals')
SIGNALS = (signal.SIGINT, signal.SIGTERM)

# One counter for the whole process, because JAX numbers the calls of all runs and `Stopper`s.
_CALLS = itertools.count(1)

T = TypeVar('T')


def exit_at_once(message: str) -> None:
    """Makes both signals print the message and end this process at once.

    An exception would not be enough, because an import could catch it.
    """

    def leave(number: int, _: Any) -> None:
        os.write(2, f'{message}\n'.encode())
        os._exit(128 + number)

    for number in SIGNALS:
        signal.signal(number, leave)


class Stopper:
    """Within its `with` block, SIGTERM and SIGINT ask the run to save and stop.

    A command uses one Stopper for all of its runs. So if a signal arrives in the last step of one
    run, the next run does not start. A second SIGINT ends the process at once. Python handles
    signals in the main thread only; in other threads the stopper only agrees with other processes.

    Several processes must stop after the same step. JAX's preemption service finds this step. It
    handles SIGTERM itself, so a SIGINT is sent to it as SIGTERM.

    The handler raises no exception. If Python called it inside a callback of the garbage collector,
    such as that of JAX, the exception would be printed and ignored.

    doing: what the command does after the signal. message: what `until_stopped` raises.
    """

    def __init__(
        self,
        doing: str = 'finishing the step and saving',
        message: str = 'stopped; the same command continues from what is saved',
    ) -> None:
        self._doing, self._message = doing, message
        self._number: int | None = None  # the signal that this process received
        self._several = self._agreed = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        import jax

        self._several = jax.process_count() > 1
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT,) if self._several else SIGNALS:
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            # None is a handler that was not installed by Python, such as JAX's.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _receive(self, number: int, _: Any) -> None:
        # The default action ends the process even if Python is deep inside a library.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        LOG.warning('%s: %s', signal.Signals(number).name, self._doing)
        if self._several:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self._number = number

    def agreed(self) -> bool:
        """Returns whether to stop here. All processes get the same answer. Once it is True,
        it stays True.

        All processes must call this the same number of times.
        """
        if not self._several:
            return self._number is not None
        if not self._agreed:
            from jax.experimental import multihost_utils

            self._agreed = multihost_utils.reached_preemption_sync_point(next(_CALLS))
        return self._agreed

    def interrupted(self, message: str) -> 'Interrupted':
        """The exception to raise after saving."""
        from bert_jax.config.errors import Interrupted

        return Interrupted(message, self._number or signal.SIGTERM)

    def until_stopped(self, items: Iterable[T]) -> Iterator[T]:
        """Yields the items; raises Interrupted as soon as the processes agree to stop."""
        for item in items:
            if self.agreed():
                raise self.interrupted(self._message)
            yield item

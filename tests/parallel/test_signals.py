"""SIGTERM and SIGINT in one process; that several agree is in test_host_signals."""

import os
import signal
import threading

import pytest
from jax.experimental import multihost_utils

from bert_jax.config.errors import Interrupted
from bert_jax.parallel.signals import SIGNALS, Stopper


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_is_kept_until_the_command_ends(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with Stopper() as stopper:
        assert not stopper.agreed()
        assert list(stopper.until_stopped([1, 2])) == [1, 2]
        os.kill(os.getpid(), number)
        assert stopper.agreed() and stopper.agreed()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL, 'a second one ends the process'
        with pytest.raises(Interrupted) as stopped:
            list(stopper.until_stopped([1, 2]))
        assert stopped.value.number == stopper.interrupted('').number == number
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_after_a_handler_that_is_not_pythons_the_default_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python says None for a handler of JAX's, which `--num_processes=1` installs."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    real = signal.signal
    try:
        monkeypatch.setattr(signal, 'signal', lambda number, to: real(number, to) and None)
        with Stopper():
            assert not {signal.getsignal(number) for number in SIGNALS} & {signal.SIG_DFL}
        assert {signal.getsignal(number) for number in SIGNALS} == {signal.SIG_DFL}
    finally:
        monkeypatch.undo()
        for number, handler in before.items():
            signal.signal(number, handler)


def test_several_processes_stop_at_the_item_that_they_agree_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If only one process stopped its evaluation, the others would wait for it forever."""
    asked: list[int] = []
    answer = lambda call: asked.append(call) or len(asked) >= 4  # noqa: E731
    monkeypatch.setattr(multihost_utils, 'reached_preemption_sync_point', answer)
    with Stopper() as stopper:
        stopper._several, stopper._number = True, signal.SIGINT  # a signal has arrived here
        assert list(stopper.until_stopped([1, 2])) == [1, 2]
        items = stopper.until_stopped([1, 2])
        assert next(items) == 1
        with pytest.raises(Interrupted):
            next(items)
        assert stopper.agreed() and len(asked) == 4  # the next run does not begin
    assert asked == list(range(asked[0], asked[0] + 4))


def test_in_a_thread_nothing_is_installed() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[bool] = []

    def work() -> None:
        with Stopper() as stopper:
            seen.append(stopper.agreed() or signal.getsignal(signal.SIGTERM) is not before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]

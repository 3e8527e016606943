"""A process finds the others of its run. That they end together is tested in test_hosts."""

from collections.abc import Iterator

import jax
import pytest
from absl import flags
from absl.testing import flagsaver

from bert_jax.parallel import distributed

WRONG = {
    'nothing says': ({'distributed': True}, ['--coordinator=HOST:PORT', '--process_id=I']),
    'one of three': ({'coordinator': 'a:1'}, ['--num_processes and --process_id must be given']),
    'two of three': ({'coordinator': 'a:1', 'process_id': 0}, ['--num_processes must be given']),
    'no port': (
        {'coordinator': 'ahost', 'num_processes': 2, 'process_id': 0},
        ['--coordinator=ahost', 'HOST:PORT'],
    ),
    'no host': (
        {'coordinator': 'no.invalid:1', 'num_processes': 2, 'process_id': 0},
        ['--coordinator=no.invalid:1: no such host'],
    ),
    'from one': (
        {'coordinator': 'a:1', 'num_processes': 2, 'process_id': 2},
        ['--process_id=2', 'expected 0 to 1'],
    ),
}


@pytest.fixture(autouse=True)
def parsed() -> Iterator[None]:
    with flagsaver.flagsaver():
        flags.FLAGS.mark_as_parsed()
        yield


@pytest.mark.parametrize('name', WRONG)
def test_what_does_not_say_enough(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX is asked in one case only, and there is no cluster here that it could find."""

    def initialize(*given: object, **_: object) -> None:
        assert given == (None, None, None)
        raise ValueError('coordinator_address should be defined.')

    monkeypatch.setattr(jax.distributed, 'initialize', initialize)
    given, words = WRONG[name]
    with flagsaver.flagsaver(**given), pytest.raises(ValueError) as raised:
        distributed.join()
    for word in words:
        assert word in str(raised.value)


def test_one_process_joins_and_leaves_nobody() -> None:
    distributed.join()
    assert distributed.fail(3) == 3

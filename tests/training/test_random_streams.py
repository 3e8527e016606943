"""Named streams: distinct by name and by step, the same in every process."""

import jax

from bert_jax.training import random_streams


def test_streams_are_functions_of_seed_name_and_step() -> None:
    def bits(seed: int, name: str, step: int) -> int:
        return int(
            jax.random.bits(
                random_streams.stream(random_streams.root(seed, 'threefry2x32'), name, step)
            )
        )

    drawn = {bits(s, n, k) for s in (0, 1) for n in ('params', 'dropout') for k in (0, 1, 10**6)}
    assert len(drawn) == 12
    # Every process draws this value, because the hash of the name is not Python's own `hash`, which
    # differs between processes.
    assert bits(0, 'dropout', 1) == 4105969949


def test_auto_is_threefry_on_cpu() -> None:
    assert str(jax.random.key_impl(random_streams.root(0, 'auto'))) == 'threefry2x32'

"""Named random streams. A key depends on (root seed, name, step) only, so no key is saved."""

import zlib

import jax


def root(seed: int, impl: str) -> jax.Array:
    """Returns the run's root key. impl: one of JAX's generators, or 'auto' for the fastest here.

    TPUs generate the bits of `rbg` in hardware and GPUs in one kernel. On CPU threefry2x32 is three
    times as fast. With several GPUs, each GPU would generate the `rbg` bits for all of them.
    """
    if impl == 'auto':
        platform, count = jax.default_backend(), jax.device_count()
        impl = 'rbg' if platform == 'tpu' or (platform == 'gpu' and count == 1) else 'threefry2x32'
    return jax.random.key(seed, impl=impl)


def stream(key: jax.Array, name: str, step: jax.Array | int) -> jax.Array:
    """Returns the key of stream `name` at `step`, which may be a traced value."""
    return jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(name.encode())), step)

"""Named random streams: a key is a pure function of (root seed, name, step), so none is saved."""

import zlib

import jax


def root(seed: int, impl: str) -> jax.Array:
    """The run's root key; `impl` names JAX's generator (threefry2x32, rbg, unsafe_rbg).

    'auto' is the fastest one here: TPUs and GPUs make rbg's bits in hardware or in one kernel; on
    CPU threefry is three times as fast. Of several GPUs each would make the bits of all.
    """
    if impl == 'auto':
        platform, count = jax.default_backend(), jax.device_count()
        impl = 'rbg' if platform == 'tpu' or (platform == 'gpu' and count == 1) else 'threefry2x32'
    return jax.random.key(seed, impl=impl)


def stream(key: jax.Array, name: str, step: jax.Array | int) -> jax.Array:
    """The key of stream `name` at `step`; traceable, so `step` may live on the device."""
    return jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(name.encode())), step)

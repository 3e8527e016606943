"""The options of XLA for the compilation of the training step.

`build_step` takes them from here, so that a run, a benchmark and a plan compile the same
program. They depend on the chip and on the size of the slice, because the compiler refuses some
options for some slices.
"""

import os

import jax
from jax.sharding import Mesh

ASYNC_ALL_TO_ALL = 'xla_tpu_enable_async_all_to_all'
FUSED_ALL_GATHER = 'xla_tpu_enable_async_collective_fusion_fuse_all_gather'
OPTIONS = {
    'tpu': (
        # Every chip generates the random bits of its own part of the batch. Otherwise every chip
        # would generate those of the whole batch and use only its part.
        'xla_tpu_spmd_rng_bit_generator_unsafe',
        # The scheduler starts a collective early and computes other things until it has ended.
        'xla_tpu_enable_latency_hiding_scheduler',
        # All-gathers and all-to-alls run while the chip computes.
        'xla_enable_async_all_gather',
        ASYNC_ALL_TO_ALL,
        'xla_tpu_enable_async_collective_fusion',
        FUSED_ALL_GATHER,
        # All-reduces of gradients run while the chip computes too, also those between slices.
        'xla_tpu_enable_data_parallel_all_reduce_opt',
        'xla_tpu_data_parallel_opt_different_sized_ops',
    ),
    'gpu': (
        # The scheduler has the same effect as on TPUs.
        'xla_gpu_enable_latency_hiding_scheduler',
        # Triton computes a matrix product where it is faster than cuBLAS.
        'xla_gpu_triton_gemm_any',
    ),
}

# JAX's own code uses both names for this chip.
V5E = ('TPU v5 lite', 'TPU v5e')
# The largest v5e slice, in chips, for which the compiler has an asynchronous all-to-all.
V5E_CHIPS = 16


def options(mesh: Mesh) -> dict[str, str | bool]:
    """The `compiler_options` that `jax.jit` takes for a program on `mesh`.

    Options that the user sets in XLA_FLAGS or LIBTPU_INIT_ARGS are left out, so that the user's
    values apply.
    """
    flags = ' '.join(os.environ.get(name, '') for name in ('XLA_FLAGS', 'LIBTPU_INIT_ARGS')).split()
    left_out = {flag.lstrip('-').partition('=')[0] for flag in flags}
    platform = 'gpu' if (found := mesh.devices.flat[0].platform) == 'cuda' else found
    if platform == 'tpu':
        left_out.add(_refused_option(list(mesh.devices.flat)))
    enabled = 'true' if platform == 'tpu' else True  # XLA expects strings for libtpu's own options
    return {name: enabled for name in OPTIONS.get(platform, ()) if name not in left_out}


def _refused_option(devices: list[jax.Device]) -> str:
    """The option that the compiler refuses for these TPUs; '' if it accepts all options.

    There is no asynchronous all-to-all for v5e slices of more than 16 chips, whose network the
    compiler calls "limited ICI". It would fail with "Async all-to-all not supported on limited
    ICI", or abort the process. The limit is about the links inside a slice, so it does not depend
    on the number of slices.
    """
    if devices[0].device_kind not in V5E:
        # libtpu 0.0.48 refuses this option, because results may be wrong on these chips. Earlier
        # versions do not check it.
        return FUSED_ALL_GATHER
    slices = {getattr(device, 'slice_index', 0) for device in devices}
    return ASYNC_ALL_TO_ALL if len(devices) > V5E_CHIPS * len(slices) else ''

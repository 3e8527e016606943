"""What XLA is told of the training step, so that every way to start it compiles the same."""

import os

from jax.sharding import Mesh

OPTIONS = {
    'tpu': (
        # Every chip draws its own dropout, not the whole batch's.
        'xla_tpu_spmd_rng_bit_generator_unsafe',
        # Collectives go on while the rest is computed, those of gradients across slices too.
        'xla_tpu_enable_latency_hiding_scheduler',
        'xla_enable_async_all_gather',
        'xla_tpu_enable_async_all_to_all',
        'xla_tpu_enable_async_collective_fusion',
        'xla_tpu_enable_async_collective_fusion_fuse_all_gather',
        'xla_tpu_enable_data_parallel_all_reduce_opt',
        'xla_tpu_data_parallel_opt_different_sized_ops',
    ),
    'gpu': (
        'xla_gpu_enable_latency_hiding_scheduler',
        'xla_gpu_triton_gemm_any',  # matrix products by Triton where it is the faster one
    ),
}


def options(mesh: Mesh) -> dict[str, str | bool]:
    """For `jax.jit(..., compiler_options=...)`, by the mesh's devices. What XLA_FLAGS or
    LIBTPU_INIT_ARGS say of an option is left to them."""
    said = ' '.join(os.environ.get(name, '') for name in ('XLA_FLAGS', 'LIBTPU_INIT_ARGS')).split()
    named = {flag.lstrip('-').partition('=')[0] for flag in said}
    platform = 'gpu' if (found := mesh.devices.flat[0].platform) == 'cuda' else found
    yes = 'true' if platform == 'tpu' else True  # its own options are strings to XLA
    return {name: yes for name in OPTIONS.get(platform, ()) if name not in named}

"""Attention that keeps no probabilities in memory (Dao et al., 2022).

It uses the kernel that JAX has for the device: cuDNN's on GPUs, splash attention on TPUs. Neither
has dropout of the probabilities.
"""

import functools
import logging
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bert_jax.parallel.mesh import platform
from bert_jax.parallel.sharding import partition_spec

LOG = logging.getLogger('bert_jax.models.flash_attention')

# q, k, v[batch, length, heads, head_dim] and segment_ids int32[batch, length] -> like q
Kernel = Callable[..., jax.Array]
BLOCK, LARGEST = 128, 512  # block sizes of splash attention: multiples of BLOCK, up to LARGEST


def kernel(length: int, head_dim: int, dtype: jnp.dtype, packed: bool = False) -> Kernel | None:
    """Returns the device's kernel for rows of `length` tokens; None, logged once, if it has none.

    In rows of one sequence, padding must come last. Outputs for padding are undefined.
    """
    device = platform()
    if device == 'gpu' and _has_cudnn(dtype, head_dim) and not packed:
        return functools.partial(_on_each_device, _cudnn)
    if device == 'tpu' and length % BLOCK == 0:
        return functools.partial(_on_each_device, _splash)
    _log_missing(length, head_dim, str(dtype), device)
    return None


def _has_cudnn(dtype: jnp.dtype, head_dim: int) -> bool:
    """Returns whether cuDNN has a kernel for these heads; it needs an Ampere GPU or a newer one."""
    capability = getattr(jax.local_devices()[0], 'compute_capability', '')
    ampere = re.fullmatch(r'[\d.]+', capability) is not None and float(capability) >= 8
    return ampere and dtype == jnp.bfloat16 and head_dim % 8 == 0 and head_dim <= 128


@functools.cache
def _log_missing(length: int, head_dim: int, dtype: str, device: str) -> None:
    LOG.warning(
        'no flash attention on a %s for rows of %d tokens, heads of %d and %s; attention is dense',
        *(device, length, head_dim, dtype),
    )


def _on_each_device(
    kernel: Kernel, q: jax.Array, k: jax.Array, v: jax.Array, segment_ids: jax.Array | None
) -> jax.Array:
    """Runs the kernel on each device's rows and heads, because the compiler cannot split it."""
    if segment_ids is None:
        segment_ids = jnp.ones(q.shape[:2], jnp.int32)
    if jax.sharding.get_abstract_mesh().empty:
        return kernel(q, k, v, segment_ids)
    rows = partition_spec(('batch', 'length', 'heads', 'head_dim'))
    return jax.shard_map(
        kernel,
        in_specs=(rows, rows, rows, partition_spec(('batch', 'length'))),
        out_specs=rows,
        check_vma=False,  # kernels do not declare over which mesh axes they vary
    )(q, k, v, segment_ids)


def _cudnn(q: jax.Array, k: jax.Array, v: jax.Array, segment_ids: jax.Array) -> jax.Array:
    # Rows that only fill a batch may have no tokens. With a length of 0 their outputs would be NaN,
    # which would spread to the loss of the whole batch.
    lengths = jnp.maximum(jnp.sum(segment_ids > 0, axis=-1, dtype=jnp.int32), 1)
    return jax.nn.dot_product_attention(
        q, k, v, key_value_seq_lengths=lengths, implementation='cudnn'
    )


def _splash(
    q: jax.Array, k: jax.Array, v: jax.Array, segment_ids: jax.Array, interpret: bool = False
) -> jax.Array:
    from jax.experimental.pallas.ops.tpu import splash_attention  # takes 0.1 s

    length, heads, head_dim = q.shape[1:]
    block = max(size for size in range(BLOCK, LARGEST + 1, BLOCK) if length % size == 0)
    # If a row is one block, one backward kernel computes all three gradients.
    fused = block == length
    dq_blocks: dict[str, Any] = {} if fused else {'block_q_dq': block, 'block_kv_dq': block}
    sizes = splash_attention.BlockSizes(
        block_q=block,
        block_kv=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        **dq_blocks,
        use_fused_bwd_kernel=fused,
    )
    full = splash_attention.MultiHeadMask([splash_attention.FullMask((length, length))] * heads)
    attend = splash_attention.make_splash_mha(
        full, block_sizes=sizes, head_shards=1, q_seq_shards=1, interpret=interpret
    )
    # Padding attends to padding, so that every query has a key.
    segments = splash_attention.SegmentIds(segment_ids, segment_ids)
    by_head = [x.swapaxes(1, 2) for x in (q * head_dim**-0.5, k, v)]
    return jax.vmap(attend)(*by_head, segments).swapaxes(1, 2)

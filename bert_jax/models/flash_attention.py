"""Attention that leaves no probabilities in memory (Dao et al., 2022), by the kernel that JAX has
for the device: cuDNN's on GPUs, splash attention on TPUs. Neither has dropout of probabilities."""

import functools
import logging
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bert_jax.parallel.sharding import partition_spec, platform

LOG = logging.getLogger('bert_jax.models.flash_attention')

# q, k, v[batch, length, heads, head_dim] and attention_mask int32[batch, length] -> like q
Kernel = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
BLOCK, LARGEST = 128, 512  # splash attention's rows come in multiples of these, up to these


def kernel(length: int, head_dim: int, dtype: jnp.dtype) -> Kernel | None:
    """What the device has for rows of `length` tokens; None, and a line in the log: nothing.
    Padding must stand at the rows' ends. What comes out at padded places means nothing."""
    where = platform()
    bfloat16 = dtype == jnp.bfloat16
    if where == 'gpu' and bfloat16 and head_dim % 8 == 0 and head_dim <= 128 and _ampere():
        return functools.partial(_on_each_device, _cudnn)
    if where == 'tpu' and length % BLOCK == 0:
        return functools.partial(_on_each_device, _splash)
    _say_there_is_none(length, head_dim, str(dtype), where)
    return None


def _ampere() -> bool:
    """Or newer, as cuDNN's kernel wants it."""
    capability = getattr(jax.local_devices()[0], 'compute_capability', '')
    return re.fullmatch(r'[\d.]+', capability) is not None and float(capability) >= 8


@functools.cache
def _say_there_is_none(length: int, head_dim: int, dtype: str, where: str) -> None:
    LOG.warning(
        'no flash attention on a %s for rows of %d tokens, heads of %d and %s: plain attention',
        *(where, length, head_dim, dtype),
    )


def _on_each_device(
    attend: Kernel, q: jax.Array, k: jax.Array, v: jax.Array, attention_mask: jax.Array
) -> jax.Array:
    """Each its own rows and heads: the compiler can't split a kernel."""
    if jax.sharding.get_abstract_mesh().empty:
        return attend(q, k, v, attention_mask)
    rows = partition_spec(('batch', 'length', 'heads', 'head_dim'))
    return jax.shard_map(
        attend,
        in_specs=(rows, rows, rows, partition_spec(('batch', 'length'))),
        out_specs=rows,
        check_vma=False,  # a kernel does not say what varies over the mesh
    )(q, k, v, attention_mask)


def _cudnn(q: jax.Array, k: jax.Array, v: jax.Array, attention_mask: jax.Array) -> jax.Array:
    # A row of a batch that is not full may have no tokens at all, and 0 / 0 would spread.
    lengths = jnp.maximum(jnp.sum(attention_mask, axis=-1, dtype=jnp.int32), 1)
    return jax.nn.dot_product_attention(
        q, k, v, key_value_seq_lengths=lengths, implementation='cudnn'
    )


def _splash(
    q: jax.Array, k: jax.Array, v: jax.Array, attention_mask: jax.Array, interpret: bool = False
) -> jax.Array:
    from jax.experimental.pallas.ops.tpu import splash_attention  # a tenth of a second

    length, heads, head_dim = q.shape[1:]
    block = max(size for size in range(BLOCK, LARGEST + 1, BLOCK) if length % size == 0)
    # One backward kernel for all three gradients where no block's share of dq waits for another's.
    own: dict[str, Any] = {} if block == length else {'block_q_dq': block, 'block_kv_dq': block}
    sizes = splash_attention.BlockSizes(
        block_q=block,
        block_kv=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        **own,
        use_fused_bwd_kernel=not own,
    )
    full = splash_attention.MultiHeadMask([splash_attention.FullMask((length, length))] * heads)
    attend = splash_attention.make_splash_mha(
        full, block_sizes=sizes, head_shards=1, q_seq_shards=1, interpret=interpret
    )
    # Padding is a segment of its own: it sees itself, so that no sum is empty.
    segments = splash_attention.SegmentIds(attention_mask, attention_mask)
    by_head = [x.swapaxes(1, 2) for x in (q * head_dim**-0.5, k, v)]
    return jax.vmap(attend)(*by_head, segments).swapaxes(1, 2)

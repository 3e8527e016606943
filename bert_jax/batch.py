"""Descriptions of batches: names, shapes, dtypes and logical axes of their arrays."""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np

# Lengths of fine-tuning batches, in tokens. They are few, because a step is compiled for each.
TRAINING_LENGTHS = (16, 32, 64, 96, 128, 192, 256, 384, 512)


@dataclasses.dataclass(frozen=True)
class Feature:
    """One array of a batch; axis 0 is the batch.

    shape: the global shape, over all hosts. axes: a logical axis name per dimension. maximum: the
    upper limit of integers, which are in [0, maximum); None for floats.
    """

    shape: tuple[int, ...]
    dtype: str
    axes: tuple[str, ...]
    maximum: int | None = None


BatchSpec = Mapping[str, Feature]
HostBatch = Mapping[str, np.ndarray]  # one host's rows
Batch = dict[str, jax.Array]  # all rows


def synthetic(spec: BatchSpec, seed: int = 0) -> dict[str, np.ndarray]:
    """A valid global batch of random integers and weights of one, without padding."""
    random = np.random.default_rng(seed)
    batch = {}
    for name, feature in spec.items():
        if feature.maximum is None or name == 'attention_mask':
            batch[name] = np.ones(feature.shape, feature.dtype)
        else:
            batch[name] = random.integers(feature.maximum, size=feature.shape, dtype=feature.dtype)
    return batch


def spec_of(batch: HostBatch, specs: Mapping[int, BatchSpec]) -> BatchSpec:
    """The spec for the batch's length. Raises ValueError if there is none."""
    length = batch['input_ids'].shape[1]
    if length not in specs:
        raise ValueError(f'a batch is {length} tokens long; expected one of {sorted(specs)}')
    return specs[length]


def check(batch: HostBatch, spec: BatchSpec, num_hosts: int) -> None:
    """Raises ValueError if a host's slice of a batch does not fit the spec.

    Labelled rows always have token types, which a model without types does not read.
    """
    if set(batch) - {'token_type_ids'} != set(spec) - {'token_type_ids'} or set(spec) - set(batch):
        raise ValueError(f'batch has {sorted(batch)}; the task needs {sorted(spec)}')
    for name, feature in spec.items():
        shape = (feature.shape[0] // num_hosts, *feature.shape[1:])
        if batch[name].shape != shape or batch[name].dtype != np.dtype(feature.dtype):
            raise ValueError(
                f'batch[{name!r}] is {batch[name].dtype}{batch[name].shape}; '
                f'expected {feature.dtype}{shape}'
            )
        if feature.maximum is not None and batch[name].size:
            low, high = batch[name].min(), batch[name].max()
            if low < 0 or high >= feature.maximum:
                raise ValueError(
                    f'batch[{name!r}] goes from {low} to {high}; expected 0 to '
                    f'{feature.maximum - 1}. Is the token store damaged?'
                )

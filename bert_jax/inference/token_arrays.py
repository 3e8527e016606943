"""Checks token arrays before a model receives them, and chooses the shapes of batches."""

from collections.abc import Mapping

import numpy as np

from bert_jax.config import ModelConfig

# The lengths of the rows of batches. There are more lengths than in training, because a forward
# pass compiles fast, and with more lengths there is less padding.
INFERENCE_LENGTHS = (*range(16, 128, 16), *range(128, 256, 32), *range(256, 513, 64))
TOKENS = 2048  # the approximate number of tokens of a full batch
# The largest number of tokens that a batch generates, over all beams. The keys and values of all of
# them are in memory: 1.2 GB for a base model in float32.
GENERATED = 1 << 14
INPUTS = ('input_ids', 'attention_mask', 'token_type_ids')


def checked(batch: Mapping[str, np.ndarray], config: ModelConfig) -> dict[str, np.ndarray]:
    """Returns all arrays of INPUTS, int32[batch, length] each, with defaults for those that `batch`
    lacks. Raises ValueError if a model of `config` cannot use the names, shapes, ids or lengths."""
    if not isinstance(batch, Mapping) or 'input_ids' not in batch or {*batch} - {*INPUTS}:
        names = sorted(batch) if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(
            f'the batch has {names}; expected a dict with input_ids and, if they differ from '
            'the defaults, attention_mask and token_type_ids'
        )
    ids, checked = np.asarray(batch['input_ids']), {}
    defaults = {'attention_mask': np.ones_like(ids), 'token_type_ids': np.zeros_like(ids)}
    limits = (config.vocab_size, 2, max(config.type_vocab_size, 1))
    for name, limit in zip(INPUTS, limits, strict=True):
        array = np.asarray(batch.get(name, defaults.get(name)))
        if array.ndim != 2 or array.shape != ids.shape or array.dtype.kind not in 'iub':
            raise ValueError(
                f'{name} is {array.dtype}{list(array.shape)}; expected integers [batch, length] of '
                f'the shape of input_ids, {list(ids.shape)}'
            )
        if array.size and not 0 <= array.min() <= array.max() < limit:
            seen = f'{array.min()} to {array.max()}'
            raise ValueError(f'{name} has values from {seen}; expected 0 to {limit - 1}')
        checked[name] = array.astype(np.int32)
    if ids.shape[1] > (longest := config.longest_row):
        raise ValueError(f'input_ids are {ids.shape[1]} long; the model has {longest} positions')
    return checked


def batch_shapes(longest: int, devices: int, most_rows: int = TOKENS) -> dict[int, tuple[int, int]]:
    """Maps each row length up to `longest` to two numbers of rows, multiples of `devices`: for a
    batch of the last few examples, and for a batch of about TOKENS tokens, but at most `most_rows`
    rows."""
    shapes = {}
    for length in (*(n for n in INFERENCE_LENGTHS if n < longest), longest):
        full = max(min(TOKENS // length, most_rows) // devices, 1) * devices
        shapes[length] = max(full // 8 // devices, 1) * devices, full
    return shapes

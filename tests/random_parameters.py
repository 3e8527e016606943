"""Random parameters of a model."""

import functools
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from bert_jax.config import ModelConfig
from bert_jax.inference import model_dir
from bert_jax.models.encoder_decoder import model_of
from bert_jax.models.inputs import EncoderInputs

_abstract = functools.cache(model_dir.abstract_params)


def like_fresh(
    model: ModelConfig, heads: tuple[str, ...], num_labels: int = 1, seed: int = 0
) -> dict[str, Any]:
    """Parameters that are distributed nearly as fresh ones. NumPy draws them, because the
    initialization of the model would have to be compiled."""
    random = np.random.default_rng(seed)

    def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        constant = {'bias': 0.0, 'scale': 1.0}.get(path[-1].key)
        if constant is not None:
            return np.full(leaf.shape, constant, leaf.dtype)
        return random.normal(0, model.initializer_range, leaf.shape).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, _abstract(model, heads, num_labels))


@functools.cache
def fresh(model: ModelConfig, heads: tuple[str, ...]) -> dict[str, Any]:
    """The parameters that the model itself draws."""
    init = jax.jit(model_of(model, heads, 1).init)
    drawn = init(jax.random.key(0), EncoderInputs.example())['params']
    return jax.device_get(nn.unbox(drawn))

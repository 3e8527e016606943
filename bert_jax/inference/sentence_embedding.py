"""Sentence embeddings: how a Sentence Transformers model turns a text into one vector.

See Reimers and Gurevych (2019), section 3, and the modules of the library sentence-transformers.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from bert_jax.models.pooling import last_token

FILE, ARRAYS = 'sentence_embedding.json', 'sentence_embedding.npz'
# The activations of dense layers, by the last part of their names in PyTorch.
ACTIVATIONS = {
    'Identity': lambda x: x,
    'Tanh': jnp.tanh,
    'ReLU': jax.nn.relu,
    'GELU': lambda x: jax.nn.gelu(x, approximate=False),
    'SiLU': jax.nn.silu,
    'Sigmoid': jax.nn.sigmoid,
}


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer after the pooling.

    kind: 'dense', 'normalize' or 'layer_norm'. activation: a key of ACTIVATIONS, for a dense layer.
    residual: whether the input of a dense layer is added to its output. arrays: a dense layer has
    `weight` [out, in], perhaps `bias` [out] and, if the sizes of a residual differ, `residual`
    [out, in]. A layer normalization has `weight` and `bias`.
    """

    kind: str
    activation: str = 'Identity'
    residual: bool = False
    arrays: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __call__(self, x: jax.Array) -> jax.Array:
        """x[batch, in] -> [batch, out], float32"""
        if self.kind == 'normalize':
            return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
        if self.kind == 'layer_norm':
            centered = x - x.mean(-1, keepdims=True)
            variance = jnp.square(centered).mean(-1, keepdims=True)
            y = centered * jax.lax.rsqrt(variance + 1e-5) * self.arrays['weight']
            return y + self.arrays['bias']
        y = jnp.matmul(x, self.arrays['weight'].T, precision='highest')
        y = ACTIVATIONS[self.activation](y + self.arrays['bias'] if 'bias' in self.arrays else y)
        if not self.residual:
            return y
        matrix = self.arrays.get('residual')
        return y + (x if matrix is None else jnp.matmul(x, matrix.T, precision='highest'))

    def width(self, inputs: int) -> int:
        return len(self.arrays['weight']) if self.kind == 'dense' else inputs


@dataclasses.dataclass(frozen=True)
class SentenceEmbedding:
    """The sentence embedding of a model.

    poolings: entries of MODES, whose vectors are joined. layers: what follows. max_seq_length: the
    longest row of tokens, None if only the positions limit it. lowercase: whether texts are
    lowercased before the tokenizer receives them. prompts: texts that can be put in front of a
    text, by name. default_prompt: the name of the prompt of texts without another one, or ''.
    include_prompt: whether the pooling includes the tokens of the prompt.
    """

    poolings: tuple[str, ...] = ('mean',)
    layers: tuple[Layer, ...] = ()
    max_seq_length: int | None = None
    lowercase: bool = False
    prompts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    default_prompt: str = ''
    include_prompt: bool = True

    def prompt(self, name: str | None) -> str:
        """The text of a prompt; None means the default one. Raises ValueError for other names."""
        name = self.default_prompt if name is None else name
        if name and name not in self.prompts:
            known = ', '.join(map(repr, self.prompts)) or 'none'
            raise ValueError(f'the prompt is {name!r}; this model has {known}')
        return self.prompts[name] if name else ''

    def width(self, hidden: int) -> int:
        """The number of elements of a vector."""
        size = hidden * len(self.poolings)
        for layer in self.layers:
            size = layer.width(size)
        return size

    @property
    def normalizes(self) -> bool:
        return bool(self.layers) and self.layers[-1].kind == 'normalize'

    def pooled(self, hidden: jax.Array, mask: jax.Array, skipped: int = 0) -> jax.Array:
        """The vectors of texts, float32[batch, width].

        hidden: float32[batch, length, hidden]. mask: int[batch, length], 0 for padding, which is
        at the end of rows. skipped: the number of tokens at the start that are left out, such as
        those of a prompt.
        """
        mask = jnp.where(jnp.arange(hidden.shape[1]) >= skipped, mask, 0)
        vectors = [_POOL[mode](hidden, mask) for mode in self.poolings]
        x = jnp.concatenate(vectors, axis=-1)
        for layer in self.layers:
            x = layer(x)
        return x

    def __str__(self) -> str:
        parts = [f'pooling {" and ".join(self.poolings)}']
        for layer in self.layers:
            shape = ' to '.join(map(str, reversed(layer.arrays.get('weight', np.empty(0)).shape)))
            dense = f'dense {shape} ({layer.activation})'
            parts.append(dense if layer.kind == 'dense' else layer.kind.replace('_', ' '))
        if self.max_seq_length:
            parts.append(f'at most {self.max_seq_length} tokens')
        parts += ['lowercased texts'] if self.lowercase else []
        if named := [name for name, text in self.prompts.items() if text]:
            parts.append(f'prompts {", ".join(map(repr, named))}')
        parts += [f'by default {self.default_prompt!r}'] if self.default_prompt else []
        return ', '.join(parts)

    def save(self, folder: pathlib.Path) -> None:
        """Writes the files that `load` reads."""
        values, arrays = dataclasses.asdict(self), dict[str, Any]()
        for i, layer in enumerate(values['layers']):
            for name, array in layer.pop('arrays').items():
                arrays[f'{i}/{name}'] = array
        (folder / FILE).write_text(json.dumps(values, indent=2) + '\n')
        if arrays:
            np.savez(folder / ARRAYS, **arrays)


def load(folder: epath.Path) -> SentenceEmbedding | None:
    """The sentence embedding of a converted folder; None if it has none."""
    if not (folder / FILE).exists():
        return None
    values = json.loads((folder / FILE).read_text())
    layers = [Layer(**layer) for layer in values.pop('layers')]
    if (folder / ARRAYS).exists():
        with (folder / ARRAYS).open('rb') as file:
            for name, array in np.load(file).items():
                number, key = name.split('/')
                layers[int(number)].arrays[key] = array
    poolings = tuple(values.pop('poolings'))
    return SentenceEmbedding(poolings=poolings, layers=tuple(layers), **values)


def _first(hidden: jax.Array, mask: jax.Array) -> jax.Array:
    index = jnp.argmax(mask > 0, axis=1)
    return jnp.take_along_axis(hidden, index[:, None, None], axis=1)[:, 0]


def _max(hidden: jax.Array, mask: jax.Array) -> jax.Array:
    shown = jnp.where(mask[:, :, None] > 0, hidden, -jnp.inf)
    return jnp.where(jnp.any(mask > 0, axis=1)[:, None], jnp.max(shown, axis=1), 0.0)


def _weighted(hidden: jax.Array, weights: jax.Array, power: float = 1.0) -> jax.Array:
    total = jnp.sum(hidden * weights[:, :, None], axis=1)
    return total / jnp.maximum(jnp.sum(weights, axis=1), 1e-9)[:, None] ** power


# The pooling functions by mode. They take hidden states, float[batch, length, hidden], and a mask,
# int[batch, length], and return float[batch, hidden].
_POOL: Mapping[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    'cls': _first,
    'max': _max,
    'mean': lambda hidden, mask: _weighted(hidden, mask.astype(jnp.float32)),
    'mean_sqrt_len_tokens': lambda hidden, mask: _weighted(hidden, mask.astype(jnp.float32), 0.5),
    'weightedmean': lambda hidden, mask: _weighted(
        hidden, mask * jnp.arange(1.0, hidden.shape[1] + 1)
    ),
    'lasttoken': last_token,
}
MODES = tuple(_POOL)

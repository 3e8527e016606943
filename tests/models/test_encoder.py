"""The encoder: what padding, dropout, remat and unrolling may and may not change."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_model import TINY

from bert_jax.models import layers
from bert_jax.models.encoder import Encoder
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.layers import ACTIVATIONS, Dropout, LayerNorm

IDS = np.random.default_rng(0).integers(0, 1000, (2, 12)).astype(np.int32)
TYPES = np.repeat(np.arange(2)[None, :], 6, axis=1).reshape(1, 12).repeat(2, axis=0)
MASK = np.ones_like(IDS)
INPUTS = EncoderInputs(IDS, TYPES, None, MASK)


def encoder(**changes: object) -> Encoder:
    return Encoder(dataclasses.replace(TINY.model, **changes))  # type: ignore[arg-type]


PARAMS = nn.unbox(jax.jit(encoder().init)(jax.random.key(0), INPUTS))
APPLY = jax.jit(encoder().apply)


def test_padding_changes_nothing_before_it() -> None:
    longer = [np.pad(x, ((0, 0), (0, 5)), constant_values=v) for x, v in ((IDS, 9), (TYPES, 1))]
    mask = np.pad(MASK, ((0, 0), (0, 5)))
    plain = APPLY(PARAMS, INPUTS)
    padded = APPLY(PARAMS, EncoderInputs(*longer, None, mask))
    np.testing.assert_allclose(padded[:, :12], plain, atol=2e-6)


def test_segments_and_positions_matter() -> None:
    plain = APPLY(PARAMS, INPUTS)
    others = APPLY(PARAMS, INPUTS.replace(token_type_ids=1 - TYPES))
    assert np.abs(others - plain).max() > 1e-3
    turned = APPLY(PARAMS, INPUTS.replace(input_ids=IDS[:, ::-1]))
    assert np.abs(turned[:, ::-1] - plain).max() > 1e-3


def test_defaults_of_the_inputs() -> None:
    """By default, the token type is 0, positions begin at 0, and there is no padding."""
    given = EncoderInputs(IDS, np.zeros_like(IDS), np.arange(12)[None].repeat(2, 0), MASK)
    np.testing.assert_allclose(APPLY(PARAMS, EncoderInputs(IDS)), APPLY(PARAMS, given), atol=1e-6)


def test_packed_sequences_are_as_if_they_were_alone() -> None:
    segments = np.array([[1] * 5 + [2] * 7, [1] * 4 + [2] * 3 + [0] * 5], np.int32)
    positions = np.array([[*range(5), *range(7)], [*range(4), *range(8)]], np.int32)
    packed = APPLY(PARAMS, EncoderInputs(IDS, TYPES, positions, segments, packed=True))
    for row, start, end in ((0, 0, 5), (0, 5, 12), (1, 0, 4), (1, 4, 7)):
        mask = np.zeros_like(MASK[:1])
        mask[0, : end - start] = 1
        shifted = [np.roll(x[row : row + 1], -start, axis=1) for x in (IDS, TYPES)]
        alone = APPLY(PARAMS, EncoderInputs(*shifted, None, mask))
        np.testing.assert_allclose(packed[row, start:end], alone[0, : end - start], atol=2e-6)


@pytest.mark.parametrize(
    'changes',
    [
        pytest.param({'remat': 'full'}, marks=pytest.mark.slow),
        {'remat': 'dots'},
        {'scan_unroll': 3},
    ],
)
def test_remat_and_unroll_change_no_gradient(changes: dict) -> None:
    def loss(params: dict, model: Encoder) -> jax.Array:
        key = {'dropout': jax.random.key(2)}
        return jnp.sum(model.apply(params, INPUTS, False, rngs=key) ** 3)

    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    ours, theirs = (gradient(PARAMS, model) for model in (encoder(**changes), encoder()))
    scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(theirs))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a / scale, b / scale, atol=1e-5)


@pytest.mark.parametrize('unroll', [pytest.param(0, marks=pytest.mark.slow), 1])
def test_remat_takes_less_memory(unroll: int) -> None:
    """Recomputation is not optimized away on CPU either, although layers are unrolled there by
    default and XLA could find the results of the forward pass."""
    ids = jax.ShapeDtypeStruct((8, 64), 'int32')
    inputs = EncoderInputs(ids, ids, None, ids)

    def temporaries(remat: str) -> int:
        model = encoder(remat=remat, scan_unroll=unroll, num_hidden_layers=6)
        params = jax.eval_shape(lambda: nn.unbox(model.init(jax.random.key(0), INPUTS)))
        step = jax.jit(jax.grad(lambda *x: jnp.sum(model.apply(*x) ** 3)))
        memory: Any = step.lower(params, inputs).compile().memory_analysis()
        return memory.temp_size_in_bytes

    assert temporaries('full') < 0.7 * temporaries('none')


def test_layers_draw_their_own_dropout() -> None:
    """With a single token, a bias has no gradient exactly where the dropout after it is zero."""
    token = EncoderInputs(IDS[:1, :1], TYPES[:1, :1])
    model = encoder(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.0)

    @jax.jit
    @jax.grad
    def gradient(params: dict, key: jax.Array) -> jax.Array:
        return jnp.sum(model.apply(params, token, False, rngs={'dropout': key}) ** 3)

    def masks(seed: int) -> np.ndarray:
        """bool[2 * layers, hidden]: what is kept after attention, and at the end of a layer"""
        layers = gradient(PARAMS, jax.random.key(seed))['params']['layers']
        biases = layers['attention']['output']['bias'], layers['output']['bias']
        return np.concatenate(biases) != 0

    first = masks(3)
    np.testing.assert_array_equal(first, masks(3))
    every = np.concatenate([first, masks(4)]).astype(int)
    agreement = np.corrcoef(every)[~np.eye(len(every), dtype=bool)]
    # 64 elements each: chance is 0 with a standard deviation of 1/8.
    assert np.abs(agreement).max() < 0.6
    assert abs(every.mean() - 0.5) < 0.1


@pytest.mark.parametrize('platform', ['cpu', 'tpu'])
@pytest.mark.parametrize('width', [64, 63])
@pytest.mark.parametrize('rate', [0.1, 0.5])
def test_dropout_keeps_rate_and_mean(
    rate: float, width: int, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, 'platform', lambda: platform)
    x = jnp.ones((4000, width))
    y = Dropout(rate).apply({}, x, False, rngs={'dropout': jax.random.key(0)})
    np.testing.assert_allclose((y == 0).mean(), rate, atol=0.004)
    np.testing.assert_allclose(y.mean(), 1, atol=0.01)
    columns = (y == 0).mean(axis=0)
    assert columns.std() < 3 * np.sqrt(rate * (1 - rate) / 4000)
    for of_the_same_word in ((0, 1), (0, 32)):
        assert abs(np.corrcoef(y[:, of_the_same_word], rowvar=False)[0, 1]) < 0.06
    np.testing.assert_array_equal(Dropout(rate).apply({}, x, True), x)


def test_dropout_scales_bfloat16_without_bias() -> None:
    x = jax.random.uniform(jax.random.key(1), (400, 64), jnp.bfloat16, 1, 2)
    y = Dropout(0.1).apply({}, x, False, rngs={'dropout': jax.random.key(0)})
    assert y.dtype == jnp.bfloat16
    kept = y != 0
    scale = np.float32(y)[kept] / np.float32(x)[kept]
    np.testing.assert_allclose(scale.mean() * 0.9, 1, atol=3e-4)


def test_layer_norm_is_float32_inside() -> None:
    norm = LayerNorm(dataclasses.replace(TINY.model, dtype='bfloat16'))
    x = (1000 + np.random.default_rng(0).normal(size=(3, 64))).astype(np.float32)
    params = nn.unbox(norm.init(jax.random.key(0), x))
    y = norm.apply(params, x)
    expected = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(y), expected, atol=0.02)


def test_gelu_by_name() -> None:
    x = jnp.linspace(-4, 4, 101)
    exact = x * jax.scipy.stats.norm.cdf(x)
    np.testing.assert_allclose(ACTIVATIONS['gelu'](x), exact, atol=1e-6)
    assert 1e-5 < np.abs(ACTIVATIONS['gelu_new'](x) - exact).max() < 1e-3
    for name in ('gelu', 'gelu_new'):  # computed in float32, rounded once
        narrow = ACTIVATIONS[name](x.astype(jnp.bfloat16))
        wide = ACTIVATIONS[name](x.astype(jnp.bfloat16).astype(jnp.float32))
        assert narrow.dtype == jnp.bfloat16
        np.testing.assert_allclose(narrow.astype(jnp.float32), wide, rtol=2**-8, atol=1e-6)

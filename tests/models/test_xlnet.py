"""XLNet: what each place sees, in both streams and at every layer; padding; and its memory."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from kinds import tiny

from bert_jax.models.heads import HeadedEncoder
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.presets import PRESETS
from bert_jax.models.xlnet import MEMORY, XLNet

CONFIG = dataclasses.replace(
    tiny(PRESETS['xlnet-base-cased']),
    vocab_size=60,
    hidden_size=16,
    num_attention_heads=2,
    intermediate_size=16,
    num_hidden_layers=3,
    initializer_range=0.3,  # large, so that each influence shows in float32
    scan_unroll=1,
)
LENGTH, HALF = 12, 100


def order_of_row(halves: bool) -> np.ndarray:
    """Numbers as `data.pretraining.permutations` makes them: 0 or HALF for tokens that are not
    predicted, and different numbers for the others."""
    order = np.array([3, 0, 1, 0, 5, 2, 0, 4, 0, 6, 0, 7])
    return order + HALF * (np.arange(LENGTH) >= LENGTH // 2) if halves else order


@pytest.fixture(scope='module')
def params() -> Any:
    init = jax.jit(XLNet(CONFIG).init)
    return nn.unbox(init(jax.random.key(0), EncoderInputs.example())['params'])


@functools.cache
def compiled(layers: int) -> Any:
    model = XLNet(dataclasses.replace(CONFIG, num_hidden_layers=layers))
    return jax.jit(lambda params, inputs: model.apply({'params': params}, inputs))


def moved(params: Any, layers: int, order: np.ndarray, targets: np.ndarray | None) -> np.ndarray:
    """bool[places or targets, places]: whether the state after some layers depends on the token of
    each place. Each row of a batch has another token at one place."""
    cut = params | {'layers': jax.tree.map(lambda x: x[:layers], params['layers'])}
    ids = np.tile(np.arange(10, 10 + LENGTH), (LENGTH + 1, 1))
    ids[np.arange(1, LENGTH + 1), np.arange(LENGTH)] += 30

    def every_row(values: np.ndarray) -> jax.Array:
        return jnp.asarray(np.tile(values, (LENGTH + 1, 1)), jnp.int32)

    inputs = EncoderInputs(
        jnp.asarray(ids),
        every_row(np.arange(LENGTH) // 5),
        factorization_order=every_row(order),
        targets=None if targets is None else every_row(targets),
    )
    states = compiled(layers)(cut, inputs)
    return (np.asarray(states[1:]) != np.asarray(states[0])).any(-1).T


@pytest.mark.parametrize('halves', [False, True])
def test_no_place_sees_itself_or_what_comes_later(params: Any, halves: bool) -> None:
    """A target depends on the tokens before it in the order, and on no other one. A place of the
    content stream depends on its own token, too. This holds after one, two and three layers."""
    order = order_of_row(halves)
    targets = np.flatnonzero(order % HALF)
    for layers in (1, 2, 3):
        content = moved(params, layers, order, None)
        np.testing.assert_array_equal(content, order <= order[:, None])
        assert content.diagonal().all()
        query = moved(params, layers, order, targets)
        np.testing.assert_array_equal(query, order < order[targets, None])


def test_padding_changes_nothing() -> None:
    """The states of tokens and the logits of a row are the same without padding, with padding on
    the left, and with padding on the right."""
    model = HeadedEncoder(CONFIG, ('pooler', 'classifier'), 3)
    params = nn.unbox(jax.jit(model.init)(jax.random.key(0), EncoderInputs.example())['params'])
    apply = jax.jit(model.apply)
    ids = np.arange(10, 18)[None]
    found = []
    for left, right in ((0, 0), (4, 0), (0, 4)):
        around = ((0, 0), (left, right))
        arrays = (np.pad(x, around) for x in (ids, np.arange(8)[None] // 5, np.ones_like(ids)))
        inputs = [jnp.asarray(x, jnp.int32) for x in arrays]
        mask = None if left + right == 0 else inputs[2]
        outputs: Any = apply({'params': params}, EncoderInputs(*inputs[:2], None, mask))
        states = outputs['last_hidden_state'][:, left : left + 8]
        found.append((states, outputs['logits'], outputs['pooler_output']))
    for other in found[1:]:
        for here, there in zip(found[0], other, strict=True):
            np.testing.assert_allclose(here, there, atol=2e-6)


def test_memory_that_is_not_valid_is_not_seen(params: Any) -> None:
    """With memory_length 0 the states are those without memory. The memory has no gradient."""
    model = XLNet(dataclasses.replace(CONFIG, mem_len=6, reuse_len=4))
    memory = jax.random.normal(jax.random.key(1), (1, 3, 6, 16))
    inputs = EncoderInputs(jnp.arange(10, 18)[None])

    @jax.jit
    def run(memory: jax.Array, known: jax.Array) -> Any:
        given = dataclasses.replace(inputs, memory=memory, memory_length=known)
        return model.apply({'params': params}, given, mutable=[MEMORY])

    states, variables = run(memory, jnp.array([0]))
    alone = jax.jit(model.apply)({'params': params}, inputs)
    np.testing.assert_allclose(states, alone, atol=2e-6)
    (remembered,) = variables[MEMORY]['hidden']
    np.testing.assert_array_equal(remembered[:, :, :2], memory[:, :, 4:])
    words = params['embeddings']['word_embeddings'][10:14]
    np.testing.assert_array_equal(remembered[0, 0, 2:], words)
    assert np.abs(run(memory, jnp.array([6]))[0] - alone).max() > 0.01
    changed = memory.at[:, :, :3].set(0)  # only the last three are valid
    np.testing.assert_array_equal(*(run(x, jnp.array([3]))[0] for x in (memory, changed)))


def test_the_length_may_be_symbolic(params: Any) -> None:
    """`bert_jax export` writes one program for texts of any length."""
    shape = jax.export.symbolic_shape('batch, length', constraints=['batch >= 1', 'length <= 64'])
    names = ('input_ids', 'attention_mask', 'token_type_ids')
    batch = {name: jax.ShapeDtypeStruct(shape, jnp.int32) for name in names}
    model = XLNet(CONFIG)
    outputs: Any = jax.eval_shape(
        lambda batch: model.apply({'params': params}, EncoderInputs.from_batch(batch)), batch
    )
    assert outputs.shape == (*shape, CONFIG.hidden_size)

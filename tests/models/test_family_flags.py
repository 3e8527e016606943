"""Options of the encoder for families other than BERT, and options that exclude each other."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import pytest
import random_parameters
from flax import linen as nn
from kinds import tiny
from tiny_model import TINY, run_steps

from bert_jax.config import Config, MeshConfig, ModelConfig, from_dict
from bert_jax.models.encoder import Encoder
from bert_jax.models.heads import HEADS, HeadedEncoder
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.presets import PRESETS

ROWS = EncoderInputs(np.arange(24, dtype=np.int32).reshape(2, 12) % 20)
QUIET = {'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0, 'scan_unroll': 1}


def init(model: ModelConfig) -> tuple[Encoder, Any]:
    encoder = Encoder(model)
    return encoder, nn.unbox(jax.jit(encoder.init)(jax.random.key(0), ROWS))


@functools.cache
def compiled(encoder: Encoder, evaluates: bool) -> Any:
    return jax.jit(lambda params, rngs: encoder.apply(params, ROWS, evaluates, rngs=rngs))


def run(encoder: Encoder, params: Any, seed: int | None = None) -> np.ndarray:
    """The hidden states. With a seed, the model runs as in training."""
    rngs = None if seed is None else {'dropout': jax.random.key(seed)}
    return np.asarray(compiled(encoder, seed is None)(params, rngs))


@pytest.mark.parametrize('name', ['flaubert-base', 'flaubert-large', 'modernbert-base'])
def test_layerdrop_skips_layers_in_training_only(name: str) -> None:
    model = dataclasses.replace(tiny(PRESETS[name]), **QUIET, layerdrop=0.999)
    encoder, params = init(model)
    whole = run(encoder, params)
    plain = Encoder(dataclasses.replace(model, layerdrop=0.0))
    np.testing.assert_array_equal(whole, run(plain, params))
    embed = jax.jit(lambda params: encoder.apply(params, method=lambda e: e.embeddings(ROWS, True)))
    embeddings = np.asarray(embed(params))
    np.testing.assert_allclose(run(encoder, params, seed=0), embeddings, atol=1e-6)
    assert np.abs(whole - embeddings).max() > 0.01


def test_every_application_of_a_shared_layer_has_its_own_random_bits() -> None:
    changes = {'layerdrop': 0.5, 'num_hidden_layers': 6}
    encoder, params = init(dataclasses.replace(tiny(PRESETS['albert-base']), **QUIET, **changes))
    layers = params['params']['layers']
    assert {leaf.shape[0] for leaf in jax.tree.leaves(layers)} == {1}
    outputs = {run(encoder, params, seed).tobytes() for seed in range(12)}
    assert len(outputs) > 2  # all layers or none would be dropped with the same bits


def test_local_attention_sees_near_tokens_alone() -> None:
    """In one layer with a window of two tokens on each side, a token does not see the fourth
    token."""
    model = dataclasses.replace(tiny(PRESETS['modernbert-base']), **QUIET, local_attention=4)
    one = dataclasses.replace(model, num_hidden_layers=2, global_attn_every_n_layers=2)
    encoder, params = init(one)
    # The first layer has global attention: without its attention, the second layer alone counts.
    kernel = params['params']['layers']['attention']['output']['kernel']
    params['params']['layers']['attention']['output']['kernel'] = kernel.at[0].set(0)
    apply = jax.jit(lambda ids: encoder.apply(params, EncoderInputs(ids)))
    ids = np.array(ROWS.input_ids)
    before = np.asarray(apply(ids))
    ids[:, 6] = 19
    after = np.asarray(apply(ids))
    changed = np.abs(after - before).max(axis=(0, 2)) > 1e-5
    assert list(np.flatnonzero(changed)) == [4, 5, 6, 7, 8]


@pytest.mark.slow
def test_lamb_trains_shared_layers() -> None:
    model = dataclasses.replace(tiny(PRESETS['albert-base']), scan_unroll=1)
    optim = dataclasses.replace(TINY.optim, name='lamb', learning_rate=0.02)
    config = dataclasses.replace(TINY, model=model, optim=optim)
    losses, _ = run_steps(config, MeshConfig(1, 1), steps=10)
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize('head', ['classifier', 'tagger', 'span'])
@pytest.mark.parametrize('rate', [-1.0, 0.0, 0.4])
def test_the_dropout_of_heads(head: str, rate: float) -> None:
    """The share of the last layer's weights without a gradient equals the dropout rate."""
    changes = {'hidden_size': 256, f'{head}_dropout': rate, 'summary_use_proj': False}
    model = dataclasses.replace(tiny(PRESETS['bert-base']), **QUIET, **changes)
    model = dataclasses.replace(model, hidden_dropout_prob=0.2, layer_norm_eps=1.0)
    module = HeadedEncoder(model, (head,), 2)
    one = EncoderInputs(np.zeros((1, 1), np.int32))
    params = {'params': random_parameters.like_fresh(model, (head,), 2)}

    def total(params: Any) -> jax.Array:
        rngs = {'dropout': jax.random.key(1)}
        outputs: Any = module.apply(params, one, None, False, rngs=rngs)
        return sum(outputs[name].sum() for name in HEADS[head].outputs)

    gradient = np.asarray(jax.jit(jax.grad(total))(params)['params'][head]['kernel'])
    expected = 0.2 if rate < 0 else rate
    assert abs(np.mean(gradient == 0) - expected) < 0.08


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'optim.layer_decay': 0.9, 'model.share_layers': True}, 'layer_decay is 0.9.*expected 1'),
        (
            {'reinit_layers': 1, 'init_from': 'x', 'model.share_layers': True},
            'reinit_layers is 1.*expected 0 because the layers share',
        ),
        (
            {'optim.freeze': '1', 'model.share_layers': True},
            "freeze is '1'.*expected 'embeddings' or empty because the layers share",
        ),
        ({'model.final_norm': True}, 'final_norm is True.*pre_norm is False'),
        ({'model.position_offset': 512}, r'position_offset is 512.*less than .*\(512\)'),
        ({'model.position_offset': 2}, r'max_seq_length .* - model.position_offset \(510\)'),
        (
            {'model.attention': 'flash', 'model.local_attention': 8}
            | {'model.attention_probs_dropout_prob': 0.0},
            "attention is 'flash'.*'dense' because model.local_attention",
        ),
        (
            {'model.position_embedding_type': 'rotary', 'model.num_attention_heads': 256},
            'size of a head is even; it is 3',
        ),
        ({'model.model_type': 'alberta'}, "model_type is 'alberta'.*albert"),
    ],
)
def test_what_does_not_go_together(changes: dict[str, Any], message: str) -> None:
    values = Config().to_dict()
    for key, value in changes.items():
        *path, name = key.split('.')
        inner = values
        for part in path:
            inner = inner[part]
        inner[name] = value
    with pytest.raises(ValueError, match=message):
        from_dict(values)

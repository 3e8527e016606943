"""The encoder-decoder: what it shares, what a token sees, and the texts it writes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_tasks
from flax import linen as nn

from bert_jax.models import encoder_decoder, generation
from bert_jax.models.encoder_decoder import EncoderDecoder, completed
from bert_jax.models.generation import Search, generate
from bert_jax.models.inputs import EncoderInputs

MODEL = small_tasks.MODEL
START, END, PAD = 2, 3, 0
LONGEST = 10


def random_params(model: EncoderDecoder) -> Any:
    """Parameters that are larger than fresh ones, so that the texts of two sources differ."""
    abstract = jax.eval_shape(model.init, jax.random.key(0), EncoderInputs.example())['params']
    random = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: jnp.float32(random.normal(0, 0.4, leaf.shape)), nn.unbox(abstract)
    )


def batch(rows: int = 6, length: int = 8) -> EncoderInputs:
    random = np.random.default_rng(1)
    mask = (np.arange(length) < random.integers(3, length + 1, rows)[:, None]).astype(np.int32)
    mask[-1] = 0  # a row that only fills a batch
    ids = random.integers(4, MODEL.vocab_size, (rows, length)).astype(np.int32) * mask
    return EncoderInputs(jnp.asarray(ids), segment_ids=jnp.asarray(mask))


@pytest.mark.parametrize('shares', encoder_decoder.SHARED)
def test_what_the_decoder_shares_is_stored_once(shares: Any) -> None:
    config = dataclasses.replace(MODEL, decoder_shares=shares)
    model = EncoderDecoder(config)
    params = random_params(model)
    decoder = params['decoder']
    own = {'nothing': {'embeddings', 'layers'}}.get(shares, {'layers'})
    assert set(decoder) == own
    assert (set(decoder['layers']) == {'cross_attention'}) == (shares == 'everything')
    whole = completed(config, params)['decoder']
    assert set(whole) == {'embeddings', 'layers'}
    for name in encoder_decoder.SHARED[shares]:
        theirs = params['encoder'][name]
        shared = {part: whole[name][part] for part in theirs}
        jax.tree.map(np.testing.assert_array_equal, shared, theirs)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'pre_norm': True}, 'pre_norm is True; a decoder supports only False'),
        ({'share_layers': True}, 'share_layers is True'),
        ({'position_embedding_type': 'rotary'}, "position_embedding_type is 'rotary'"),
        ({'decoder_shares': 'everything', 'decoder_layers': 1}, 'decoder_layers is 1; a .* only 2'),
    ],
)
def test_models_without_a_decoder(changes: dict[str, Any], message: str) -> None:
    encoder_decoder.check(MODEL)
    with pytest.raises(ValueError, match=message):
        encoder_decoder.check(dataclasses.replace(MODEL, **changes))


def test_what_a_token_sees_and_what_is_written() -> None:
    """A token's scores depend on the tokens before it and on the real tokens of the source. The
    texts with cached keys are those of whole targets."""
    model = EncoderDecoder(
        dataclasses.replace(MODEL, decoder_layers=1, decoder_shares='embeddings')
    )
    params, inputs = random_params(model), batch()
    search = Search(START, END, PAD, MODEL.vocab_size - 2, LONGEST)
    apply = jax.jit(lambda inputs, ids: model.apply({'params': params}, inputs, ids))
    scores = lambda inputs, ids: np.asarray(apply(inputs, ids)['prediction_logits'])  # noqa: E731

    ids = np.random.default_rng(2).integers(4, MODEL.vocab_size, (6, LONGEST)).astype(np.int32)
    usual = scores(inputs, ids)
    for place in (0, 4, LONGEST - 1):
        other = ids.copy()
        other[:, place] = (other[:, place] - 3) % (MODEL.vocab_size - 4) + 4
        moved = np.abs(scores(inputs, other) - usual).max(axis=(0, 2)) > 1e-6
        assert moved.tolist() == [i >= place for i in range(LONGEST)]
    mask = np.asarray(inputs.segment_ids)
    padded = dataclasses.replace(inputs, input_ids=inputs.input_ids + 5 * (1 - mask))
    np.testing.assert_allclose(scores(padded, ids)[:-1], usual[:-1], atol=1e-5)
    changed = dataclasses.replace(
        inputs, input_ids=(inputs.input_ids + 1) % MODEL.vocab_size * mask
    )
    assert np.abs(scores(changed, ids) - usual)[:-1].max(axis=(1, 2)).min() > 1e-3

    written = np.asarray(jax.jit(generate, static_argnums=(0, 3))(model, params, inputs, search))
    read = np.concatenate([np.full((6, 1), START), written[:, :-1]], axis=1).astype(np.int32)
    best = scores(inputs, read)[:, :, : search.tokens].argmax(-1)
    ended = np.cumsum(written == END, axis=1) - (written == END) > 0
    np.testing.assert_array_equal(written[:-1], np.where(ended, PAD, best)[:-1])
    assert (written[-1] == PAD).all() and written.max() < search.tokens


def test_beams_find_the_best_texts() -> None:
    """With more beams than there are texts, the search finds the text with the best score."""
    model = EncoderDecoder(dataclasses.replace(MODEL, vocab_size=6, decoder_layers=1))
    params, length, penalty = random_params(model), 2, 0.7
    inputs = dataclasses.replace(batch(), input_ids=batch().input_ids % 6)
    search = Search(START, END, PAD, 6, length, num_beams=6, length_penalty=penalty)
    written = np.asarray(jax.jit(generate, static_argnums=(0, 3))(model, params, inputs, search))
    texts = [(END, PAD), *((i, j) for i in range(6) for j in range(6) if i != END)]
    read = np.tile([(START, first) for first, _ in texts], (len(written), 1)).astype(np.int32)
    many = jax.tree.map(lambda x: jnp.repeat(x, len(texts), 0), inputs)
    logits = jax.jit(model.apply)({'params': params}, many, read)['prediction_logits']
    logs = np.asarray(jax.nn.log_softmax(logits)).reshape(len(written), len(texts), 2, 6)
    for row, text in enumerate(written[:-1].tolist()):
        scores = [
            logs[row, i, 0, END]
            if one == END
            else (logs[row, i, 0, one] + logs[row, i, 1, two]) / 2**penalty
            for i, (one, two) in enumerate(texts)
        ]
        assert tuple(text) == texts[int(np.argmax(scores))]


@pytest.mark.parametrize(
    ('written', 'least', 'size', 'expected'),
    [
        ([5, 6, 5], 0, 3, set()),
        ([5, 6, START, 5], 0, 3, {6}),  # the start token is a part of the text
        ([5], 0, 3, set()),  # shorter than an n-gram
        ([], 0, LONGEST + 2, set()),
        ([5, 6], 3, 0, set()),  # the next token is the third one
        ([5, 6], 4, 0, {END}),
        ([5, 6, 5], 5, 2, {END, 6}),
    ],
)
def test_tokens_that_must_not_follow(
    written: list[int], least: int, size: int, expected: set[int]
) -> None:
    search = Search(START, END, PAD, 8, LONGEST, min_target_length=least, no_repeat_ngram_size=size)
    text = np.full((2, 1, LONGEST), PAD)
    text[1, 0, : len(written)] = written
    scores = generation._allowed(
        jnp.zeros((2, 1, 8)), jnp.asarray(text), jnp.int32(len(written)), search
    )
    assert {*np.flatnonzero(np.isinf(scores[1, 0]))} == expected

"""The rows of permutation language modelling: targets, their order, and lanes for the memory."""

import dataclasses

import made_stores
import numpy as np
import pytest
from kinds import tiny

from bert_jax.data.pretraining import input_pipeline
from bert_jax.data.pretraining.permutations import HALF
from bert_jax.data.store import format
from bert_jax.data.tokenizers import tokenizer
from bert_jax.models.presets import PRESETS

LENGTH, ROWS, SLOTS = 64, 8, 11
MEMORY = {'mem_len': 24, 'reuse_len': 10}


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return made_stores.write(
        tmp_path_factory.mktemp('permutations') / 'store',
        made_stores.documents(60),
        made_stores.documents(25, seed=1),
    )


def configured(directory, rows=ROWS, **model):
    size = format.read_meta(directory).vocab_size
    small = dataclasses.replace(tiny(PRESETS['xlnet-base-cased']), vocab_size=size, **model)
    made = made_stores.config(LENGTH, rows, SLOTS, masked_lm_prob=1 / 6, max_ngram=5)
    return dataclasses.replace(made, model=small, objective='plm')


def take(directory, config, start, stop, **hosts):
    return made_stores.joined(
        input_pipeline.train_batches(directory, config, start=start, stop=stop, **hosts)
    )


def test_a_sixth_of_the_text_is_predicted_in_a_random_order(made):
    batch, words = take(made, configured(made, rows=256), 0, 2), tokenizer.load(made)
    ids, order = batch['input_ids'], batch['factorization_order']
    real = batch['attention_mask'] > 0
    special = np.isin(ids, [words.specials.cls, words.specials.sep]) & real
    text, target = real & ~special, targets_of(batch)
    np.testing.assert_array_equal(ids[~real], words.specials.pad)
    np.testing.assert_array_equal(ids[target], batch['masked_lm_ids'][weights_of(batch)])
    assert not (target & ~text).any()
    wanted = np.clip(np.floor(text.sum(1) / 6 + 0.5), 1, SLOTS)
    np.testing.assert_array_equal(target.sum(1), wanted)
    # Tokens that are not predicted have the number 0, and others a number of their own.
    np.testing.assert_array_equal(order > 0, target | special)
    assert order.max() < HALF
    assert all(len(np.unique(x[x > 0])) == (x > 0).sum() for x in order)
    # The order does not depend on the place: a target has half of the others before it.
    full = real.all(1)
    before = (order[full][:, None] < order[full][:, :, None]) & (order[full] > 0)[:, None]
    others = (order[full] > 0).sum(1)[0] - 1
    later = before.sum(2)[target[full]].mean() / others
    assert 0.47 < later < 0.53


@pytest.mark.parametrize('backwards', [False, True])
def test_targets_are_runs_of_tokens_that_begin_with_a_word(made, backwards):
    """In rows that run backwards the run begins at its right end."""
    batch = take(made, configured(made, rows=256, bi_data=backwards), 0, 4)
    words = tokenizer.load(made)
    rows = batch['is_reversed'] == 1 if backwards else np.ones(len(batch['input_ids']), bool)
    assert rows.mean() == (0.5 if backwards else 1)
    ids, target = batch['input_ids'][rows], targets_of(batch)[rows]
    if backwards:
        ids, target = ids[:, ::-1], target[:, ::-1]
    before = np.pad(target, ((0, 0), (1, 0)))[:, :-1]
    begins = target & ~before
    starts_word = ~words.is_continuation[ids]
    assert starts_word[begins].mean() > 0.85  # of all tokens three of four begin a word
    lengths = np.diff(np.flatnonzero(np.diff(np.pad(target, ((0, 0), (1, 1))).ravel())))[::2]
    share = np.bincount(lengths, minlength=6)[1:6] / len(lengths)
    assert lengths.max() >= 5 and (np.diff(share) < 0.02).all() and 0.35 < share[0] < 0.6


def targets_of(batch):
    row, _ = np.nonzero(weights_of(batch))
    target = np.zeros(batch['input_ids'].shape, bool)
    target[row, batch['masked_lm_positions'][weights_of(batch)]] = True
    return target


def weights_of(batch):
    return batch['masked_lm_weights'] > 0


def test_segments_and_the_last_token(made):
    batch, words = take(made, configured(made), 0, 4), tokenizer.load(made)
    ids, types, real = (batch[x] for x in ('input_ids', 'token_type_ids', 'attention_mask'))
    assert (ids[:, -1] == words.specials.cls).all() and (types[:, -1] == 2).all()
    assert (ids == words.specials.cls).sum() == len(ids)
    assert (ids == words.specials.sep).sum() == 2 * len(ids) and (ids[:, -2] == 3).all()
    assert (np.diff(real, axis=1) >= 0).all() and not real.all()  # padding is on the left
    assert all((np.diff(x[r > 0]) >= 0).all() for x, r in zip(types, real, strict=True))
    assert 'next_sentence_labels' not in batch


@pytest.mark.parametrize('memory', [pytest.param({}, marks=pytest.mark.slow), MEMORY])
def test_batch_k_depends_on_the_seed_and_k_alone(made, memory):
    config = configured(made, bi_data=True, **memory)
    whole = take(made, config, 0, 6)
    part = {name: array[4 * ROWS : 5 * ROWS] for name, array in whole.items()}
    halves = [take(made, config, 4, 5, host=h, num_hosts=2) for h in range(2)]
    other = dataclasses.replace(config, data=dataclasses.replace(config.data, seed=1))
    for again in (take(made, config, 4, 5), made_stores.joined(halves)):
        for name, array in part.items():
            np.testing.assert_array_equal(again[name], array)
    assert not np.array_equal(take(made, other, 4, 5)['input_ids'], part['input_ids'])


def test_lanes_are_read_in_their_order(made):
    """Each row begins `reuse_len` tokens after the row at the same place of the batch before. Every
    second lane runs backwards. The next epoch begins at another token, without memory."""
    config = configured(made, bi_data=True, **MEMORY)
    reuse, sep = MEMORY['reuse_len'], tokenizer.load(made).specials.sep
    room, sentences = LENGTH - 3, format.open_store(made, 'train').sentences
    documents = len(format.open_store(made, 'train').documents) - 1
    lane = (int(sentences[-1] - sentences[0]) + documents - 1) // ROWS
    steps = (lane - room - reuse) // reuse + 1
    batches = [*input_pipeline.train_batches(made, config, start=0, stop=2 * steps)]
    known = np.array([batch['memory_length'] for batch in batches])
    expected = np.minimum(np.arange(2 * steps) % steps * reuse, MEMORY['mem_len'])
    np.testing.assert_array_equal(known, np.tile(expected[:, None], ROWS))
    seen, starts = [], []
    for row in range(ROWS):
        sign = 1 - 2 * (row % 2)
        assert {batch['is_reversed'][row] for batch in batches} == {row % 2}
        for epoch in range(2):
            part = batches[epoch * steps : (epoch + 1) * steps]
            text = np.concatenate([batch['input_ids'][row, :reuse] for batch in part])
            assert (np.diff(text[text != sep]) == sign).all()
            seen.append(text[text != sep])
            starts.append(text[text != sep][0])
    assert len(np.unique(np.concatenate(seen[::2]))) == sum(map(len, seen[::2]))  # no overlap
    assert starts[0::2] != starts[1::2]
    batch = made_stores.joined(batches)
    continues = [
        abs(int(ids[types == 1][0]) - int(ids[types == 0][-2])) == 1
        for ids, types in zip(batch['input_ids'], batch['token_type_ids'], strict=True)
    ]
    assert 0.35 < np.mean(continues) < 0.55  # separators of documents can be between the two
    assert (batch['attention_mask'] == 1).all() and (weights_of(batch).sum(1) == 10).all()
    later = np.arange(LENGTH) >= reuse
    np.testing.assert_array_equal(
        batch['factorization_order'] >= HALF, later[None] | ~batch['attention_mask'].astype(bool)
    )


def test_evaluation_is_fixed_and_uses_no_memory(made):
    config = configured(made, **MEMORY)
    phase = config.train.phases[0]
    batch = made_stores.joined(input_pipeline.EvalBatches(made, config, phase))
    other = dataclasses.replace(config, data=dataclasses.replace(config.data, seed=3))
    again = made_stores.joined(input_pipeline.EvalBatches(made, other, phase))
    assert all(np.array_equal(batch[name], again[name]) for name in batch)
    assert not batch['memory_length'].any() and batch['factorization_order'].max() < HALF


def test_text_that_is_too_short_for_the_lanes(made):
    config = configured(made, rows=512, **MEMORY)
    with pytest.raises(ValueError, match='512 lanes, one for each row of a batch; each of them'):
        take(made, config, 0, 1)

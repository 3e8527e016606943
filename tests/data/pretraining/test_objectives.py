"""The rows of masked words alone and of sentence order; the masks of runs of words."""

import dataclasses
import itertools
from typing import get_args

import made_stores
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from small_run import QUICK

from bert_jax import batch as batches
from bert_jax.config import Config, Phase, TrainConfig
from bert_jax.data.pretraining import chunks, input_pipeline, objectives
from bert_jax.data.row_shapes import ROW_SHAPES
from bert_jax.data.store import format
from bert_jax.data.tokenizers import tokenizer
from bert_jax.models.presets import PRESETS
from bert_jax.tasks.pretraining import OBJECTIVES

KINDS = [('mlm', True), ('mlm', False), ('mlm+sop', True)]


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return made_stores.write(
        tmp_path_factory.mktemp('objectives') / 'store',
        made_stores.documents(60),
        made_stores.documents(25, seed=1),
    )


def configured(objective, crosses=True, length=64, rows=32, slots=10, **data):
    config = made_stores.config(length, rows, slots, **data)
    data = dataclasses.replace(config.data, cross_documents=crosses)
    return dataclasses.replace(config, objective=objective, data=data)


def take(directory, config, start, stop, **hosts):
    return made_stores.joined(
        input_pipeline.train_batches(directory, config, start=start, stop=stop, **hosts)
    )


def chunks_of(directory, config, split='train'):
    segmenter = objectives.segmenter_of(config)
    room = config.train.phases[0].max_seq_length - 1 - ROW_SHAPES[config.objective].segments
    return segmenter.chunks(format.open_store(directory, split), room)


def test_every_objective_has_rows_and_a_task():
    names = get_args(Config.__dataclass_fields__['objective'].type)
    assert set(names) == set(OBJECTIVES) == set(objectives.SEGMENTERS) == set(ROW_SHAPES)


# The batches of 'mlm+tlm', which need pairs of translations, are in test_languages.py.
@pytest.mark.parametrize('objective', [name for name in OBJECTIVES if name != 'mlm+tlm'])
@pytest.mark.parametrize('types', [1, 2])
def test_batches_fit_the_batch_spec_of_the_task(made, objective, types):
    config = configured(objective)
    vocab_size = format.read_meta(made).vocab_size
    model = config.model
    if objective == 'plm':  # its rows always have segments, and a type for the last token
        model, types = PRESETS['xlnet-base-cased'], 4
    model = dataclasses.replace(model, vocab_size=vocab_size, type_vocab_size=types)
    config = dataclasses.replace(config, model=model)
    if types == 1 and objective not in ('mlm', 'distill'):
        with pytest.raises(ValueError, match='type_vocab_size is 1'):
            OBJECTIVES[objective](model)
        return
    spec = OBJECTIVES[objective](model).batch_spec(config.train.phases[0])
    batch = take(made, config, 0, 1)
    batches.check(batch, spec, 1)
    assert ('token_type_ids' in batch) == (types > 1)


@pytest.mark.parametrize(
    ('objective', 'crosses'),
    [pytest.param(*kind, marks=[pytest.mark.slow] * (kind == ('mlm', False))) for kind in KINDS],
)
@pytest.mark.parametrize('copies', [0] if QUICK else [0, 2])
def test_batch_k_depends_on_the_seed_and_k_alone(made, objective, crosses, copies):
    config = configured(objective, crosses, static_copies=copies)
    size = len(chunks_of(made, config))
    last = -(-3 * size // 32)
    whole = take(made, config, 0, last)
    for k, hosts in ((1, 1), (size // 32, 1), (last - 1, 2)):
        part = {name: array[k * 32 : (k + 1) * 32] for name, array in whole.items()}
        slices = [take(made, config, k, k + 1, host=h, num_hosts=hosts) for h in range(hosts)]
        assert made_stores.equal(made_stores.joined(slices), part)
    other = dataclasses.replace(config, data=dataclasses.replace(config.data, seed=1))
    first = {name: array[:32] for name, array in whole.items()}
    assert not made_stores.equal(take(made, other, 0, 1), first)
    epochs = [
        {name: array[e * size : (e + 1) * size] for name, array in whole.items()} for e in range(3)
    ]
    assert made_stores.equal(epochs[0], epochs[2]) == bool(copies)
    assert not made_stores.equal(epochs[0], epochs[1])


@pytest.mark.parametrize('crosses', [True, pytest.param(False, marks=pytest.mark.slow)])
def test_an_epoch_has_each_chunk_once_and_every_token_is_text(corpus, crosses):
    """Each row of an epoch is found in its own chunk."""
    config = configured('mlm', crosses)
    cut = chunks_of(corpus, config)
    size = len(cut)
    batch = take(corpus, config, 0, -(-2 * size // 32))
    sep = tokenizer.load(corpus).specials.sep
    stream = text_of(corpus, sep, crosses)
    texts = {}
    for chunk, (begin, stop) in enumerate(zip(cut.begin, cut.stop, strict=True)):
        texts[chunk] = stream[begin:stop].tobytes()
    restored, lengths = made_stores.restored(batch), batch['attention_mask'].sum(1)
    for epoch in range(2):
        seen = []
        for row in range(epoch * size, (epoch + 1) * size):
            text = restored[row, 1 : lengths[row] - 1].tobytes()
            found = [chunk for chunk, whole in texts.items() if text in whole]
            assert found, f'row {row} is not text of a chunk'
            seen.append(found[0] if len(found) == 1 else -1)
        certain = [chunk for chunk in seen if chunk >= 0]
        assert len(set(certain)) == len(certain) > 0.9 * size


def text_of(directory, sep, crosses):
    """int32[tokens]: the tokens with a separator after each document, if rows cross them."""
    store = format.open_store(directory, 'train')
    tokens = np.asarray(store.tokens).astype(np.int32)
    if not crosses:
        return tokens
    ends = store.sentences[store.documents[1:]]
    return np.insert(tokens, ends, sep)


def test_every_sentence_is_in_one_full_chunk(corpus):
    store = format.open_store(corpus, 'train')
    for budget in (30, 62, 510):
        cut = chunks.make_full_chunks(store, budget)
        assert cut.start[0] == 0 and cut.end[-1] == len(store.sentences) - 1
        assert np.array_equal(cut.start[1:], cut.end[:-1])
        assert (cut.stop - cut.begin)[:-1].min() >= budget
        longest = np.diff(store.sentences).max()
        assert (cut.stop - cut.begin).max() <= budget + longest + 1


def test_blocks_do_not_change_the_chunks(made, monkeypatch):
    store = format.open_store(made, 'train')
    whole = chunks.make_full_chunks(store, 61)
    monkeypatch.setattr(chunks, 'BLOCK', 70)
    parts = chunks.make_full_chunks(store, 61)
    assert np.array_equal(whole.start, parts.start) and np.array_equal(whole.stop, parts.stop)


@pytest.mark.parametrize('length', [128, pytest.param(512, marks=pytest.mark.slow)])
@pytest.mark.parametrize('name, documents', [('articles', 60), ('leads', 3000)])
def test_rows_of_real_text_are_full(real_text, name, documents, length):
    directory = real_text(name, documents, holdout=0.1)
    words = tokenizer.load(directory)
    config = configured('mlm', length=length, slots=77)
    size = len(chunks_of(directory, config))
    batch = take(directory, config, 0, min(size // 32, 40))
    ids, lengths = made_stores.restored(batch), batch['attention_mask'].sum(1)
    assert lengths.mean() > 0.97 * length
    assert (ids[:, 0] == words.specials.cls).all()
    assert (ids[np.arange(len(ids)), lengths - 1] == words.specials.sep).all()
    inside = (ids == words.specials.sep).sum(1) - 1
    store = format.open_store(directory, 'train')
    tokens = len(store.tokens) - 2 * format.GUARD
    a_row = (len(store.documents) - 1) / tokens * length
    assert 0.7 * a_row < inside.mean() < 1.3 * a_row  # a separator for each end of a document
    assert not batch['token_type_ids'].any()
    row, _ = np.nonzero(batch['masked_lm_weights'])
    masked = ids[row, batch['masked_lm_positions'][batch['masked_lm_weights'] > 0]]
    assert not np.isin(masked, [words.specials.cls, words.specials.sep, words.specials.pad]).any()
    assert 0.14 < len(masked) / lengths.sum() < 0.151


def test_evaluation_is_fixed_and_has_every_chunk(corpus):
    for objective, crosses in KINDS:
        config = configured(objective, crosses)
        phase = config.train.phases[0]
        batch = made_stores.joined(input_pipeline.EvalBatches(corpus, config, phase))
        assert batch['example_weights'].sum() == len(chunks_of(corpus, config, 'eval'))
        data = dataclasses.replace(config.data, seed=5)
        again = dataclasses.replace(config, data=data)
        assert made_stores.equal(
            batch, made_stores.joined(input_pipeline.EvalBatches(corpus, again, phase))
        )


def test_one_document_is_enough_for_masked_words(tmp_path):
    directory = made_stores.write(tmp_path / 'store', [[5, 6, 700, 9]], [[9, 8]])
    for objective, crosses in KINDS:
        batch = take(directory, configured(objective, crosses, rows=4), 0, 60)
        assert batch['attention_mask'].sum(1).min() >= 5  # two texts of at least one token
        if objective == 'mlm':  # every token of a sentence longer than a row can be chosen
            assert len(np.unique(made_stores.restored(batch))) > 0.95 * 720


@pytest.mark.parametrize('length', [128, pytest.param(512, marks=pytest.mark.slow)])
@pytest.mark.parametrize('name, documents', [('articles', 60), ('leads', 3000)])
def test_the_edges_of_texts_do_not_reveal_their_order(real_text, name, documents, length):
    directory = real_text(name, documents, holdout=0.1)
    config = configured('mlm+sop', length=length, rows=128, slots=20)
    size = len(chunks_of(directory, config))
    batch = take(directory, config, 0, max(-(-2 * size // 128), 60))
    labels = batch['sentence_order_labels']
    features = made_stores.edges(batch, tokenizer.load(directory))
    assert abs(labels[: 2 * size].sum() - size) <= 1
    a_length, b_length = features[:, :2].T
    assert np.array_equal(a_length, b_length)
    half = len(labels) // 2
    model = HistGradientBoostingClassifier(max_iter=30, max_depth=4, random_state=0)
    model.fit(features[:half], labels[:half])
    accuracy = model.score(features[half:], labels[half:])
    assert accuracy < 0.5 + 4 * np.sqrt(0.25 / half), f'the edges tell {accuracy:.3f}'


def test_two_texts_of_a_row_are_neighbours_in_one_document(made):
    """Each token of a made store occurs once, so each text has one place."""
    config = configured('mlm+sop')
    store = format.open_store(made, 'train')
    batch = take(made, config, 0, 40)
    a, b = made_stores.offsets(batch)
    _, length, _, _ = made_stores.segments(batch)
    borders = store.sentences[store.documents]
    assert np.array_equal(
        np.searchsorted(borders, a, side='right'), np.searchsorted(borders, b, side='right')
    )
    swapped = batch['sentence_order_labels'] == 1
    assert (a + length <= b)[~swapped].all() and (b + length <= a)[swapped].all()


def test_runs_of_words_have_the_published_lengths(real_text):
    """The probability of n words is proportional to 1/n (Lan et al., 2020, section 3.1). Words are
    masked whole."""
    directory = real_text('articles', 60, holdout=0.1)
    words = tokenizer.load(directory)
    config = configured('mlm', length=512, slots=77, max_ngram=3)
    batch = take(directory, config, 0, 30)
    ids, used = made_stores.restored(batch), batch['masked_lm_weights'] > 0
    runs = []
    for row in range(len(ids)):
        chosen = np.zeros(512, bool)
        chosen[batch['masked_lm_positions'][row][used[row]]] = True
        begins = ~words.is_continuation[ids[row]]
        first = np.flatnonzero(chosen & begins)
        word = np.cumsum(begins)
        whole = np.isin(word, word[chosen])
        assert (whole & ~chosen).sum() <= words.is_continuation[ids[row]].sum()
        groups = itertools.groupby(enumerate(word[first].tolist()), lambda x: x[1] - x[0])
        runs += [len(list(group)) for _, group in groups]
    share = np.bincount(runs, minlength=7)[1:7] / len(runs)
    # Two runs that happen to touch look like one longer run, about one in seven of them.
    assert 0.40 < share[0] < 0.60 and 0.2 < share[1] < 0.32 and 0.13 < share[2] < 0.24
    assert share[3:].sum() < 0.2
    rate = used.sum() / batch['attention_mask'].sum()
    assert 0.14 < rate < 0.151


@pytest.mark.parametrize('shares', [(1.0, 0.0, 0.0), (0.5, 0.3, 0.2), (0.8, 0.1, 0.1)])
def test_shares_of_masks(made, shares):
    batch = take(made, configured('mlm', mask_shares=shares), 0, 60)
    used = batch['masked_lm_weights'] > 0
    row, _ = np.nonzero(used)
    shown = batch['input_ids'][row, batch['masked_lm_positions'][used]]
    original = batch['masked_lm_ids'][used]
    mask = tokenizer.load(made).specials.mask
    found = (shown == mask).mean(), ((shown != mask) & (shown != original)).mean()
    assert np.allclose(found, shares[:2], atol=0.02)
    replaced = shown[(shown != mask) & (shown != original)]
    if shares[1]:
        assert len(np.unique(replaced)) > 0.5 * min(len(replaced), 1200)


def test_rates_differ_by_phase(made):
    phases = (Phase(10, 64, 32, 32, 0.4), Phase(10, 64, 32, 32))
    config = dataclasses.replace(configured('mlm'), train=TrainConfig(phases=phases))
    first, second = take(made, config, 0, 10), take(made, config, 10, 20)
    rates = [
        batch['masked_lm_weights'].sum() / batch['attention_mask'].sum()
        for batch in (first, second)
    ]
    assert np.allclose(rates, [0.4 * 62 / 64, 0.15 * 62 / 64], atol=0.01)


def test_too_few_places_are_named(made, caplog):
    take(made, configured('mlm', slots=10), 0, 1)
    assert not caplog.records
    take(made, configured('mlm', slots=5), 0, 1)
    assert '15% of 62 tokens are 9 masked tokens, but max_predictions_per_seq is 5' in caplog.text

"""Corpora of several languages, and rows of pairs of translations."""

import dataclasses
import gzip
import itertools
import re

import made_stores
import numpy as np
import pytest

from bert_jax import batch as batches
from bert_jax.config import Config, DataConfig, ModelConfig, Phase, TrainConfig
from bert_jax.data.pretraining import input_pipeline, mixture
from bert_jax.data.pretraining.translations import make_pairs
from bert_jax.data.store import format, preparation
from bert_jax.data.summary import Summary
from bert_jax.data.text import languages
from bert_jax.data.tokenizers import tokenizer
from bert_jax.tasks.pretraining import OBJECTIVES

NAMES = ['en', 'fr', 'en-fr']


@pytest.fixture(scope='module')
def store(shared_data, tmp_path_factory):
    """English and French openings of articles, and captions in both, with XLM's vocabulary."""
    folder = tmp_path_factory.mktemp('languages')
    for language, count in (('en', 300), ('fr', 100)):
        leads = shared_data(f'corpora/wikipedia_leads_{language}.txt.gz')
        documents = gzip.decompress(leads.read_bytes()).decode().split('\n\n')[:count]
        (folder / f'{language}.txt').write_text('\n\n'.join(documents))
        captions = shared_data(f'parallel/multi30k/train.{language}.gz')
        lines = gzip.decompress(captions.read_bytes()).decode().split('\n')[:400]
        (folder / f'captions.{language}').write_text('\n'.join(lines) + '\n')
    data = DataConfig(
        corpus=f'en=text:{folder}/en.txt,fr=text:{folder}/fr.txt',
        parallel=f'en-fr=text:{folder}/captions.en|text:{folder}/captions.fr',
        cache_dir=str(folder),
        holdout=0.1,
        tokenizer='xlm_bpe',
    )
    config = configured(data=data)
    return preparation.prepare(config), config


def configured(length=64, rows=32, slots=10, types=2, vocab_size=1500, **values):
    model = ModelConfig(vocab_size=vocab_size, model_type='xlm', type_vocab_size=types)
    train = TrainConfig(phases=(Phase(10_000, length, rows, slots),))
    return Config(model=model, train=train, **({'objective': 'mlm+tlm'} | values))


def with_data(config, **values):
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **values))


def take(store, start, stop, **hosts):
    directory, config = store
    return made_stores.joined(
        input_pipeline.train_batches(directory, config, start=start, stop=stop, **hosts)
    )


def sentences(directory, part, split='train'):
    """The sentences of each document of a part, lists of ids."""
    text = format.open_parts(directory, split)[part]
    cut = [text.tokens[a:b].tolist() for a, b in itertools.pairwise(text.sentences)]
    return [cut[a:b] for a, b in itertools.pairwise(text.documents)]


def test_each_language_has_its_own_rules_and_all_have_one_vocabulary(store):
    directory, config = store
    words = tokenizer.load(directory)
    for part in ('en', 'fr'):
        path = languages.source(config.data).parts[part]
        document = next(document for document in path.read(Summary()))
        decoded = [words.decode(s) for d in sentences(directory, part)[:60] for s in d]
        expected = words.for_language(part).encode_batch([' '.join(document)])[0][:8]
        assert words.decode(expected) in ' '.join(decoded)
    stored = sentences(directory, 'en-fr') + sentences(directory, 'en-fr', 'eval')
    captions = list(zip(*languages.source(config.data).parts['en-fr'].read(Summary()), strict=True))
    expected = [
        words.for_language(name).encode_batch(side)
        for name, side in zip(('en', 'fr'), captions, strict=True)
    ]
    assert sorted(stored) == sorted(map(list, zip(*expected, strict=True)))
    pairs = [tuple(map(words.decode, pair)) for pair in stored]
    # Moses splits "l'homme" in French alone.
    assert any("l' homme" in other for _, other in pairs)
    counts = format.read_meta(directory).parts
    assert list(counts) == NAMES
    for split in format.SPLITS:
        total = sum(count[split] for count in counts.values())
        assert total == format.read_meta(directory).counts[split].documents


def test_the_parts_of_a_store_contain_all_its_text(store):
    directory, _ = store
    for split in format.SPLITS:
        whole, parts = format.open_store(directory, split), format.open_parts(directory, split)
        edges = [(part.sentences[0], part.sentences[-1]) for part in parts.values()]
        assert [a for a, _ in edges[1:]] == [b for _, b in edges[:-1]]
        assert edges[0][0] == format.GUARD and edges[-1][1] == whole.sentences[-1]


@pytest.mark.parametrize(('alpha', 'share'), [(0.0, 0.2), (0.5, 0.5), (0.7, 0.2), (1.0, 0.5)])
def test_languages_are_drawn_by_their_size_to_the_power_of_alpha(store, alpha, share):
    directory, config = store
    config = with_data(config, language_alpha=alpha, tlm_share=share)
    batch = take((directory, config), 0, 40)
    rows = len(batch['input_ids'])
    is_pair, language = batch['is_translation'] == 1, batch['token_type_ids'][:, 0]
    assert abs(is_pair.mean() - share) < 2 / rows
    rows_of = input_pipeline._rows(directory, config, config.train.phases[0], 'train/0')
    sizes = np.array([part.stream.num_chunks for part in rows_of.parts])[:2] ** alpha
    found = np.bincount(language[~is_pair], minlength=2) / (~is_pair).sum()
    assert np.allclose(found, sizes / sizes.sum(), atol=3 / rows)
    for first in range(0, rows, 32):  # each batch has its share, within a row
        assert abs(is_pair[first : first + 32].sum() - 32 * share) <= 1


@pytest.mark.parametrize('of', [[1], [3, 5], [700, 1, 299], [mixture.UNIT, 7, 12345, 1]])
def test_a_mixture_has_each_row_of_each_part_once(of):
    total = min(sum(of), 5000)
    place = mixture.place(np.arange(total, dtype=np.int64), of)
    part, index = (array.numpy() for array in place)
    for i, weight in enumerate(of):
        assert np.array_equal(index[part == i], np.arange((part == i).sum()))
        if total == sum(of):
            assert (part == i).sum() == weight
    for first in (0, 17, 300):
        firsts = [int(n) for n in mixture.first_rows(np.int64(first), of)]
        for rows in (1, 32, 90):
            inside = part[first : first + rows]
            most = mixture.most_rows(rows, of)
            assert sum(most) <= rows + len(of)
            for i in range(len(of)):
                assert (part[:first] == i).sum() == firsts[i] or total < first
                assert (inside == i).sum() <= most[i]


def test_batch_k_depends_on_the_seed_and_k_alone(store):
    whole = take(store, 0, 12)
    for k, hosts in ((1, 1), (11, 2)):
        part = {name: array[k * 32 : (k + 1) * 32] for name, array in whole.items()}
        slices = [take(store, k, k + 1, host=h, num_hosts=hosts) for h in range(hosts)]
        assert made_stores.equal(made_stores.joined(slices), part)
    directory, config = store
    first = {name: array[:32] for name, array in whole.items()}
    assert not made_stores.equal(take((directory, with_data(config, seed=1)), 0, 1), first)


def test_batches_fit_the_batch_spec_of_the_task(store):
    directory, config = store
    size = format.read_meta(directory).vocab_size
    for types in (0, 2):
        model = dataclasses.replace(config.model, vocab_size=size, type_vocab_size=types)
        of_types = dataclasses.replace(config, model=model)
        batch = take((directory, of_types), 0, 1)
        batches.check(batch, OBJECTIVES['mlm+tlm'](model).batch_spec(config.train.phases[0]), 1)
        assert ('token_type_ids' in batch) == (types == 2)


def test_rows_of_translations(store):
    """A row is </s> x </s> </s> y </s>. x and y are a pair of the store. Each has positions from 0,
    its own language and masks (facebookresearch/XLM, concat_batches)."""
    directory, _ = store
    sep = tokenizer.load(directory).specials.sep
    pairs = [tuple(map(tuple, pair)) for pair in sentences(directory, 'en-fr')]
    batch = take(store, 0, 40)
    ids, lengths = made_stores.restored(batch), batch['attention_mask'].sum(1)
    masked, seen = np.zeros(2), []
    for row in np.flatnonzero(batch['is_translation']):
        text, n = ids[row, : lengths[row]], lengths[row]
        first, middle, second, last = np.flatnonzero(text == sep)
        assert (first, second, last) == (0, middle + 1, n - 1)
        pair = tuple(text[1:middle].tolist()), tuple(text[second + 1 : last].tolist())
        seen.append(pairs.index(pair))
        language, positions = batch['token_type_ids'][row], batch['position_ids'][row]
        assert not language[:second].any() and language[second:n].all() and not language[n:].any()
        assert np.array_equal(positions[:second], np.arange(second))
        assert np.array_equal(positions[second:n], np.arange(n - second))
        used = batch['masked_lm_positions'][row][batch['masked_lm_weights'][row] > 0]
        assert np.array_equal(batch['masked_lm_ids'][row][: len(used)], text[used])
        masked += (used < middle).sum(), (used > second).sum()
    assert (masked > 0.3 * masked.sum()).all()
    assert len(set(seen[: len(pairs) // 2])) == len(seen[: len(pairs) // 2])  # an epoch: each once
    alone = batch['is_translation'] == 0
    assert (batch['position_ids'][alone] == np.arange(64)).all()
    assert (batch['token_type_ids'][alone] == batch['token_type_ids'][alone][:, :1])[
        batch['attention_mask'][alone] == 1
    ].all()


def test_evaluation_has_every_chunk_of_every_part_once(store):
    directory, config = store
    phase = config.train.phases[0]
    batch = made_stores.joined(input_pipeline.EvalBatches(directory, config, phase))
    real = batch['example_weights'] > 0
    held_out = make_pairs(format.open_parts(directory, 'eval')['en-fr'], 64 - 4)
    assert (batch['is_translation'][real] == 1).sum() == len(held_out)
    assert not batch['masked_lm_weights'][~real].any()
    rows = made_stores.restored(batch)[real]
    assert len(np.unique(rows, axis=0)) == len(rows)
    seed = with_data(config, seed=3)
    assert made_stores.equal(
        batch, made_stores.joined(input_pipeline.EvalBatches(directory, seed, phase))
    )


def test_pairs_that_do_not_fit_are_counted_and_left_out(store, caplog):
    directory, config = store
    caplog.set_level('INFO')
    sizes = [sum(map(len, pair)) for pair in sentences(directory, 'en-fr')]
    limit = sorted(sizes)[len(sizes) // 2]
    phase = Phase(10, limit + 4, 32, 10)
    short = dataclasses.replace(config, train=TrainConfig(phases=(phase,)))
    batch = take((directory, short), 0, 10)
    assert (batch['attention_mask'].sum(1)[batch['is_translation'] == 1] <= limit + 4).all()
    left_out = sum(size > limit for size in sizes)
    log = ' '.join(caplog.text.split())
    assert f'do not fit in a row, left out: {left_out:,}' in log
    assert 'phase 1, en-fr an epoch has' in log


@pytest.mark.parametrize(
    ('names', 'values', 'says'),
    [
        (['en', 'fr'], {'objective': 'mlm+tlm'}, 'expected pairs of sentences'),
        (NAMES, {'objective': 'mlm'}, "expected 'mlm+tlm', because"),
        (NAMES, {'types': 3}, 'expected 2, an embedding for each of en, fr'),
        (['en', 'fr', 'de'], {'objective': 'mlm'}, 'expected 3, an embedding'),
    ],
)
def test_what_does_not_fit_the_objective_or_the_model_is_refused(names, values, says):
    config = configured(**values)
    for wrong in (config, languages.with_names(names, config)):
        with pytest.raises(ValueError, match=re.escape(says)):
            languages.check(names, wrong)
    languages.check(['en', 'fr'], configured(objective='mlm', types=0))


@pytest.mark.parametrize('most', [1, 3])
def test_whole_words_of_a_vocabulary_that_marks_their_ends(store, most):
    """Masked tokens are whole words, or a part of the first word if every word is too long."""
    directory, config = store
    words = tokenizer.load(directory)
    config = with_data(config, whole_word_masking=True, max_ngram=most)
    batch = take((directory, config), 0, 20)
    ids, used = made_stores.restored(batch), batch['masked_lm_weights'] > 0
    broken = several = 0
    for row in range(len(ids)):
        chosen = np.zeros(64, bool)
        chosen[batch['masked_lm_positions'][row][used[row]]] = True
        word = np.cumsum(words.word_starts(ids[row]))
        whole = np.isin(word, word[chosen])
        broken += (whole != chosen).any()
        several += (np.bincount(word[chosen]) > 1).any()
    assert several > 0.3 * len(ids)
    assert broken < 0.02 * len(ids) if most == 1 else broken < 0.2 * len(ids)

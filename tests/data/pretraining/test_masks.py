import re

import made_stores
import numpy as np
import pytest
import tensorflow as tf

from bert_jax.data.pretraining import input_pipeline, masks
from bert_jax.data.tokenizers import tokenizer


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return made_stores.write(
        tmp_path_factory.mktemp('masks') / 'store', made_stores.documents(300, longest=90)
    )


def batch_of(directory, count=100, **options):
    config = made_stores.config(**options)
    return made_stores.joined(input_pipeline.train_batches(directory, config, start=0, stop=count))


def text_places(batch):
    """bool[rows, length]: the tokens that are neither special tokens nor padding."""
    place = np.arange(batch['input_ids'].shape[1])
    a, a_length, b, b_length = (column[:, None] for column in made_stores.segments(batch))
    return (place >= a) & (place < b + b_length) & (place != a + a_length)


@pytest.mark.parametrize('whole_words', [False, True])
def test_statistics(corpus, whole_words):
    batch = batch_of(corpus, whole_word_masking=whole_words, slots=15)
    text, ids = text_places(batch), made_stores.restored(batch)
    words = tokenizer.load(corpus)
    special = np.array([bool(re.fullmatch(r'\[\w+\]|<\w+>', piece)) for piece in words.pieces])
    used = batch['masked_lm_weights'] == 1
    assert set(np.unique(batch['masked_lm_weights'])) == {0, 1}
    row, _ = np.nonzero(used)
    positions, original = batch['masked_lm_positions'][used], batch['masked_lm_ids'][used]
    assert text[row, positions].all()
    assert special[ids[~text]].all() and set(ids[text][special[ids[text]]]) <= {words.specials.unk}
    wanted = np.clip(np.floor(text.sum(1) * 0.15 + 0.5), 1, 15)
    counts = used.sum(1)
    assert (counts >= 1).all() and (counts <= wanted).all()
    rate = counts.sum() / text.sum()
    if whole_words:
        # At most three tokens have no word that fits.
        assert 0.12 < rate < 0.151
    else:
        assert (counts == wanted).all()
        assert rate == pytest.approx(0.15, abs=0.006)
    for slots, kept in zip(batch['masked_lm_positions'], used, strict=True):
        assert (np.diff(slots[kept]) > 0).all()
    # Unused slots stand at the end and are zeros.
    assert (np.diff(batch['masked_lm_weights'], axis=1) <= 0).all()
    assert not batch['masked_lm_ids'][~used].any() and not batch['masked_lm_positions'][~used].any()

    shown = batch['input_ids'][row, positions]
    masked, same = shown == words.specials.mask, shown == original
    noise = 4 * np.sqrt(0.16 / len(shown))
    assert abs(masked.mean() - 0.8) < noise and abs(same.mean() - 0.1) < noise
    replaced = shown[~masked & ~same]
    assert not special[replaced].any()
    # All of the vocabulary is as likely.
    ordinary = (~special).sum()
    different = ordinary * (1 - np.exp(-len(replaced) / ordinary))
    assert len(np.unique(replaced)) == pytest.approx(different, rel=0.03)
    untouched = np.ones_like(text)
    untouched[row, positions] = False
    assert np.array_equal(batch['input_ids'][untouched], ids[untouched])
    # All places of a row are equally likely.
    full = text.sum(1) >= 60
    by_place = ((~untouched[full]).sum(0) / np.maximum(text[full].sum(0), 1))[1:60]
    assert abs(by_place - by_place.mean()).max() < 5 * np.sqrt(0.13 / full.sum())


@pytest.mark.parametrize('length, slots', [(16, 3), pytest.param(64, 10, marks=pytest.mark.slow)])
def test_words_are_masked_whole_and_as_many_as_fit(made, length, slots):
    """Words of made stores are four tokens, except at the edges of A and B."""
    batch = batch_of(made, whole_word_masking=True, length=length, slots=slots)
    ids, text = made_stores.restored(batch), text_places(batch)
    continues = tokenizer.load(made).is_continuation[ids]
    a, _, b, _ = (column[:, None] for column in made_stores.segments(batch))
    place = np.arange(ids.shape[1])
    begins = (~continues | (place == a) | (place == b)) & text
    word = np.cumsum(begins, axis=1)
    chosen = np.zeros_like(text)
    used = batch['masked_lm_weights'] == 1
    row, _ = np.nonzero(used)
    chosen[row, batch['masked_lm_positions'][used]] = True
    assert continues[chosen].any()
    for r in range(len(ids)):
        sizes = np.bincount(word[r][text[r]])[1:]
        picked = np.bincount(word[r][chosen[r]], minlength=len(sizes) + 1)[1:]
        wanted = np.clip(np.floor(text[r].sum() * 0.15 + 0.5), 1, slots)
        if sizes.min() > wanted:  # no word fits
            assert (picked > 0).sum() == 1 and picked.sum() == wanted
        else:
            assert ((picked == 0) | (picked == sizes)).all()
            assert not (sizes[picked == 0] <= wanted - picked.sum()).any()


@pytest.mark.parametrize('longest', [2, 6, 20])
def test_words_are_chosen_in_turn(longest):
    """Each word that fits is taken, as in google-research/bert, until all tokens are tried."""
    random = np.random.default_rng(0)
    rows, length, slots = 200, 80, 12
    scores = np.full((rows, length), -1, np.int32)
    wanted = random.integers(1, slots, rows)
    expected = np.full((rows, slots), length)
    for row in range(rows):
        places, end, chosen = random.permutation(length), 0, []
        for rank, size in enumerate(random.integers(1, longest, 30)):
            word = places[end : min(end + size, 70)]
            scores[row, word] = 1000 - rank
            if len(chosen) + len(word) <= wanted[row]:
                chosen.extend(word)
            end += size
        chosen = chosen or np.argsort(-scores[row], kind='stable')[: wanted[row]]
        expected[row, : len(chosen)] = np.sort(chosen)
    positions = masks._positions_of_words(
        tf.constant(scores), tf.constant(wanted[:, None], tf.int32), slots
    )
    assert np.array_equal(positions, expected)


def test_one_long_word_is_masked_in_part(tmp_path):
    directory = made_stores.write(tmp_path / 'store', [[50]] * 4)
    pieces = (directory / 'vocab.txt').read_text().split()
    pieces[made_stores.FIRST :] = [f'##{p.removeprefix("##")}' for p in pieces[made_stores.FIRST :]]
    (directory / 'vocab.txt').write_text('\n'.join(pieces) + '\n')
    batch = batch_of(directory, 10, whole_word_masking=True, short_seq_prob=0.0)
    counts = (batch['masked_lm_weights'] == 1).sum(1)
    assert (counts >= 1).all() and (counts <= 8).all()


def test_rows_with_less_text_than_slots(tmp_path):
    directory = made_stores.write(tmp_path / 'store', [[2]] * 5)
    batch = batch_of(directory, 5, slots=61, masked_lm_prob=0.9)
    assert (batch['masked_lm_weights'].sum(1) == 2).all()
    assert (
        batch['masked_lm_positions'][:, -3:].max() == 0
        or (np.sort(batch['masked_lm_positions'], axis=1)[:, -2:] == [1, 3]).all()
    )


def test_at_most_so_many_predictions(made):
    batch = batch_of(made, 20, slots=3)
    assert batch['masked_lm_weights'].shape[1] == 3
    assert (batch['masked_lm_weights'].sum(1)[text_places(batch).sum(1) > 20] == 3).all()


@pytest.mark.parametrize('whole_words', [False, True])
@pytest.mark.parametrize('length, slots', [(128, 20), (512, 77)])
def test_real_text_is_masked_at_fifteen_percent(prose, whole_words, length, slots):
    options = {'length': length, 'slots': slots, 'whole_word_masking': whole_words}
    batch = batch_of(prose, 40, rows=64, **options)
    rate = batch['masked_lm_weights'].sum() / text_places(batch).sum()
    assert rate == pytest.approx(0.15, abs=0.003)
    shown = np.take_along_axis(batch['input_ids'], batch['masked_lm_positions'], 1)
    masked = (shown == tokenizer.load(prose).specials.mask)[batch['masked_lm_weights'] == 1]
    assert masked.mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize('whole_words', [False, True])
def test_sentencepiece_vocabularies(real_text, whole_words):
    directory = real_text('leads', 200, 'vocab/albert-base-v2/spiece.model', holdout=0.1)
    words = tokenizer.load(directory)
    batch = batch_of(directory, 20, whole_word_masking=whole_words)
    ids, used = made_stores.restored(batch), batch['masked_lm_weights'] == 1
    assert (ids[:, 0] == words.specials.cls).all() and (ids != words.specials.mask).all()
    original = batch['masked_lm_ids'][used]
    structure = [words.specials.cls, words.specials.sep, words.specials.pad]
    assert not np.isin(original, structure).any()
    shown = np.take_along_axis(batch['input_ids'], batch['masked_lm_positions'], 1)[used]
    replaced = shown[(shown != words.specials.mask) & (shown != original)]
    assert len(replaced) and np.isin(replaced, words.ordinary_ids).all()


@pytest.mark.parametrize(
    ('starts', 'warning'),
    [
        (1.0, '100.0% of the tokens are words of their own'),  # Chinese with a WordPiece vocabulary
        (0.85, ''),
        (0.3, ''),
        (0.01, 'a word has 100 tokens on average'),  # Chinese with SentencePiece
    ],
)
def test_words_of_text_without_spaces_are_reported(starts, warning):
    pieces = [*tokenizer.SPECIALS, 'a', '##a']
    ids = np.full(1000, 6)
    ids[: round(1000 * starts)] = 5
    line = masks.odd_words(tokenizer.WordPiece(pieces, True), ids)
    assert line.startswith(warning) if warning else line == ''
    assert masks.odd_words(tokenizer.WordPiece(pieces, True), ids[:0]) == ''

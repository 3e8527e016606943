"""Pairs. In some of the stores no token occurs twice, so that a batch shows where the text was cut.
On real text, the form of a row must not show whether its B is random."""

import itertools

import made_stores
import numpy as np
import pytest
import sentencex
from scipy.sparse import csr_array
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from small_run import QUICK

from bert_jax.config import Config, DataConfig
from bert_jax.data.pretraining import chunks, input_pipeline
from bert_jax.data.store import format, preparation
from bert_jax.data.tokenizers import tokenizer


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return made_stores.write(tmp_path_factory.mktemp('pairs') / 'store', made_stores.documents(150))


def epochs(directory, count, rows=32, **options):
    """The text, its chunks, and the rows of each of the first epochs."""
    config = made_stores.config(rows=rows, **options)
    text = format.open_store(directory, 'train')
    cut = chunks.make_chunks(text, config.train.phases[0].max_seq_length - 3)
    size = len(cut)
    batches = input_pipeline.train_batches(
        directory, config, start=0, stop=-(-count * size // rows)
    )
    batch = made_stores.joined(batches)
    borders = range(0, count * size, size)
    return text, cut, [{k: v[i : i + size] for k, v in batch.items()} for i in borders]


def test_a_chunk_once_an_epoch_and_whole_in_one_of_two(corpus):
    text, cut, seen = epochs(corpus, 4)
    labels = np.full((4, len(cut)), -1)
    orders = []
    for epoch, batch in enumerate(seen):
        chunk, certain = made_stores.chunks_of(text, cut, batch)
        assert sorted(chunk) == list(range(len(cut)))
        assert certain.mean() > 0.95  # a few phrases come again elsewhere
        assert abs(batch['next_sentence_labels'].sum() - len(cut) / 2) <= 0.5
        labels[epoch, chunk[certain]] = batch['next_sentence_labels'][certain]
        orders.append(chunk)
    for one, two in (labels[:2], labels[2:]):
        known = (one >= 0) & (two >= 0)
        assert (one + two == 1)[known].all() and known.mean() > 0.9
    assert 0.3 < (labels[0] == labels[2]).mean() < 0.7
    assert all((one == two).mean() < 0.05 for one, two in itertools.combinations(orders, 2))


def test_segments_are_text_of_the_chunk_and_of_another_document(corpus):
    text, cut, seen = epochs(corpus, 3)
    batch = made_stores.joined(seen)
    places = made_stores.found(text, batch)
    assert all(len(at) for at in itertools.chain(*places))
    once = np.array([len(a) == len(b) == 1 for a, b in zip(*places, strict=True)])
    assert once.mean() > 0.9  # what stands in several places is left out
    a, b = (np.array([at[0] for at in column])[once] for column in places)
    _, a_length, _, b_length = (column[once] for column in made_stores.segments(batch))
    assert min(a_length.min(), b_length.min()) >= 1 and (a_length + b_length).max() <= 61

    def documents(place):
        return np.searchsorted(text.sentences[text.documents], place, side='right')

    starts, ends = text.sentences[cut.start], text.sentences[cut.end]
    own = np.searchsorted(starts, a, side='right') - 1
    assert (a + a_length <= ends[own]).all()
    assert (documents(b) == documents(b + b_length - 1)).all()
    real = batch['next_sentence_labels'][once] == 0
    assert np.array_equal(documents(a) == documents(b), real)
    assert (a + a_length <= b)[real].all() and (b + b_length <= ends[own])[real].all()
    assert (a > starts[own])[real].mean() > 0.1  # cut at the front, and at the back
    assert (b + b_length < ends[own])[real].mean() > 0.1


def test_no_b_begins_a_document(made):
    """A real B never does, so a random one would be recognized."""
    text, _, seen = epochs(made, 6)
    _, b = made_stores.offsets(made_stores.joined(seen))
    assert not np.isin(b, text.sentences[text.documents]).any()


def test_layout(corpus):
    batch = epochs(corpus, 1)[2][0]
    words = tokenizer.load(corpus)
    for row, ids in enumerate(made_stores.restored(batch)):
        a, a_length, b, b_length = (column[row] for column in made_stores.segments(batch))
        used = a_length + b_length + 3
        assert ids[0] == words.specials.cls and ids[a + a_length] == words.specials.sep
        assert ids[b + b_length] == words.specials.sep and (ids[used:] == words.specials.pad).all()
        assert batch['attention_mask'][row].tolist() == [1] * used + [0] * (64 - used)
        types = [0] * (a_length + 2) + [1] * (b_length + 1) + [0] * (64 - used)
        assert batch['token_type_ids'][row].tolist() == types


def test_a_tenth_of_the_rows_is_short(tmp_path):
    directory = made_stores.write(tmp_path / 'store', [[9] * 700, [8] * 800])
    config = made_stores.config(rows=100)
    batches = input_pipeline.train_batches(directory, config, start=0, stop=40)
    _, a, _, b = made_stores.segments(made_stores.joined(batches))
    full = (a + b >= 57).mean()  # the two candidates for B have lengths of other multiples
    assert (a + b).min() < 10
    short = ((a + b) < 50).mean()
    assert 0.06 < short < 0.105  # 48/60 of a tenth
    assert full > 0.8
    none = input_pipeline.train_batches(
        directory, made_stores.config(rows=100, short_seq_prob=0.0), start=0, stop=10
    )
    _, a, _, b = made_stores.segments(made_stores.joined(none))
    assert ((a + b) < 50).mean() < 0.03  # no candidate for B was of about its length


@pytest.mark.parametrize('probability', [0.0, 0.2])
def test_other_shares_of_random_text(made, probability):
    _, _, seen = epochs(made, 3, random_next_prob=probability)
    labels = np.concatenate([batch['next_sentence_labels'] for batch in seen])
    assert abs(labels.mean() - probability) <= 4 * np.sqrt(probability / len(labels))


@pytest.mark.parametrize(
    'documents',
    [
        [[30], [40], [2], [3]],  # a sentence each: split inside it
        [[5, 6, 7], [8, 9]],  # two documents
        [[2], [2]],
        [[300], [4, 5, 300, 6], [700]],  # sentences longer than a row
        [[1], [1] * 80, [1] * 90],
    ],
)
def test_small_corpora(tmp_path, documents):
    directory = made_stores.write(tmp_path / 'store', documents)
    config = made_stores.config(rows=16)
    batches = input_pipeline.train_batches(directory, config, start=0, stop=30)
    batch = made_stores.joined(batches)
    text = format.open_store(directory, 'train')
    borders = text.sentences[text.documents]
    a, b = (np.searchsorted(borders, x, side='right') for x in made_stores.offsets(batch))
    assert np.array_equal(a != b, batch['next_sentence_labels'] == 1)
    assert 0 < batch['next_sentence_labels'].mean() < 1
    _, a_length, _, b_length = made_stores.segments(batch)
    assert min(a_length.min(), b_length.min()) >= 1


@pytest.mark.parametrize('documents', [[[5, 6, 7]], [[5, 6, 7], [1], [1]]])
def test_one_document_is_an_error_before_the_first_batch(tmp_path, documents):
    directory = made_stores.write(tmp_path / 'store', documents)
    with pytest.raises(ValueError, match=r'2 documents.*train has 1.*config\.data'):
        input_pipeline.train_batches(directory, made_stores.config(), start=0, stop=1)


@pytest.mark.slow
@pytest.mark.parametrize('length', [128] if QUICK else [128, 512])
@pytest.mark.parametrize('name, documents', [('articles', 100), ('leads', 5000)])
def test_the_edges_of_texts_do_not_reveal_the_label(real_text, name, documents, length):
    """The label cannot be predicted from lengths and edges, nor from features of B alone."""
    directory = real_text(name, documents, holdout=0.05)
    config = made_stores.config(length, 256, 20)
    batch = made_stores.joined(input_pipeline.train_batches(directory, config, start=0, stop=100))
    features = made_stores.edges(batch, tokenizer.load(directory))
    ids, labels = made_stores.restored(batch), batch['next_sentence_labels']
    _, _, b, _ = made_stores.segments(batch)
    rows = np.arange(len(ids))
    half = len(rows) // 2
    for columns in ([0, 1], [0, 1, 2, 3, 4, 5]):
        model = HistGradientBoostingClassifier(max_iter=40, max_depth=5, random_state=0)
        model.fit(features[:half][:, columns], labels[:half])
        accuracy = model.score(features[half:][:, columns], labels[half:])
        # Half of 25,600 rows: chance is 0.5 with a standard deviation of 0.0044.
        assert accuracy <= 0.515, f'features {columns} tell {accuracy:.3f}'
    columns = np.minimum(b[:, None] + range(8), length - 1)
    words_of_b = (np.repeat(rows, 8), ids[rows[:, None], columns].ravel())
    first_words = csr_array((np.ones(8 * len(ids)), words_of_b))
    model = LogisticRegression(C=0.03).fit(first_words[:half], labels[:half])
    accuracy = model.score(first_words[half:], labels[half:])
    assert accuracy <= 0.515, f'the first words of B tell {accuracy:.3f}'
    for column in range(2, 6):
        shares = [features[labels == label, column].mean() for label in (0, 1)]
        assert abs(shares[0] - shares[1]) < 0.03, (column, shares)


def test_with_adjacent_pairs_a_following_b_touches_its_a(made):
    text, cut, seen = epochs(made, 3, adjacent_pairs=True)
    batch = made_stores.joined(seen)
    a, b = made_stores.offsets(batch)
    _, a_length, _, b_length = made_stores.segments(batch)
    follows = batch['next_sentence_labels'] == 0
    assert (a + a_length == b)[follows].all() and not (a + a_length == b)[~follows].any()
    starts, ends = text.sentences[cut.start], text.sentences[cut.end]
    own = np.searchsorted(starts, a, side='right') - 1
    assert (a > starts[own]).mean() > 0.1 and (b + b_length < ends[own])[follows].mean() > 0.1


@pytest.mark.parametrize('adjacent', [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize('count', [1, pytest.param(2, marks=pytest.mark.slow)])
def test_short_documents_do_not_reveal_the_label(shared_data, tmp_path, real_text, count, adjacent):
    """Neither all tokens of B alone nor the edges of A and B reveal it, in documents of one
    sentence or two."""
    if QUICK and count == 1:
        pytest.skip('documents of two sentences suffice in a hurry')
    folder = real_text('leads', 5000, holdout=0.05).parent
    documents = (folder / 'text.txt').read_text().split('\n\n')
    firsts = [list(sentencex.segment('en', document[:2000]))[:count] for document in documents]
    (tmp_path / 'text.txt').write_text('\n\n'.join(''.join(first) for first in firsts))
    data = DataConfig(
        corpus=f'text:{tmp_path / "text.txt"}',
        vocab_file=str(shared_data('vocab/bert-base-uncased/vocab.txt')),
        cache_dir=str(tmp_path),
    )
    directory = preparation.prepare(Config(data=data))
    config = made_stores.config(64, 256, 10, adjacent_pairs=adjacent)
    batch = made_stores.joined(input_pipeline.train_batches(directory, config, start=0, stop=60))
    ids, labels = made_stores.restored(batch), batch['next_sentence_labels']
    in_b = batch['token_type_ids'] == 1
    _, a_length, _, b_length = made_stores.segments(batch)
    words_of_b = csr_array((np.ones(in_b.sum()), (np.nonzero(in_b)[0], ids[in_b])))
    half = len(ids) // 2
    model = LogisticRegression(C=0.03).fit(words_of_b[:half], labels[:half])
    told = {'the tokens of B': model.score(words_of_b[half:], labels[half:])}
    edges = np.stack([a_length, b_length], axis=1)
    trees = HistGradientBoostingClassifier(max_iter=40, max_depth=5, random_state=0)
    trees.fit(edges[:half], labels[:half])
    told['the lengths'] = trees.score(edges[half:], labels[half:])
    # Half of 15,360 rows: chance is 0.5 with a standard deviation of 0.0057.
    assert max(told.values()) <= 0.52, told

"""Pairs, on stores whose tokens are all different (so that a batch says where it was cut), and on
real text: what is seen of a row without reading it must not tell whether its B is the real one."""

import made_stores
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from bert_jax.data import chunks, pretrain, store, tokenizer


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return made_stores.write(tmp_path_factory.mktemp('pairs') / 'store', made_stores.documents(150))


def epochs(directory, count, rows=32, **options):
    """The rows of the first epochs and their chunks: a batch and int64[rows], `count` times."""
    config = made_stores.config(rows=rows, **options)
    text = store.open_store(directory, 'train')
    made = chunks.make_chunks(text, config.train.phases[0].max_seq_length - 3)
    stop = -(-count * len(made) // rows)
    batch = made_stores.joined(pretrain.train_batches(directory, config, start=0, stop=stop))
    result = []
    for epoch in range(count):
        part = {n: a[epoch * len(made) : (epoch + 1) * len(made)] for n, a in batch.items()}
        a_start, _ = made_stores.offsets(part)
        starts = text.sentences[made.start]
        result.append((part, np.searchsorted(starts, a_start, side='right') - 1))
    return text, made, result


def test_a_chunk_once_an_epoch_and_whole_in_one_of_two(made):
    _, cut, seen = epochs(made, 4)
    labels = np.zeros((4, len(cut)), int)
    for epoch, (batch, chunk) in enumerate(seen):
        assert sorted(chunk) == list(range(len(cut)))
        labels[epoch, chunk] = batch['next_sentence_labels']
        assert abs(labels[epoch].sum() - len(cut) / 2) <= 0.5
    assert (labels[0] + labels[1] == 1).all() and (labels[2] + labels[3] == 1).all()
    assert not np.array_equal(labels[0], labels[2])
    orders = [chunk.tolist() for _, chunk in seen]
    assert len(set(map(tuple, orders))) == 4


def test_segments_are_text_of_the_chunk_and_of_another_document(made):
    text, cut, seen = epochs(made, 6)
    starts, ends = text.sentences[cut.start], text.sentences[cut.end]
    document_starts = text.sentences[text.documents]
    at_front = at_back = trimmed = 0
    for batch, chunk in seen:
        ids, labels = made_stores.restored(batch), batch['next_sentence_labels']
        a_at, b_at = made_stores.offsets(batch)
        columns = made_stores.segments(batch)
        for row, (a, a_length, b, b_length) in enumerate(zip(*columns, strict=True)):
            own = chunk[row]
            assert a_length >= 1 and b_length >= 1 and a_length + b_length <= 61
            for place, length, at in ((a, a_length, a_at[row]), (b, b_length, b_at[row])):
                expected = text.tokens[at : at + length]
                assert np.array_equal(ids[row, place : place + length], expected)
            assert starts[own] <= a_at[row] < ends[own]
            assert a_at[row] + a_length <= ends[own]
            owner = np.searchsorted(document_starts, b_at[row], side='right') - 1
            last = np.searchsorted(document_starts, b_at[row] + b_length - 1, side='right') - 1
            assert owner == last
            if labels[row]:
                assert owner != cut.document[own]
            else:
                assert a_at[row] + a_length <= b_at[row]
                assert b_at[row] + b_length <= ends[own]
        real = labels == 0
        short = a_at[real] > starts[chunk[real]], (b_at + columns[3])[real] < ends[chunk[real]]
        at_front, at_back = at_front + short[0].sum(), at_back + short[1].sum()
        trimmed += real.sum()
    assert at_front > 0.1 * trimmed and at_back > 0.1 * trimmed


def test_layout(made):
    _, _, seen = epochs(made, 1)
    batch = seen[0][0]
    for row, ids in enumerate(made_stores.restored(batch)):
        a, a_length, b, b_length = (column[row] for column in made_stores.segments(batch))
        used = a_length + b_length + 3
        assert ids[0] == made_stores.CLS and ids[a + a_length] == made_stores.SEP
        assert ids[b + b_length] == made_stores.SEP and (ids[used:] == made_stores.PAD).all()
        assert batch['attention_mask'][row].tolist() == [1] * used + [0] * (64 - used)
        types = [0] * (a_length + 2) + [1] * (b_length + 1) + [0] * (64 - used)
        assert batch['token_type_ids'][row].tolist() == types


def test_a_tenth_of_the_rows_is_short(tmp_path):
    directory = made_stores.write(tmp_path / 'store', [[9] * 700, [8] * 800])
    config = made_stores.config(rows=100)
    batches = pretrain.train_batches(directory, config, start=0, stop=40)
    _, a, _, b = made_stores.segments(made_stores.joined(batches))
    full = (a + b >= 60).mean()  # a cut B may cost a row a token or two
    assert (a + b).min() < 10
    short = ((a + b) < 50).mean()
    assert 0.06 < short < 0.105  # 48/60 of a tenth
    assert full > 0.8
    none = pretrain.train_batches(
        directory, made_stores.config(rows=100, short_seq_prob=0.0), start=0, stop=10
    )
    _, a, _, b = made_stores.segments(made_stores.joined(none))
    assert ((a + b) < 50).sum() == 0


@pytest.mark.parametrize('probability', [0.0, 0.2])
def test_other_shares_of_random_text(made, probability):
    _, _, seen = epochs(made, 3, random_next_prob=probability)
    labels = np.concatenate([batch['next_sentence_labels'] for batch, _ in seen])
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
    batches = pretrain.train_batches(directory, config, start=0, stop=30)
    batch = made_stores.joined(batches)
    text = store.open_store(directory, 'train')
    borders = text.sentences[text.documents]
    a, b = (np.searchsorted(borders, x, side='right') for x in made_stores.offsets(batch))
    assert np.array_equal(a != b, batch['next_sentence_labels'] == 1)
    assert 0 < batch['next_sentence_labels'].mean() < 1
    _, a_length, _, b_length = made_stores.segments(batch)
    assert min(a_length.min(), b_length.min()) >= 1


@pytest.mark.parametrize('documents', [[[5, 6, 7]], [[5, 6, 7], [1], [1]]])
def test_one_document_is_an_error_before_the_first_batch(tmp_path, documents):
    directory = made_stores.write(tmp_path / 'store', documents)
    with pytest.raises(ValueError, match=r'two documents.*train has 1.*config\.data'):
        pretrain.train_batches(directory, made_stores.config(), start=0, stop=1)


@pytest.mark.parametrize('length', [128, 512])
@pytest.mark.parametrize('name, documents', [('articles', 100), ('leads', 5000)])
def test_the_label_can_not_be_seen_without_reading(real_text, name, documents, length):
    """Lengths; whether A and B begin inside a word and end with the end of a sentence."""
    directory = real_text(name, documents)
    words = tokenizer.load(directory)
    final = np.isin(np.array(words.pieces), ['.', '!', '?'])
    config = made_stores.config(length, 256, 20)
    batch = made_stores.joined(pretrain.train_batches(directory, config, start=0, stop=100))
    ids, labels = made_stores.restored(batch), batch['next_sentence_labels']
    a, a_length, b, b_length = made_stores.segments(batch)
    rows = np.arange(len(ids))
    features = np.stack(
        [
            a_length,
            b_length,
            words.is_continuation[ids[rows, a]],
            words.is_continuation[ids[rows, b]],
            final[ids[rows, a + a_length - 1]],
            final[ids[rows, b + b_length - 1]],
        ],
        axis=1,
    )
    half = len(rows) // 2
    for columns in ([0, 1], [0, 1, 2, 3, 4, 5]):
        model = HistGradientBoostingClassifier(max_iter=40, max_depth=5, random_state=0)
        model.fit(features[:half][:, columns], labels[:half])
        accuracy = model.score(features[half:][:, columns], labels[half:])
        # Half of 25,600 rows: chance is 0.5 with a standard deviation of 0.0044.
        assert accuracy <= 0.515, f'features {columns} tell {accuracy:.3f}'
    for column in range(2, 6):
        shares = [features[labels == label, column].mean() for label in (0, 1)]
        assert abs(shares[0] - shares[1]) < 0.03, (column, shares)

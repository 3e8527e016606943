import dataclasses
import pathlib
import subprocess
import sys

import made_stores
import numpy as np
import pytest
import tensorflow as tf

from bert_jax.data import row_shapes
from bert_jax.data.pretraining import chunks, stream
from bert_jax.data.row_format import BERT
from bert_jax.data.store import format
from bert_jax.data.tokenizers import tokenizer


def philox(key, counter):
    """Philox4x32-10 of Salmon et al. (2011): uint32[n, 4] for int counters[n]."""
    words = [np.array([c >> (32 * i) & 0xFFFFFFFF for c in counter], np.uint64) for i in range(4)]
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0 = words[0] * np.uint64(0xD2511F53)
        p1 = words[2] * np.uint64(0xCD9E8D57)
        words = [
            (p1 >> np.uint64(32)) ^ words[1] ^ np.uint64(k0),
            p1 & low,
            (p0 >> np.uint64(32)) ^ words[3] ^ np.uint64(k1),
            p0 & low,
        ]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(words, 1).astype(np.uint32)


def test_the_philox_of_this_test_gives_the_published_numbers():
    # Random123's known answers: all zeros, and all ones.
    assert philox(0, [0]).tolist() == [[0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]]
    ones = philox(2**64 - 1, [2**128 - 1])
    assert ones.tolist() == [[0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]]


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    directory = made_stores.write(
        tmp_path_factory.mktemp('stream') / 'store', made_stores.documents(40)
    )

    def make(shuffled=True, **data):
        config = made_stores.config(**data)
        text = format.open_store(directory, 'train')
        return stream.make_stream(
            text,
            chunks.make_chunks(text, 61),
            tokenizer.load(directory),
            config.data,
            config.train.phases[0],
            BERT,
            row_shapes.TWO_DOCUMENTS,
            61,
            'train/0',
            shuffled,
        )

    return make


@pytest.mark.parametrize('first', [0, 5, 2**40 + 3])
@pytest.mark.parametrize('columns', [4, 30])
def test_rows_are_textbook_philox(made, first, columns):
    draws = stream.Draws(made(seed=3), tf.constant(first, tf.int64), 7, columns)
    groups = -(-columns // 4)
    counters = [first * groups + i for i in range(7 * groups)]
    expected = philox(stream.stream_key(3, 'train/0'), counters).reshape(7, -1)[:, :columns]
    assert np.array_equal(draws.take(columns), expected)


def test_draws_below_a_limit_stay_below_it_and_reach_everything(made):
    draws = stream.Draws(made(), tf.constant(0, tf.int64), 4000, 8)
    limit = tf.reshape(tf.tile(tf.constant([0, 1, 2, 7], tf.int64), [1000]), [-1, 1])
    drawn = draws.below(limit, 8).numpy().reshape(1000, 4, 8)
    assert not drawn[:, :2].any()
    for column, size in ((2, 2), (3, 7)):
        counts = np.bincount(drawn[:, column].ravel(), minlength=size)
        assert len(counts) == size
        assert abs(counts / 8000 - 1 / size).max() < 0.02
    with pytest.raises(AssertionError):
        draws.take(1)


def test_periods_wrap_in_the_middle_of_a_batch(made):
    fixed = made(static_copies=2)
    period = fixed.period
    assert period == 2 * fixed.num_chunks
    once = stream.Draws(fixed, tf.constant(0, tf.int64), period, 9).take(9).numpy()
    across = stream.Draws(fixed, tf.constant(3 * period - 5, tf.int64), 20, 9).take(9).numpy()
    assert np.array_equal(across, np.concatenate([once[-5:], once[:15]]))
    assert made(shuffled=False, static_copies=2).period == 0  # evaluation has one copy anyway


@pytest.mark.parametrize('size', [2, 3, 17, 1000])
def test_an_order_is_a_permutation_and_every_epoch_has_its_own(made, size):
    whole = made()
    begin = tf.zeros(size, tf.int64)
    small = dataclasses.replace(whole, chunks=dataclasses.replace(whole.chunks, begin=begin))
    index = tf.range(size, dtype=tf.int64)[:, None]
    orders = [
        stream.shuffle(small, 'order', index, tf.fill([size, 1], tf.constant(e, tf.int64)))
        .numpy()[:, 0]
        .tolist()
        for e in range(20)
    ]
    assert all(sorted(order) == list(range(size)) for order in orders)
    if size >= 17:
        assert len(set(map(tuple, orders))) == 20
        first = np.array(orders)
        # Neighbours in the text are not neighbours in the order more often than by chance.
        near = (abs(np.diff(first, axis=1)) == 1).mean()
        assert near < 3 * 2 / size + 0.002


MEMORY = """
import pathlib, sys
import numpy as np
import tensorflow as tf
sys.path.insert(0, {tests!r})
import made_stores
from bert_jax.data.pretraining import input_pipeline

def anonymous():
    line = next(x for x in open('/proc/self/status') if x.startswith('RssAnon'))
    return int(line.split()[1]) / 1024

directory = pathlib.Path({directory!r})
config = made_stores.config(512, 64, 77)
next(input_pipeline.train_batches(pathlib.Path({warm!r}), config, start=0, stop=1))
before = anonymous()
batches = input_pipeline.train_batches(directory, config, start=0, stop=20)
assert sum(len(batch['input_ids']) for batch in batches) == 20 * 64
print(anonymous() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_tables_are_mapped_not_copied(tmp_path):
    warm = made_stores.write(tmp_path / 'warm', made_stores.documents(20, longest=200))
    big = made_stores.write(tmp_path / 'big', made_stores.documents(20))
    tokens, sentences, documents = 200_000_000, 8_000_000, 2_000
    with open(big / 'train/tokens.bin', 'wb') as file:
        file.truncate(2 * (tokens + 2 * format.GUARD))  # 400 MB that take no room
    starts = np.linspace(format.GUARD, format.GUARD + tokens, sentences + 1).astype(np.int64)
    starts.tofile(big / 'train/sentences.bin')  # 64 MB
    np.linspace(0, sentences, documents + 1).astype(np.int64).tofile(big / 'train/documents.bin')
    meta = format.read_meta(big)
    meta.counts['train'] = format.Counts(documents, sentences, tokens)
    format.write_meta(big, meta)
    script = MEMORY.format(
        tests=str(pathlib.Path(__file__).parents[1]), directory=str(big), warm=str(warm)
    )
    done = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 200, 'MiB'

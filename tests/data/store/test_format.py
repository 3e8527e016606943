import json
import math

import numpy as np
import pytest

from bert_jax.data.store import format


def write(directory, documents, vocab_size=100):
    """Writes a store with `documents` (lists of sentences of ids), all in one split."""
    writers = {split: format.SplitWriter(directory / split, vocab_size) for split in format.SPLITS}
    for document in documents:
        writers['train'].add([np.array(sentence) for sentence in document])
    for writer in writers.values():
        writer.close()
    meta = format.StoreMeta(
        version=format.VERSION,
        fingerprint='f',
        vocab_size=vocab_size,
        lowercase=True,
        token_dtype=str(format.token_dtype(vocab_size)),
        counts={split: writer.counts() for split, writer in writers.items()},
        unigram_entropy=format.unigram_entropy(writers['train'].histogram),
        made_from={'corpus': 'a test'},
        summary={'files': 1},
    )
    format.write_meta(directory, meta)
    return meta


DOCUMENTS = [[[5, 6, 7], [8]], [[9, 9]], [[1, 2], [3], [4, 5, 6]]]


@pytest.mark.parametrize(
    'vocab_size, dtype', [(100, 'uint16'), (65536, 'uint16'), (65537, 'uint32')]
)
def test_documents_come_back_as_they_were_written(tmp_path, vocab_size, dtype):
    meta = write(tmp_path, DOCUMENTS, vocab_size)
    found = format.open_store(tmp_path, 'train')
    assert found.tokens.dtype == dtype
    back = [
        [
            found.tokens[found.sentences[s] : found.sentences[s + 1]].tolist()
            for s in range(found.documents[d], found.documents[d + 1])
        ]
        for d in range(len(found.documents) - 1)
    ]
    assert back == DOCUMENTS
    assert not found.tokens[: format.GUARD].any() and not found.tokens[-format.GUARD :].any()
    assert format.read_meta(tmp_path) == meta
    assert meta.counts['train'] == format.Counts(documents=3, sentences=6, tokens=12)


def test_an_empty_split_opens(tmp_path):
    write(tmp_path, DOCUMENTS)
    found = format.open_store(tmp_path, 'eval')
    assert len(found.documents) == len(found.sentences) == 1
    assert len(found.tokens) == 2 * format.GUARD


@pytest.mark.parametrize('name', format.ARRAYS)
def test_a_truncated_or_missing_file_is_named(tmp_path, name):
    write(tmp_path, DOCUMENTS)
    path = tmp_path / 'train' / f'{name}.bin'
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf'{name}\.bin: expected \d+ bytes, found \d+; remove'):
        format.open_store(tmp_path, 'train')
    path.unlink()
    with pytest.raises(ValueError, match=rf'{name}\.bin: expected .* found no file'):
        format.open_store(tmp_path, 'train')


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'not a prepared store.*bert_jax prepare'):
        format.read_meta(tmp_path)
    write(tmp_path, DOCUMENTS)
    path = tmp_path / 'store.json'
    whole = path.read_text()
    path.write_text(json.dumps(json.loads(whole) | {'version': 0}))
    with pytest.raises(ValueError, match=f'has version 0, this code reads {format.VERSION}'):
        format.read_meta(tmp_path)
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r'store\.json is damaged'):
        format.read_meta(tmp_path)


def test_content_decides_the_hash(tmp_path):
    def digest(name, documents):
        writer = format.SplitWriter(tmp_path / name, 100)
        for document in documents:
            writer.add([np.array(sentence) for sentence in document])
        return writer.close()

    assert digest('a', DOCUMENTS) == digest('b', DOCUMENTS)
    # These have the same tokens, but another sentence break or another document break.
    assert (
        digest('c', [[[1, 2, 3]]]) != digest('d', [[[1, 2], [3]]]) != digest('e', [[[1, 2]], [[3]]])
    )


def test_unigram_entropy():
    assert format.unigram_entropy(np.full(50, 3)) == pytest.approx(math.log(50))
    assert format.unigram_entropy(np.array([0, 7, 0])) == 0
    assert format.unigram_entropy(np.zeros(5, int)) == 0
    halves = format.unigram_entropy(np.array([2, 1, 1]))
    assert halves == pytest.approx(1.5 * math.log(2))

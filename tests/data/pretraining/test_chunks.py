import made_stores
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_jax.data.pretraining import chunks
from bert_jax.data.store import format


def read(documents):
    """A store without tokens, from the lengths of the sentences of each document."""
    lengths = np.concatenate([np.array(document, np.int64) for document in documents])
    counts = [len(document) for document in documents]
    return format.Store(
        np.empty(0, np.uint16),
        format.GUARD + np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([[0], np.cumsum(counts)]),
    )


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=30), min_size=1, max_size=8),
    st.integers(5, 60),
)
def test_every_sentence_is_in_one_chunk_of_its_document(documents, budget):
    check(read(documents), documents, budget)


@pytest.mark.parametrize('split', format.SPLITS)
def test_so_is_every_sentence_of_real_text(prose, split):
    text = format.open_store(prose, split)
    lengths = np.diff(text.sentences)
    documents = [d.tolist() for d in np.split(lengths, text.documents[1:-1])]
    for budget in (61, 125):
        check(text, documents, budget)


def check(text, documents, budget):
    made = chunks.make_chunks(text, budget)
    seen = [
        (d, s)
        for a, b, d in zip(made.start, made.end, made.document, strict=True)
        for s in range(a, b)
    ]
    wanted = [
        (d, s)
        for d, lengths in enumerate(documents)
        if sum(lengths) > 1
        for s in range(text.documents[d], text.documents[d + 1])
    ]
    assert seen == wanted
    assert made.dropped == sum(sum(lengths) == 1 for lengths in documents)
    size = text.sentences[made.end] - text.sentences[made.start]
    assert (size >= 2).all()
    last = made.end == text.documents[made.document + 1]
    assert (size[~last] >= budget).all()
    # No sentence more than needed, but for a single token that could not stand alone.
    before_last = text.sentences[made.end - 1] - text.sentences[made.start]
    alone = text.sentences[made.end] - text.sentences[made.end - 1] == 1
    assert (before_last[~(last & alone)] < budget).all()
    for d in range(len(documents)):
        own = np.flatnonzero(made.document == d)
        assert own.tolist() == list(range(made.first_chunk[d], made.first_chunk[d + 1]))


def test_a_real_store_is_read_the_same(tmp_path):
    lengths = made_stores.documents(30)
    directory = made_stores.write(tmp_path / 'store', lengths)
    mapped = chunks.make_chunks(format.open_store(directory, 'train'), 61)
    assert np.array_equal(mapped.start, chunks.make_chunks(read(lengths), 61).start)
    assert mapped.dropped == sum(sum(document) == 1 for document in lengths) > 0

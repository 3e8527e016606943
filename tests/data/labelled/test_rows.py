"""Rows of fine-tuning: every one once an epoch, a batch a function of (seed, k), for any hosts."""

import dataclasses

import numpy as np
import pytest

from bert_jax.data.labelled.rows import EncodedExamples, SequentialBatches, ShuffledBatches
from bert_jax.data.labelled.texts import Row

LENGTHS = (4, 8, 16)
SIZES = [3, 8, 2, 16, 4, 5, 9, 3, 2, 7, 8, 12, 3, 4, 6, 2, 3]


@pytest.fixture(scope='module')
def rows() -> EncodedExamples:
    made = [Row(list(range(10 * i, 10 * i + n)), [0] * (n - 1) + [1]) for i, n in enumerate(SIZES)]
    per_token = np.concatenate([np.full(n, i) for i, n in enumerate(SIZES)]).astype(np.int32)
    labels = {'label_ids': np.arange(len(SIZES), dtype=np.int32), 'tags': per_token}
    return EncodedExamples.from_rows(made, labels, pad_id=99)


def stream(rows: EncodedExamples, seed: int = 0) -> ShuffledBatches:
    return ShuffledBatches(rows, LENGTHS, 4, seed)


def seen(batches: list) -> list[int]:
    """The examples in them, without what only fills."""
    return [int(i) for b in batches for i in b['example_ids'][b['example_weights'] > 0]]


def check_rows(rows: EncodedExamples, batch: dict) -> None:
    """Asserts that all arrays of a batch have the rows that its example_ids name."""
    for i, place in enumerate(batch['example_ids']):
        size = SIZES[place] if batch['example_weights'][i] else 0
        length = batch['input_ids'].shape[1]
        ids = [*range(10 * place, 10 * place + size), *[99] * (length - size)]
        assert batch['input_ids'][i].tolist() == ids
        assert batch['attention_mask'][i].tolist() == [1] * size + [0] * (length - size)
        types = [*[0] * (size - 1), *[1] * (size > 0)]
        assert batch['token_type_ids'][i].tolist() == types + [0] * (length - size)
        assert batch['tags'][i].tolist() == [place] * size + [0] * (length - size)
        assert batch['label_ids'][i] == place * (size > 0)


def test_every_row_once_an_epoch_in_as_few_batches_as_can_be(rows: EncodedExamples) -> None:
    source = stream(rows)
    assert source.batches_per_epoch == 5
    epochs = [list(source.batches(5 * e, 5 * e + 5)) for e in range(3)]
    for epoch in epochs:
        assert sorted(seen(epoch)) == list(range(len(SIZES)))
        for batch in epoch:
            check_rows(rows, batch)
            assert batch['input_ids'].shape[1] in LENGTHS
    assert len({tuple(seen(epoch)) for epoch in epochs}) == 3


def test_batches_are_no_longer_than_their_longest_row_needs(rows: EncodedExamples) -> None:
    for batch in stream(rows).batches(0, 15):
        longest = batch['attention_mask'].sum(1).max()
        assert batch['input_ids'].shape[1] == min(n for n in LENGTHS if n >= longest)


def test_batch_k_does_not_depend_on_where_the_run_began_or_on_hosts(rows: EncodedExamples) -> None:
    whole = list(stream(rows).batches(0, 12))
    jumped = list(stream(rows).batches(7, 12))
    for a, b in zip(whole[7:], jumped, strict=True):
        assert all((a[name] == b[name]).all() for name in a)
    parts = [list(stream(rows).batches(0, 12, host, 2)) for host in range(2)]
    for batch, *slices in zip(whole, *parts, strict=True):
        for name in batch:
            assert (np.concatenate([part[name] for part in slices]) == batch[name]).all()


def test_rows_need_not_be_grouped(rows: EncodedExamples) -> None:
    """Each row is in an epoch once, and a batch is as long as its longest row."""
    mixed = dataclasses.replace(stream(rows), group_by_length=False)
    for epoch in range(2):
        batches = mixed.epoch(epoch)
        assert sorted(np.concatenate(batches)) == list(range(len(SIZES)))
        assert sorted(map(len, batches))[1:] == [4] * (mixed.batches_per_epoch - 1)
    grouped = [{np.searchsorted(LENGTHS, SIZES[i]) for i in b} for b in stream(rows).epoch(0)]
    found = [{np.searchsorted(LENGTHS, SIZES[i]) for i in b} for b in mixed.epoch(0)]
    assert sum(map(len, found)) > sum(map(len, grouped))
    for batch in mixed.batches(0, 9):
        check_rows(rows, batch)


def test_another_seed_is_another_order(rows: EncodedExamples) -> None:
    first, second = (seen(list(stream(rows, seed).batches(0, 5))) for seed in (0, 1))
    assert first != second
    assert seen(list(stream(rows, -1).batches(0, 5))) != first


def test_evaluation_has_every_row_once_shortest_first(rows: EncodedExamples) -> None:
    batches = list(SequentialBatches(rows, dict.fromkeys(LENGTHS, (4,))))
    assert sorted(seen(batches)) == list(range(len(SIZES)))
    assert [SIZES[i] for i in seen(batches)] == sorted(SIZES)
    for batch in batches:
        check_rows(rows, batch)


def test_the_fingerprint_is_of_everything(rows: EncodedExamples) -> None:
    same = EncodedExamples.from_rows(
        [Row(list(range(10 * i, 10 * i + n)), [0] * (n - 1) + [1]) for i, n in enumerate(SIZES)],
        dict(reversed(rows.labels.items())),
        pad_id=99,
    )
    assert same.fingerprint() == rows.fingerprint()
    changed = dict(rows.labels) | {'label_ids': rows.labels['label_ids'][::-1]}
    assert dataclasses.replace(rows, labels=changed).fingerprint() != rows.fingerprint()

"""Labelled rows for fine-tuning, and their batches: by length, new in every epoch (numpy only)."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from bert_jax.batch import HostBatch
from bert_jax.data.labelled.texts import Row


class RowsByPlace(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> Row: ...


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows one after the other; row i is [begin[i], begin[i + 1]).

    labels: by their names in a batch, [rows] each, or [tokens] where every token has one.
    """

    ids: np.ndarray  # int32[tokens]
    types: np.ndarray  # int8[tokens]
    begin: np.ndarray  # int64[rows + 1]
    labels: Mapping[str, np.ndarray]
    pad_id: int

    def __len__(self) -> int:
        return len(self.begin) - 1

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.begin)

    def fingerprint(self) -> str:
        """Of all that is in them."""
        digest = hashlib.sha256()
        for array in (
            self.ids,
            self.types,
            self.begin,
            *dict(sorted(self.labels.items())).values(),
        ):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def batch(self, places: np.ndarray, rows: int, length: int) -> HostBatch:
        """A batch of `rows` >= len(places) rows; the ones without a place have no weight."""
        size = np.zeros(rows, np.int64)
        size[: len(places)] = self.lengths[places]
        first = np.zeros(rows, np.int64)
        first[: len(places)] = self.begin[places]
        column = np.arange(length)
        inside = column < size[:, None]
        index = np.where(inside, first[:, None] + column, 0)
        found = {
            'input_ids': np.where(inside, self.ids[index], self.pad_id).astype(np.int32),
            'token_type_ids': np.where(inside, self.types[index], 0).astype(np.int32),
            'attention_mask': inside.astype(np.int32),
            'example_weights': (np.arange(rows) < len(places)).astype(np.float32),
            'example_ids': np.zeros(rows, np.int32),
        }
        found['example_ids'][: len(places)] = places
        for name, values in self.labels.items():
            if len(values) == len(self):
                found[name] = np.zeros(rows, values.dtype)
                found[name][: len(places)] = values[places]
            else:
                found[name] = np.where(inside, values[index], 0).astype(values.dtype)
        return found


def make_rows(rows: RowsByPlace, labels: Mapping[str, np.ndarray], pad_id: int) -> Rows:
    """labels: as in `Rows`."""
    sizes = np.array([len(rows[i].input_ids) for i in range(len(rows))], np.int64)
    begin = np.concatenate([[0], np.cumsum(sizes)])
    ids, types = np.empty(begin[-1], np.int32), np.empty(begin[-1], np.int8)
    for i in range(len(rows)):
        ids[begin[i] : begin[i + 1]], types[begin[i] : begin[i + 1]] = rows[i]
    for name, values in labels.items():
        assert len(values) in (len(rows), len(ids)), (name, len(values), len(rows), len(ids))
    return Rows(ids, types, begin, labels, pad_id)


@dataclasses.dataclass(frozen=True)
class Shuffled:
    """Batch k as a function of (rows, seed, k): every row once an epoch, in batches of rows of like
    length, or of any where they are not grouped. The rows that are left of a length fill up with
    the next longer ones, so an epoch has no more batches than it needs; its last may be short of
    rows.
    """

    rows: Rows
    lengths: Sequence[int]
    batch_size: int
    seed: int
    group_by_length: bool = True

    @property
    def batches_per_epoch(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def epoch(self, number: int) -> list[np.ndarray]:
        """The places of the rows of each batch."""
        sizes, limits = self.rows.lengths, np.array(self.lengths)
        order = permutation(len(sizes), self.seed, number, 0)
        buckets = np.searchsorted(limits, sizes[order]) * self.group_by_length
        batches: list[np.ndarray] = []
        left = order[:0]
        for bucket in np.unique(buckets):
            members = np.concatenate([left, order[buckets == bucket]])
            full = len(members) // self.batch_size * self.batch_size
            batches += np.split(members[:full], max(full // self.batch_size, 1)) if full else []
            left = members[full:]
        if len(left):
            batches.append(left)
        return [batches[i] for i in permutation(len(batches), self.seed, number, 1)]

    def batches(
        self, start: int, stop: int, host: int = 0, num_hosts: int = 1
    ) -> Iterator[HostBatch]:
        """The host's slices of batches start .. stop - 1."""
        epoch = functools.lru_cache(maxsize=1)(self.epoch)
        for k in range(start, stop):
            number, place = divmod(k, self.batches_per_epoch)
            yield _slice(
                self.rows, epoch(number)[place], self.lengths, self.batch_size, host, num_hosts
            )


def in_order(
    rows: Rows, lengths: Sequence[int], batch_size: int, host: int = 0, num_hosts: int = 1
) -> Iterator[HostBatch]:
    """The host's slices of batches that have every row once, shortest first."""
    order = np.argsort(rows.lengths, kind='stable')
    buckets = np.searchsorted(np.array(lengths), rows.lengths[order])
    for bucket in np.unique(buckets):
        members = order[buckets == bucket]
        for i in range(0, len(members), batch_size):
            places = members[i : i + batch_size]
            yield _slice(rows, places, lengths, batch_size, host, num_hosts)


def _slice(
    rows: Rows,
    places: np.ndarray,
    lengths: Sequence[int],
    batch_size: int,
    host: int,
    num_hosts: int,
) -> HostBatch:
    longest = rows.lengths[places].max()
    length = int(lengths[np.searchsorted(np.array(lengths), longest)])
    share = batch_size // num_hosts
    return rows.batch(places[host * share : (host + 1) * share], share, length)


def permutation(count: int, seed: int, epoch: int = 0, use: int = 0) -> np.ndarray:
    """int64[count], of raw Philox words, whose values no release of NumPy changes."""
    generator = np.random.Philox(key=np.array([seed % 2**64, 2 * epoch + use], np.uint64))
    return np.argsort(generator.random_raw(count), kind='stable')

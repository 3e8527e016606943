"""Labelled examples as token ids, and their batches by length (numpy only)."""

import array
import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from bert_jax.batch import HostBatch
from bert_jax.data.labelled.texts import Row


@dataclasses.dataclass(frozen=True)
class EncodedExamples:
    """Examples in flat arrays: example i has the tokens begin[i] to begin[i + 1] - 1.

    labels: arrays by their names in a batch, with a value per example or per token.
    """

    input_ids: np.ndarray  # int32[tokens]
    token_type_ids: np.ndarray  # int8[tokens]
    begin: np.ndarray  # int64[examples + 1]
    labels: Mapping[str, np.ndarray]
    pad_id: int

    @classmethod
    def from_rows(
        cls, rows: Iterable[Row], labels: Mapping[str, np.ndarray], pad_id: int
    ) -> 'EncodedExamples':
        ids, types, begin = array.array('i'), array.array('b'), [0]
        for row in rows:
            ids.extend(row.input_ids)
            types.extend(row.token_type_ids)
            begin.append(len(ids))
        for name, values in labels.items():
            assert len(values) in (len(begin) - 1, len(ids)), (name, len(values), begin)
        return cls(
            np.array(ids, np.int32), np.array(types, np.int8), np.array(begin), labels, pad_id
        )

    def __len__(self) -> int:
        return len(self.begin) - 1

    @property
    def lengths(self) -> np.ndarray:
        """int64[examples]: the length of the shortest row that holds each example, in tokens."""
        return np.diff(self.begin)

    def fingerprint(self) -> str:
        """A hash of all token ids, token types and labels."""
        labels = (self.labels[name] for name in sorted(self.labels))
        digest = hashlib.sha256()
        for values in (self.input_ids, self.token_type_ids, self.begin, *labels):
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()[:16]

    def batch(self, indices: np.ndarray, rows: int, length: int) -> HostBatch:
        """A batch of the examples `indices`, padded to `rows` rows of `length` tokens.

        input_ids, token_type_ids and attention_mask are int32[rows, length]. example_weights,
        float32[rows], are 0 in rows without an example. example_ids, int32[rows], are the
        indices of the examples. Labels are [rows], [rows, n] or [rows, length], and
        0 in padding.
        """

        def per_row(values: np.ndarray) -> np.ndarray:
            padding = [(0, rows - len(indices)), *[(0, 0)] * (values.ndim - 1)]
            return np.pad(values, padding)

        column = np.arange(length)
        is_token = column < per_row(np.diff(self.begin)[indices])[:, None]
        token = np.where(is_token, per_row(self.begin[indices])[:, None] + column, 0)

        def per_token(values: np.ndarray, padding: int = 0) -> np.ndarray:
            return np.where(is_token, values[token], padding)

        batch = {
            'input_ids': per_token(self.input_ids, self.pad_id).astype(np.int32),
            'token_type_ids': per_token(self.token_type_ids).astype(np.int32),
            'attention_mask': is_token.astype(np.int32),
            'example_weights': per_row(np.ones(len(indices), np.float32)),
            'example_ids': per_row(np.asarray(indices, np.int32)),
        }
        for name, values in self.labels.items():
            if len(values) == len(self):
                batch[name] = per_row(values[indices])
            else:
                batch[name] = per_token(values).astype(values.dtype)
        return batch


@dataclasses.dataclass(frozen=True)
class ShuffledBatches:
    """Training batches; batch k is a pure function of (examples, seed, k).

    An epoch has every example once. With group_by_length the examples of a batch have similar
    lengths. If the remaining examples of a length do not fill a batch, they are put into a batch of
    the next length. So an epoch has as few batches as possible, and at most one has fewer rows.
    """

    examples: EncodedExamples
    lengths: Sequence[int]
    batch_size: int
    seed: int
    group_by_length: bool = True

    @property
    def batches_per_epoch(self) -> int:
        return -(-len(self.examples) // self.batch_size)

    def epoch(self, number: int) -> list[np.ndarray]:
        """The indices of the examples of each batch, int64[at most batch_size]."""
        sizes = self.examples.lengths
        order = permutation(len(sizes), self.seed, number, 0)
        buckets = np.searchsorted(np.array(self.lengths), sizes[order]) * self.group_by_length
        batches: list[np.ndarray] = []
        remaining = order[:0]
        for bucket in np.unique(buckets):
            members = np.concatenate([remaining, order[buckets == bucket]])
            full = len(members) // self.batch_size * self.batch_size
            batches += np.split(members[:full], full // self.batch_size) if full else []
            remaining = members[full:]
        if len(remaining):
            batches.append(remaining)
        return [batches[i] for i in permutation(len(batches), self.seed, number, 1)]

    def batches(
        self, start: int, stop: int, host: int = 0, num_hosts: int = 1
    ) -> Iterator[HostBatch]:
        """This host's slices of the batches `start` to `stop - 1`."""
        epoch = functools.lru_cache(maxsize=1)(self.epoch)
        for k in range(start, stop):
            number, index = divmod(k, self.batches_per_epoch)
            indices = epoch(number)[index]
            longest = self.examples.lengths[indices].max()
            length = self.lengths[np.searchsorted(np.array(self.lengths), longest)]
            rows = self.batch_size // num_hosts
            yield self.examples.batch(indices[host * rows : (host + 1) * rows], rows, int(length))


@dataclasses.dataclass(frozen=True)
class SequentialBatches:
    """Batches for evaluation and inference: every example once, the shortest first.

    shapes: for each length of a batch, ascending, the possible numbers of rows, ascending. Batches
    have the largest number; the last batch of a length has the smallest number that holds the
    remaining examples. With several hosts each reads its slice.
    """

    examples: EncodedExamples
    shapes: Mapping[int, Sequence[int]]
    host: int = 0
    num_hosts: int = 1

    def __iter__(self) -> Iterator[HostBatch]:
        order = np.argsort(self.examples.lengths, kind='stable')
        buckets = np.searchsorted(np.array(list(self.shapes)), self.examples.lengths[order])
        for bucket, (length, sizes) in enumerate(self.shapes.items()):
            members = order[buckets == bucket]
            for i in range(0, len(members), sizes[-1]):
                indices = members[i : i + sizes[-1]]
                rows = next(size for size in sizes if size >= len(indices)) // self.num_hosts
                on_host = indices[self.host * rows : (self.host + 1) * rows]
                yield self.examples.batch(on_host, rows, length)


def permutation(count: int, seed: int, epoch: int = 0, use: int = 0) -> np.ndarray:
    """int64[count]: a permutation made from raw Philox words, so that no NumPy release changes it.

    use: 0 or 1, for two independent permutations of an epoch.
    """
    generator = np.random.Philox(key=np.array([seed % 2**64, 2 * epoch + use], np.uint64))
    return np.argsort(generator.random_raw(count), kind='stable')

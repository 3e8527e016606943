"""The order of rows from several parts of a corpus, such as its languages.

The parts alternate as evenly as their weights allow, and not at random: n consecutive rows contain
n times the share of each part, rounded. So no batch lacks a part whose share is a row or more. The
part of a row, and its place in the part, depend only on the row's number.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

UNIT = 1 << 20  # weights are multiples of 1 / UNIT; a row's number times UNIT fits in int64


def weights(shares: Mapping[str, float]) -> list[int]:
    """Integers that are proportional to the shares, at least 1 each."""
    return [max(round(share * UNIT), 1) for share in shares.values()]


def place(row: tf.Tensor, weights: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor]:
    """The part of each row, int32[rows], and its number in the part, int64[rows].

    row: int64[rows], their numbers. Of the first sum(weights) rows, part i has exactly weights[i].
    """
    # A row belongs to the part that has one row more after it than before it.
    before, after = (tf.stack(first_rows(n, weights), axis=1) for n in (row, row + 1))
    part = tf.argmax(after - before, axis=1, output_type=tf.int32)
    return part, tf.gather(before, part, batch_dims=1)


def first_rows(row: tf.Tensor, weights: Sequence[int]) -> list[tf.Tensor]:
    """The numbers of rows before `row` that belong to each part. All are int64 of one shape."""
    left, rest, firsts = sum(weights), row, []
    for weight in weights:
        firsts.append(rest * weight // left)
        rest, left = rest - firsts[-1], left - weight
    return firsts


def most_rows(rows: int, weights: Sequence[int]) -> list[int]:
    """The largest number of rows of each part among `rows` rows in sequence."""
    left, most = sum(weights), list[int]()
    for weight in weights:
        most.append(-(-rows * weight // left))
        rows, left = -(-rows * (left - weight) // left), left - weight
    return most

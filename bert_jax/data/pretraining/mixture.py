"""The order of rows from several parts of a corpus, such as its languages.

The parts alternate as evenly as their weights allow, and not at random: n consecutive rows contain
n times the share of each part, rounded. So no batch lacks a part whose share is a row or more. The
part of a row, and its place in the part, depend only on the row's number.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

UNIT = 1 << 20  # weights are multiples of 1 / UNIT; a row's number times UNIT fits in int64


class Place(NamedTuple):
    """part: int32[rows]. index: int64[rows], the number of the row within its part."""

    part: tf.Tensor
    index: tf.Tensor


def weights(shares: Mapping[str, float]) -> list[int]:
    """Integers that are proportional to the shares, at least 1 each."""
    return [max(round(share * UNIT), 1) for share in shares.values()]


def place(row: tf.Tensor, weights: Sequence[int]) -> Place:
    """The part of each row, and its number in the part. row: int64[rows], their numbers.

    Of the first sum(weights) rows, part i has exactly weights[i].
    """
    left, rest = sum(weights), row
    part, index = tf.zeros_like(row, tf.int32), tf.zeros_like(row)
    found = tf.zeros_like(row, tf.bool)
    for i, weight in enumerate(weights):
        before = rest * weight // left
        chosen = ~found & ((rest + 1) * weight // left > before)
        part, index = tf.where(chosen, i, part), tf.where(chosen, before, index)
        found, rest, left = found | chosen, rest - before, left - weight
    return Place(part, index)


def first_rows(row: tf.Tensor, weights: Sequence[int]) -> list[tf.Tensor]:
    """The numbers of rows before `row` (int64[]) that belong to each part, int64[] each."""
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

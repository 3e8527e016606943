"""Baselines for the masked-LM accuracy: how often counting predicts a held-out token correctly.

`frequent` predicts the most frequent token of the train split everywhere. `pairs` predicts the
token that most often follows the token to the left. `triples` predicts the token that most often
stands between the left and the right neighbour; for neighbours that never occur together in the
train split, it predicts the token of `pairs`. In the same way, `pairs` falls back to `frequent`. A
neighbour is a token of the same document, or the edge of the document.

Counting sorts at most TRAIN_TOKENS tokens, evenly spread over the split, which takes a few seconds
and less than 1 GB of memory for a corpus of any size.
"""

import pathlib
from collections.abc import Iterator

import numpy as np

from bert_jax.data.store import format

TRAIN_TOKENS, EVAL_TOKENS = 1 << 23, 1 << 20  # at most this many are counted and predicted
BLOCK = 1 << 16  # consecutive tokens of a block of the sample
NAMES = ('frequent', 'pairs', 'triples')


def count(
    directory: pathlib.Path, train_tokens: int = TRAIN_TOKENS, eval_tokens: int = EVAL_TOKENS
) -> dict[str, float]:
    """The accuracy of each baseline on the tokens of the eval split, by its name.

    `train_share` and `eval_share` are the shares of the two splits that were read. The result
    depends on the store alone. It is empty if one of the splits has no tokens.
    """
    edge = format.read_meta(directory).vocab_size  # an id that no token has
    counted = _tokens(format.open_store(directory, 'train'), train_tokens, edge)
    left, token, right = counted
    expected = _tokens(format.open_store(directory, 'eval'), eval_tokens, edge)
    if not len(token) or not len(expected[1]):
        return {}
    frequent = int(np.argmax(np.bincount(token)))
    pairs = np.full(edge + 1, frequent)
    known, best = _most_frequent((left,), token, edge)
    pairs[known] = best
    known, best = _most_frequent((left, right), token, edge)
    left, token, right = expected
    both = left.astype(np.int64) * (edge + 1) + right
    place = np.searchsorted(known, both).clip(max=len(known) - 1)
    predictions = {
        'frequent': frequent,
        'pairs': pairs[left],
        'triples': np.where(known[place] == both, best[place], pairs[left]),
    }
    accuracies = {name: float(np.mean(predictions[name] == token)) for name in NAMES}
    meta = format.read_meta(directory)
    return accuracies | {
        'train_share': len(counted[1]) / meta.counts['train'].tokens,
        'eval_share': len(token) / meta.counts['eval'].tokens,
    }


def _tokens(store: format.Store, limit: int, edge: int) -> tuple[np.ndarray, ...]:
    """The arrays (left neighbour, token, right neighbour), int32[n] each; n is about `limit` or
    less."""
    starts = store.sentences[store.documents]  # the first token of each document, and the end
    blocks = list(_blocks(int(starts[0]), int(starts[-1]), limit))
    columns = tuple(np.zeros(sum(b - a for a, b in blocks), np.int32) for _ in range(3))
    first = 0
    for begin, end in blocks:
        left, token, right = (column[first : first + end - begin] for column in columns)
        for shift, column in zip((-1, 0, 1), (left, token, right), strict=True):
            column[:] = store.tokens[begin + shift : end + shift]
        inside = starts[np.searchsorted(starts, begin) : np.searchsorted(starts, end, 'right')]
        left[inside[inside < end] - begin] = edge
        right[inside[inside > begin] - begin - 1] = edge
        first += end - begin
    return columns


def _blocks(begin: int, end: int, limit: int) -> Iterator[tuple[int, int]]:
    """Ranges of token indices: all in one range, or blocks that are evenly spread."""
    if end - begin <= limit:
        yield begin, end
        return
    size = min(BLOCK, limit)
    for start in np.linspace(begin, end - size, limit // size).astype(int).tolist():
        yield start, start + size


def _most_frequent(
    context: tuple[np.ndarray, ...], token: np.ndarray, edge: int
) -> tuple[np.ndarray, np.ndarray]:
    """The distinct contexts in ascending order and the most frequent token of each, int64[contexts]
    each.

    context: the ids of which a context consists, int32[n] each. A context is returned as one
    number, whose digits to the base edge + 1 are its ids. The smallest id wins among equally
    frequent tokens.
    """
    both = np.zeros(len(token), np.int64)  # a context and its token
    for column in (*context, token):
        both *= edge + 1
        both += column
    both.sort()
    places = np.flatnonzero(np.append(True, both[1:] != both[:-1]))
    both, counts = both[places], np.diff(places, append=len(both))
    owner = both // (edge + 1)
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    highest = np.maximum.reduceat(counts, first)
    sizes = np.diff(first, append=len(owner))
    both = both[counts == np.repeat(highest, sizes)]
    winner = np.flatnonzero(np.diff(both // (edge + 1), prepend=-1))
    return owner[first], both[winner] % (edge + 1)

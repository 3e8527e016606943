"""Stores for tests in which no token occurs twice, so that each token of a batch has one place in
the text; and functions that find the text of a batch in a store of any kind."""

import itertools

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from bert_jax.config import schema as configs
from bert_jax.data.store import format

PIECES = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '[unused0]', '<odd>']
FIRST = len(PIECES)  # the id of the first token of the text


def write(directory, train, evaluation=((3, 4), (5, 6)), spare=0):
    """Writes a store whose documents are lists of sentence lengths. Token i (counted through train
    and eval) has the id FIRST + i. Every fourth token continues a word."""
    total = sum(map(sum, itertools.chain(train, evaluation))) + spare
    pieces = PIECES + [f'##w{i}' if i % 4 == 3 else f'w{i}' for i in range(total)]
    vocab_size = len(pieces)
    ids = itertools.count(FIRST)
    directory.mkdir(parents=True, exist_ok=True)
    writers = {}
    for split, documents in (('train', train), ('eval', evaluation)):
        writers[split] = format.SplitWriter(directory / split, vocab_size)
        for lengths in documents:
            writers[split].add([np.array([next(ids) for _ in range(n)]) for n in lengths])
    for writer in writers.values():
        writer.close()
    (directory / 'vocab.txt').write_text('\n'.join(pieces) + '\n')
    counts = {split: writer.counts() for split, writer in writers.items()}
    dtype = str(format.token_dtype(vocab_size))
    meta = format.StoreMeta(
        format.VERSION, 'none', vocab_size, True, dtype, counts, 0.0, {'corpus': 'made'}, {}
    )
    format.write_meta(directory, meta)
    return directory


def documents(count, seed=0, longest=60):
    """Random sentence lengths: some documents have one sentence, or one token."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, longest, count)
    return [[1], [40], *(random.integers(1, 30, size).tolist() for size in sizes)]


def config(length=64, rows=32, slots=10, steps=10_000, eval_rows=0, **data):
    return configs.Config(
        train=configs.TrainConfig(phases=(configs.Phase(steps, length, rows, slots),)),
        data=configs.DataConfig(**data),
        eval=configs.EvalConfig(batch_size=eval_rows),
    )


def joined(batches):
    """One batch with the rows of all batches."""
    batches = list(batches)
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def equal(one, other):
    """Returns whether two batches have the same arrays."""
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def restored(batch):
    """int32[rows, length]: the ids before they were masked."""
    ids, used = batch['input_ids'].copy(), batch['masked_lm_weights'] > 0
    row, _ = np.nonzero(used)
    ids[row, batch['masked_lm_positions'][used]] = batch['masked_lm_ids'][used]
    return ids


def segments(batch):
    """For each row: the position and the length of A, the position and the length of B."""
    b_length = batch['token_type_ids'].sum(1) - 1
    a_length = batch['attention_mask'].sum(1) - b_length - 3
    return np.ones_like(a_length), a_length, a_length + 2, b_length


def offsets(batch):
    """For each row of a made store: the places in tokens.bin where A and B start."""
    ids = restored(batch)
    a, _, b, _ = segments(batch)
    rows = np.arange(len(ids))
    return format.GUARD + ids[rows, a] - FIRST, format.GUARD + ids[rows, b] - FIRST


def found(text, batch):
    """Searches a store's tokens for A and B of each row: two lists of int64[places]."""
    tokens, ids = np.asarray(text.tokens), restored(batch)

    def places(wanted):
        at = np.flatnonzero(tokens == wanted[0])
        for i in range(1, len(wanted)):
            if len(at) > 1:
                at = at[tokens[at + i] == wanted[i]]
        return np.array([p for p in at if np.array_equal(tokens[p : p + len(wanted)], wanted)], int)

    a, a_length, b, b_length = segments(batch)
    rows = range(len(ids))
    return (
        [places(ids[row, a[row] : a[row] + a_length[row]]) for row in rows],
        [places(ids[row, b[row] : b[row] + b_length[row]]) for row in rows],
    )


def chunks_of(text, cut, batch):
    """The chunk of each row, int64[rows], and bool[rows], whether only one chunk is possible.

    A chunk is possible if it contains the row's A, and its B if that is not random. The chunks are
    assigned such that as many rows as possible have a chunk of their own; the others have -1.
    """
    starts, ends = text.sentences[cut.start], text.sentences[cut.end]
    _, a_length, _, b_length = segments(batch)

    def inside(at, length):
        chunk = np.searchsorted(starts, at, side='right') - 1
        return set(chunk[at + length <= ends[chunk]])

    possible = np.zeros((len(a_length), len(cut)), bool)
    for row, (a, b) in enumerate(zip(*found(text, batch), strict=True)):
        own = inside(a, a_length[row])
        if not batch['next_sentence_labels'][row]:
            own &= inside(b, b_length[row])
        possible[row, list(own)] = True
    dealt = maximum_bipartite_matching(csr_array(possible), perm_type='column')
    return dealt, possible.sum(1) == 1


def edges(batch, words):
    """Returns features of the edges of texts A and B, [rows, 6].

    They are the lengths of A and B, whether A and B begin inside a word, and whether they end a
    sentence. words: the vocabulary.
    """
    final = np.isin(np.array(words.pieces), ['.', '!', '?'])
    ids = restored(batch)
    a, a_length, b, b_length = segments(batch)
    rows = np.arange(len(ids))
    begins = (words.is_continuation[ids[rows, first]] for first in (a, b))
    ends = (final[ids[rows, last - 1]] for last in (a + a_length, b + b_length))
    return np.stack([a_length, b_length, *begins, *ends], axis=1)

"""Sentence pairs and masks for a whole batch at once, as TensorFlow graph operations.

Devlin et al. (2019), section 3.1 and appendix A.2, and google-research/bert. Everything random
about row p of a stream comes from one Philox draw whose counter is p, so it depends neither on the
batch the row is in nor on who computes it.
"""

import dataclasses
import hashlib

import numpy as np
import tensorflow as tf

from bert_jax.config import DataConfig, Phase
from bert_jax.data.chunks import Chunks
from bert_jax.data.store import Store
from bert_jax.data.tokenizer import Tokenizer

CANDIDATES = 4  # documents drawn for a random B; the first that is long enough is taken
SHUFFLE_ROUNDS = 12  # with the 4 of TensorFlow's wrapper, neighbours stay correlated


@dataclasses.dataclass(frozen=True)
class Stream:
    """A corpus split at one row length: tables in the graph, and how rows are drawn from them."""

    tokens: tf.Tensor  # uint16|uint32[tokens + guards]
    sentences: tf.Tensor  # int64[sentences + 1]
    document_start: tf.Tensor  # int64[documents + 1], offsets into tokens
    chunk_start: tf.Tensor  # int64[chunks], sentences
    chunk_end: tf.Tensor
    chunk_document: tf.Tensor
    first_chunk: tf.Tensor  # int64[documents + 1]
    num_chunks: int
    is_continuation: tf.Tensor  # bool[vocab]
    ordinary_ids: tf.Tensor  # int32[n]
    specials: dict[str, int]
    data: DataConfig
    max_seq_length: int
    max_predictions: int
    name: str  # of the random stream
    shuffled: bool  # False: chunks in order, once (evaluation)


def make_stream(
    store: Store,
    chunks: Chunks,
    tokenizer: Tokenizer,
    data: DataConfig,
    phase: Phase,
    name: str,
    shuffled: bool,
) -> Stream:
    if len(np.unique(chunks.document)) < 2:
        raise ValueError(
            'next-sentence prediction needs at least two documents of two tokens or '
            f'more in each split; the {name} split has {len(np.unique(chunks.document))}. '
            'Give more text, set config.data.documents, or change config.data.holdout'
        )
    return Stream(
        mapped(store.tokens),
        mapped(store.sentences),
        tf.constant(np.asarray(store.sentences)[np.asarray(store.documents)]),
        tf.constant(chunks.start),
        tf.constant(chunks.end),
        tf.constant(chunks.document),
        tf.constant(chunks.first_chunk),
        len(chunks),
        tf.constant(tokenizer.is_continuation),
        tf.constant(tokenizer.ordinary_ids),
        tokenizer.specials,
        data,
        phase.max_seq_length,
        phase.max_predictions_per_seq,
        name,
        shuffled,
    )


def mapped(array: np.ndarray) -> tf.Tensor:
    """A memory-mapped file as a tensor, without a copy (maps start at a page, as aligned as
    TensorFlow wants memory to be)."""
    # DLPack refuses read-only arrays; nothing in the graph writes to its constants.
    interface = dict(array.__array_interface__)
    interface['data'] = (interface['data'][0], False)

    class Writable:
        __array_interface__ = interface
        owner = array

    return tf.experimental.dlpack.from_dlpack(np.asarray(Writable()).__dlpack__())


def make_batch(stream: Stream, first: tf.Tensor, rows: int) -> dict[str, tf.Tensor]:
    """Rows first .. first + rows - 1 of the stream (int64 scalar) as a pretraining batch."""
    length, slots = stream.max_seq_length, stream.max_predictions
    period = stream.num_chunks * (stream.data.static_copies or 0)
    if period and period < rows:
        raise ValueError(
            f'config.data.static_copies={stream.data.static_copies} copies of '
            f'{stream.num_chunks} chunks do not fill a batch of {rows}'
        )
    small = 6 + 3 * CANDIDATES
    draws = Draws(_uniform(stream, first, rows, small + length + 2 * slots, period))
    position = first + tf.range(rows, dtype=tf.int64)
    real = position < stream.num_chunks
    if stream.shuffled:
        real = tf.ones([rows], tf.bool)
        position = position % period if period else position
    pair = _pairs(stream, position, draws)
    batch = _layout(stream, pair)
    masked = _masks(stream, batch['input_ids'], pair, draws)
    weights = tf.cast(real, tf.float32)
    batch |= masked
    batch['masked_lm_weights'] *= weights[:, None]
    batch['next_sentence_labels'] = tf.cast(pair['random'], tf.int32)
    batch['example_weights'] = weights
    return batch


class Draws:
    """A row's random numbers, uint32[rows, n], handed out column by column."""

    def __init__(self, bits: tf.Tensor):
        self.bits, self.used = bits, 0

    def take(self, count: int) -> tf.Tensor:
        """uint32[rows, count]"""
        self.used += count
        return self.bits[:, self.used - count : self.used]

    def below(self, limit: tf.Tensor) -> tf.Tensor:
        """Integers in [0, limit) for int64[rows] or int64[rows, n]; 0 where the limit is 0."""
        bits = self.take(1 if limit.shape.rank == 1 else limit.shape[1])
        scaled = tf.bitwise.right_shift(
            tf.cast(bits, tf.int64) * tf.reshape(limit, [tf.shape(bits)[0], -1]),
            tf.constant(32, tf.int64),
        )
        return scaled[:, 0] if limit.shape.rank == 1 else scaled

    def chance(self, probability: float) -> tf.Tensor:
        """bool[rows]"""
        return tf.cast(self.take(1)[:, 0], tf.int64) < int(probability * 2**32)


def stream_key(seed: int, name: str) -> int:
    """64 bits that name a random stream."""
    return int.from_bytes(hashlib.sha256(f'{seed}/{name}'.encode()).digest()[:8], 'little')


def _uniform(stream: Stream, first: tf.Tensor, rows: int, columns: int, period: int) -> tf.Tensor:
    """uint32[rows, columns]: row p is Philox4x32-10 from counter p * ceil(columns / 4) on, so that
    it is the same in any batch; with a period, row p is row p % period."""
    groups = -(-columns // 4)
    key = tf.constant([stream_key(stream.data.seed, stream.name)], tf.uint64)

    def block(start: tf.Tensor, count: tf.Tensor | int) -> tf.Tensor:
        counter = tf.stack([tf.cast(start * groups, tf.uint64), tf.constant(0, tf.uint64)])
        return tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=[count, groups * 4], key=key, counter=counter, alg=1, dtype=tf.uint32
        )

    if not period:
        return block(first, rows)
    start = first % period
    before = tf.cast(tf.minimum(tf.cast(rows, tf.int64), period - start), tf.int32)
    bits = tf.concat([block(start, before), block(tf.constant(0, tf.int64), rows - before)], 0)
    return tf.ensure_shape(bits, [rows, groups * 4])


def _shuffle(stream: Stream, name: str, index: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    """A permutation of the chunks for each value of `epoch`, both int64[rows]."""
    key = stream_key(stream.data.seed, f'{stream.name}/{name}')
    lo, hi = (
        tf.fill(tf.shape(index), tf.constant(part, tf.uint32))
        for part in (key & 0xFFFFFFFF, key >> 32)
    )
    return tf.raw_ops.RandomIndexShuffle(
        index=index,
        seed=tf.stack([lo, hi, tf.cast(epoch, tf.uint32)], axis=1),
        max_index=tf.constant(stream.num_chunks - 1, tf.int64),
        rounds=SHUFFLE_ROUNDS,
    )


def _random_next(stream: Stream, chunk: tf.Tensor, epoch: tf.Tensor, draws: Draws) -> tf.Tensor:
    """bool[rows]: whether B is random text."""
    probability = stream.data.random_next_prob
    drawn = draws.chance(probability)
    if probability != 0.5:
        return drawn
    # A random B displaces half of its chunk. So a chunk's label flips with every other epoch: half
    # of the chunks are random in each, and of any two (2e and 2e + 1) one shows a chunk whole.
    first_half = _shuffle(stream, 'next', chunk, epoch // 2) < stream.num_chunks // 2
    return tf.math.logical_xor(first_half, epoch % 2 == 1)


def _pairs(stream: Stream, position: tf.Tensor, draws: Draws) -> dict[str, tf.Tensor]:
    """Where A and B start in the tokens, their lengths, and whether B is random."""
    epoch, index = position // stream.num_chunks, position % stream.num_chunks
    chunk = _shuffle(stream, 'order', index, epoch) if stream.shuffled else index
    first, end = tf.gather(stream.chunk_start, chunk), tf.gather(stream.chunk_end, chunk)
    start, stop = tf.gather(stream.sentences, first), tf.gather(stream.sentences, end)
    alone = end - first == 1  # one sentence: split inside it
    options = tf.where(alone, stop - start, end - first) - 1
    choice = 1 + draws.below(options)
    middle = tf.where(
        alone, start + choice, tf.gather(stream.sentences, tf.where(alone, first, first + choice))
    )
    a_length, b_length = middle - start, stop - middle
    random = _random_next(stream, chunk, epoch, draws)
    other, available = _other_document(stream, chunk, b_length, alone, draws)
    b_start = tf.where(random, other, middle)
    b_length = tf.where(random, tf.minimum(b_length, available), b_length)

    most = stream.max_seq_length - 3
    short = draws.chance(stream.data.short_seq_prob)
    short_budget = 2 + draws.below(tf.fill(tf.shape(chunk), tf.constant(most - 1, tf.int64)))
    budget = tf.where(short, short_budget, tf.constant(most, tf.int64))
    a_kept, b_kept = _trimmed(a_length, b_length, budget)
    return {
        'a_start': start + draws.below(a_length - a_kept + 1),
        'a_length': a_kept,
        'b_start': b_start + draws.below(b_length - b_kept + 1),
        'b_length': b_kept,
        'random': random,
        'chunk': chunk,
    }


def _trimmed(a: tf.Tensor, b: tf.Tensor, budget: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Lengths after taking tokens from the longer one until both fit the budget."""
    a_kept = tf.minimum(a, tf.maximum(budget - b, (budget + 1) // 2))
    return a_kept, tf.minimum(b, budget - a_kept)


def _other_document(
    stream: Stream, chunk: tf.Tensor, needed: tf.Tensor, inside: tf.Tensor, draws: Draws
) -> tuple[tf.Tensor, tf.Tensor]:
    """A start in another document with `needed` tokens after it, and the tokens there are.

    It is a sentence's start, or anywhere in one where `inside` is true: whatever B's first word
    looks like, it looks so under both labels. Drawn among the other documents' chunks, so long
    documents are likelier; where none of the candidates is long enough, it is a whole document.
    """
    own = tf.gather(stream.chunk_document, chunk)
    own_first, own_end = tf.gather(stream.first_chunk, own), tf.gather(stream.first_chunk, own + 1)
    others = stream.num_chunks - (own_end - own_first)
    drawn = draws.below(tf.repeat(others[:, None], CANDIDATES, axis=1))
    drawn += tf.where(drawn >= own_first[:, None], (own_end - own_first)[:, None], 0)
    documents = tf.gather(stream.chunk_document, drawn)
    size = tf.gather(stream.document_start, documents + 1) - tf.gather(
        stream.document_start, documents
    )
    enough = size >= needed[:, None]
    best = tf.where(
        tf.reduce_any(enough, axis=1),
        tf.argmax(tf.cast(enough, tf.int32), axis=1),
        tf.argmax(size, axis=1),
    )
    other = tf.gather(drawn, best, batch_dims=1)
    document = tf.gather(documents, best, batch_dims=1)
    begin = tf.gather(stream.document_start, document)
    latest = tf.maximum(tf.gather(stream.document_start, document + 1) - needed, begin)

    first = tf.gather(stream.chunk_start, other)
    sentence = first + draws.below(tf.gather(stream.chunk_end, other) - first)
    last_possible = tf.searchsorted(stream.sentences, latest, side='right', out_type=tf.int64) - 1
    sentence = tf.minimum(sentence, last_possible)
    start = tf.gather(stream.sentences, sentence)
    offset = draws.below(tf.gather(stream.sentences, sentence + 1) - start)
    start = tf.where(inside, tf.minimum(start + offset, latest), start)
    return start, tf.gather(stream.document_start, document + 1) - start


def _layout(stream: Stream, pair: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """[CLS] A [SEP] B [SEP] and padding, int32[rows, length] each."""
    place = tf.range(stream.max_seq_length, dtype=tf.int64)[None, :]
    a_end = 1 + pair['a_length'][:, None]  # where the first [SEP] stands
    b_end = a_end + 1 + pair['b_length'][:, None]
    source = tf.where(
        place < a_end,
        pair['a_start'][:, None] + place - 1,
        pair['b_start'][:, None] + place - a_end - 1,
    )
    ids = tf.cast(tf.gather(stream.tokens, source), tf.int32)
    ids = tf.where(place == 0, stream.specials['[CLS]'], ids)
    ids = tf.where((place == a_end) | (place == b_end), stream.specials['[SEP]'], ids)
    real = place <= b_end
    return {
        'input_ids': tf.where(real, ids, stream.specials['[PAD]']),
        'token_type_ids': tf.cast((place > a_end) & real, tf.int32),
        'attention_mask': tf.cast(real, tf.int32),
    }


def _masks(
    stream: Stream, ids: tf.Tensor, pair: dict[str, tf.Tensor], draws: Draws
) -> dict[str, tf.Tensor]:
    """Which tokens are predicted, and the ids after 80 % became [MASK] and 10 % another token."""
    length, slots = stream.max_seq_length, stream.max_predictions
    place = tf.range(length, dtype=tf.int64)[None, :]
    a_end = 1 + pair['a_length'][:, None]
    b_end = a_end + 1 + pair['b_length'][:, None]
    text = (place > 0) & (place < b_end) & (place != a_end)
    score = tf.cast(tf.bitwise.right_shift(draws.take(length), tf.constant(1, tf.uint32)), tf.int32)
    if stream.data.whole_word_masking:
        begins = ~tf.gather(stream.is_continuation, ids) | (place == 1) | (place == a_end + 1)
        word = tf.cumsum(tf.cast(begins & text, tf.int32), axis=1)
        score = tf.gather(score, tf.minimum(word, length - 1), batch_dims=1)
    ranked, positions = tf.math.top_k(tf.where(text, score, -1), min(slots + 1, length))
    tokens = tf.cast(pair['a_length'] + pair['b_length'], tf.float32)
    wanted = tf.cast(tf.floor(tokens * stream.data.masked_lm_prob + 0.5), tf.int32)
    wanted = tf.minimum(tf.clip_by_value(wanted, 1, slots), tf.cast(tokens, tf.int32))[:, None]
    rank = tf.range(slots)[None, :]
    chosen = rank < wanted
    if stream.data.whole_word_masking:
        # The last word may have come in by halves: then it stays out (unless it is the only one).
        next_score = tf.gather(ranked, wanted, batch_dims=1)
        cut = (ranked[:, :slots] == next_score) & (ranked[:, :1] != next_score)
        chosen &= ~cut
    positions = tf.sort(tf.where(chosen, positions[:, :slots], length), axis=1)
    chosen = positions < length
    positions = tf.where(chosen, positions, 0)
    original = tf.gather(ids, positions, batch_dims=1)
    action = tf.cast(draws.take(slots), tf.int64)
    ordinary = tf.size(stream.ordinary_ids, out_type=tf.int64)
    other = tf.gather(stream.ordinary_ids, draws.below(tf.fill([ids.shape[0], slots], ordinary)))
    shown = tf.where(
        action < int(0.8 * 2**32),
        stream.specials['[MASK]'],
        tf.where(action < int(0.9 * 2**32), other, original),
    )
    # Unused slots write [CLS] over [CLS].
    shown = tf.where(chosen, shown, stream.specials['[CLS]'])
    rows = tf.repeat(tf.range(tf.shape(ids)[0])[:, None], slots, axis=1)
    return {
        'input_ids': tf.tensor_scatter_nd_update(ids, tf.stack([rows, positions], -1), shown),
        'masked_lm_positions': positions,
        'masked_lm_ids': tf.where(chosen, original, 0),
        'masked_lm_weights': tf.cast(chosen, tf.float32),
    }

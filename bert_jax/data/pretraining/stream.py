"""A corpus as tables in the TensorFlow graph, and the random numbers that the rows are made with.

All random numbers of row p of a stream come from a Philox generator whose counter is p, so they
depend neither on the batch that holds the row nor on the host that computes it.
"""

import dataclasses
import hashlib

import numpy as np
import tensorflow as tf

from bert_jax.config import DataConfig, Phase
from bert_jax.data.pretraining.chunks import Chunks
from bert_jax.data.row_format import RowFormat
from bert_jax.data.row_shapes import RowShape
from bert_jax.data.store.format import Store
from bert_jax.data.tokenizers.tokenizer import Tokenizer

ALIGNED = 64  # bytes
SHUFFLE_ROUNDS = 12  # with TensorFlow's default of 4, neighbours stay correlated


@dataclasses.dataclass(frozen=True)
class Stream:
    """A split of a corpus for one length of rows: tables in the graph, and how rows are drawn."""

    tokens: tf.Tensor  # uint16|uint32[tokens + guards]
    sentences: tf.Tensor  # int64[sentences + 1]
    chunks: Chunks  # with tensors instead of arrays
    vocabulary: Tokenizer
    data: DataConfig
    phase: Phase  # its masked_lm_prob is that of data if the phase has none
    row_format: RowFormat
    shape: RowShape
    room: int  # tokens of text in a row
    name: str  # the name of the random stream
    shuffled: bool  # in evaluation False: each chunk once, in the order of the text

    @property
    def num_chunks(self) -> int:
        return len(self.chunks)

    @property
    def period(self) -> int:
        """The number of rows after which the stream repeats itself, 0 if it never does."""
        return self.num_chunks * self.data.static_copies if self.shuffled else 0

    def is_separator(self, place: tf.Tensor) -> tf.Tensor:
        """bool of the shape of `place`: whether each place has a separator of documents."""
        return tf.gather(self.chunks.separators, self._documents(place)) == place

    def _documents(self, place: tf.Tensor) -> tf.Tensor:
        """The document that each place belongs to. A separator belongs to the document before
        it."""
        separators = self.chunks.separators
        flat = tf.searchsorted(separators, tf.reshape(place, [-1]), out_type=tf.int64)
        last = tf.size(separators, tf.int64) - 1
        return tf.reshape(tf.minimum(flat, last), tf.shape(place))

    def read(self, source: tf.Tensor, is_text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the ids of the tokens at the places `source`, int32, and `is_text` with False at
        separators.

        source: int64[rows, length]. is_text: bool[rows, length], false for places of other tokens.
        """
        if self.chunks.separators is None:
            return tf.cast(tf.gather(self.tokens, source), tf.int32), is_text
        document = self._documents(source)
        separates = tf.gather(self.chunks.separators, document) == source
        ids = tf.cast(tf.gather(self.tokens, source - document), tf.int32)
        return tf.where(separates, self.vocabulary.specials.sep, ids), is_text & ~separates


def make_stream(
    store: Store,
    chunks: Chunks,
    vocabulary: Tokenizer,
    data: DataConfig,
    phase: Phase,
    row_format: RowFormat,
    shape: RowShape,
    room: int,
    name: str,
    shuffled: bool,
) -> Stream:
    """The stream of a split's chunks. Raises ValueError if the static copies do not fill a batch.

    See `Stream` for the arguments.
    """
    copies = data.static_copies
    if shuffled and 0 < copies * len(chunks) < phase.batch_size:
        raise ValueError(
            f'config.data.static_copies={copies} copies of {len(chunks)} chunks do not fill a '
            f'batch of {phase.batch_size}; take more copies, or 0 to draw again in each epoch'
        )
    values = vars(chunks).items()  # some fields are not arrays
    tensors = {key: tf.constant(x) for key, x in values if isinstance(x, np.ndarray)}
    chunks = dataclasses.replace(chunks, **tensors)
    phase = phase._replace(masked_lm_prob=phase.masked_lm_prob or data.masked_lm_prob)
    tables = mapped(store.tokens), mapped(store.sentences), chunks
    return Stream(*tables, vocabulary, data, phase, row_format, shape, room, name, shuffled)


def mapped(array: np.ndarray) -> tf.Tensor:
    """A memory-mapped array as a tensor, without a copy.

    TensorFlow needs aligned memory. A memory map is aligned, because it starts at a page. The array
    of a part of a corpus may begin at any byte, so it is copied.
    """
    if array.__array_interface__['data'][0] % ALIGNED:
        return tf.constant(np.asarray(array))
    # DLPack refuses read-only arrays, but nothing in the graph writes to its constants.
    interface = dict(array.__array_interface__)
    interface['data'] = (interface['data'][0], False)

    class Writable:
        __array_interface__ = interface
        owner = array

    return tf.experimental.dlpack.from_dlpack(np.asarray(Writable()).__dlpack__())


def chunk_of(stream: Stream, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The epoch and the chunk of the rows at `position`, int64[rows, 1] each."""
    epoch, index = position // stream.num_chunks, position % stream.num_chunks
    return epoch, shuffle(stream, 'order', index, epoch) if stream.shuffled else index


def alternating(stream: Stream, name: str, chunk: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    """bool[rows, 1]: true for a random half of the chunks in epoch 2e, and for the other half in
    epoch 2e + 1."""
    first_half = shuffle(stream, name, chunk, epoch // 2) < stream.num_chunks // 2
    return tf.math.logical_xor(first_half, epoch % 2 == 1)


class Draws:
    """The random numbers of rows first .. first + rows - 1, uint32[rows, columns]. Each call of a
    method uses the next columns.

    The numbers of row p come from Philox4x32-10, with counters from p * ceil(columns / 4) on. If
    the stream has a period, row p has the same numbers as row p % period.
    """

    def __init__(self, stream: Stream, first: tf.Tensor, rows: int, columns: int):
        self.used, self.columns = 0, columns
        period, groups = stream.period, -(-columns // 4)
        key = tf.constant([stream_key(stream.data.seed, stream.name)], tf.uint64)

        def block(start: tf.Tensor, count: tf.Tensor | int) -> tf.Tensor:
            counter = tf.stack([tf.cast(start * groups, tf.uint64), tf.constant(0, tf.uint64)])
            return tf.raw_ops.StatelessRandomUniformFullIntV2(
                shape=[count, groups * 4], key=key, counter=counter, alg=1, dtype=tf.uint32
            )

        if not period:
            self._bits = block(first, rows)
            return
        start = first % period
        before = tf.cast(tf.minimum(tf.cast(rows, tf.int64), period - start), tf.int32)
        bits = tf.concat([block(start, before), block(tf.constant(0, tf.int64), rows - before)], 0)
        self._bits = tf.ensure_shape(bits, [rows, groups * 4])

    def take(self, count: int) -> tf.Tensor:
        """The next random bits, uint32[rows, count]."""
        self.used += count
        assert self.used <= self.columns, (self.used, self.columns)
        return self._bits[:, self.used - count : self.used]

    def below(self, limit: tf.Tensor | int, count: int = 1) -> tf.Tensor:
        """Integers in [0, limit), int64[rows, count]; 0 if the limit is 0. limit: an integer, or
        int64[rows, 1]."""
        return self.below_with_remainder(limit, count)[0]

    def below_with_remainder(
        self, limit: tf.Tensor | int, count: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The integers of `below`, and for each integer its remaining random bits, in [0,
        2**32)."""
        product = tf.cast(self.take(count), tf.int64) * limit
        return tf.bitwise.right_shift(product, tf.constant(32, tf.int64)), product & 0xFFFFFFFF

    def chance(self, probability: float) -> tf.Tensor:
        """True with the given probability, bool[rows, 1]."""
        return tf.cast(self.take(1), tf.int64) < int(probability * 2**32)


def stream_key(seed: int, name: str) -> int:
    """The key of a random stream, 64 bits."""
    return int.from_bytes(hashlib.sha256(f'{seed}/{name}'.encode()).digest()[:8], 'little')


def shuffle(stream: Stream, name: str, index: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    """The chunk at `index` of a permutation of all chunks, which depends on `name` and `epoch`;
    int64[rows, 1], as are `index` and `epoch`."""
    key = stream_key(stream.data.seed, f'{stream.name}/{name}')
    lo, hi = (
        tf.fill(index.shape, tf.constant(part, tf.uint32)) for part in (key & 0xFFFFFFFF, key >> 32)
    )
    shuffled = tf.raw_ops.RandomIndexShuffle(
        index=index[:, 0],
        seed=tf.concat([lo, hi, tf.cast(epoch, tf.uint32)], axis=1),
        max_index=tf.constant(stream.num_chunks - 1, tf.int64),
        rounds=SHUFFLE_ROUNDS,
    )
    return shuffled[:, None]

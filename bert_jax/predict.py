"""Use of a trained model: embeddings, masked words, all outputs.

    python -m bert_jax.predict --checkpoint=DIR --mode=fill_mask --text='Paris is the [MASK] of France.'
    python -m bert_jax.predict --checkpoint=DIR --mode=embed --input=sentences.txt --output=vectors.npz

DIR: a workdir, or a folder written by bert_jax.convert. In Python:

    bert = predict.load(DIR)
    outputs = bert(['first text', ('a pair', 'of texts')])
    outputs = bert.apply({'input_ids': ids, 'attention_mask': mask, 'token_type_ids': types})
"""

import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bert_jax import pretrained, sharding
from bert_jax.config import MeshConfig
from bert_jax.data import tokenizer
from bert_jax.pretrained import Pretrained

Text = str | tuple[str, str]

MASK = '[MASK]'
# A batch has one of these lengths and, but for the last of a length, TOKENS tokens: few shapes, so
# few compilations, and little padding.
LENGTHS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
TOKENS = 4096
WINDOW = 4096  # texts sorted by length together; what is in memory at a time
POOLINGS = ('mean', 'cls', 'pooler')


class Tokens(NamedTuple):
    """One row, with its special tokens."""

    input_ids: list[int]
    token_type_ids: list[int]


class Bert:
    """A model with its vocabulary, on all devices; batches are split over them.

    truncated: how many texts so far were longer than the model's positions and lost their end.
    """

    def __init__(self, source: Pretrained, mesh: Mesh):
        self.config, self.heads = source.config, source.heads
        self.vocabulary = source.vocabulary
        self.truncated = 0
        self._params, self._mesh = source.params, mesh
        model = source.model

        def outputs(params: Any, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
            values = model.apply(
                {'params': params},
                batch['input_ids'],
                batch['token_type_ids'],
                batch['attention_mask'],
            )
            return {name: x.astype(jnp.float32) for name, x in values.items()}

        self._outputs = outputs
        self._jitted = jax.jit(outputs)

    def apply(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """input_ids int[batch, length], and attention_mask (default: all ones) and token_type_ids
        (default: zeros) of the same shape -> float32 last_hidden_state [batch, length, hidden] and
        what the checkpoint's heads give: pooler_output [batch, hidden], prediction_logits
        [batch, length, vocab], seq_relationship_logits [batch, 2].

        Raises ValueError for other names, shapes, ids or lengths.
        """
        return jax.device_get(self._jitted(self._params, self._put(self._checked(batch))))

    def __call__(self, texts: Sequence[Text]) -> dict[str, np.ndarray]:
        """The same for texts and pairs of texts, and their attention_mask, padded with zeros to
        the longest."""
        rows = self.encode(texts)
        length = max((len(row.input_ids) for row in rows), default=0)
        results = {'attention_mask': np.zeros((len(rows), length), np.int32)}
        for i, outputs in self._run(rows, self._jitted):
            size = len(rows[i].input_ids)
            results['attention_mask'][i, :size] = 1
            for name, value in outputs.items():
                along = name in ('last_hidden_state', 'prediction_logits')
                if name not in results:
                    shape = (length, *value.shape[1:]) if along else value.shape
                    results[name] = np.zeros((len(rows), *shape), np.float32)
                if along:
                    results[name][i, :size] = value[:size]
                else:
                    results[name][i] = value
        return results

    def embed(
        self, texts: Iterable[Text], pooling: str = 'mean', windows: bool = False
    ) -> Iterator[np.ndarray]:
        """float32[hidden] per text, in order; reads and holds WINDOW texts at a time.

        pooling: 'mean' over the tokens, [CLS] and [SEP] among them; 'cls', the first one's;
        'pooler', the pooler's output. windows: a text that is longer than the model's positions is
        cut into pieces, whose vectors are averaged by their tokens, instead of losing its end.
        """
        if pooling not in POOLINGS:
            raise ValueError(f'pooling is {pooling!r}; expected {", ".join(POOLINGS)}')
        if pooling == 'pooler' and 'pooler' not in self.heads:
            raise ValueError('this checkpoint has no pooler; take pooling mean or cls')
        pooled = _pooled(self._outputs, pooling)
        texts = iter(texts)
        while window := list(itertools.islice(texts, WINDOW)):
            pieces = self.pieces(window) if windows else [[row] for row in self.encode(window)]
            owners = np.repeat(np.arange(len(window)), [len(rows) for rows in pieces])
            rows = list(itertools.chain.from_iterable(pieces))
            sums = np.zeros((len(window), self.config.hidden_size), np.float32)
            weights = np.zeros((len(window), 1), np.float32)
            for i, vector in self._run(rows, pooled):
                if len(pieces[owners[i]]) == 1:  # its very bits
                    sums[owners[i]], weights[owners[i]] = vector, 1
                else:
                    sums[owners[i]] += vector * len(rows[i].input_ids)
                    weights[owners[i]] += len(rows[i].input_ids)
            yield from sums / weights

    def fill_mask(self, text: Text, top_k: int = 5) -> list[list[tuple[str, float]]]:
        """For every [MASK] of the text the likeliest tokens with their probabilities.

        Raises ValueError where there is none, and where the checkpoint has no masked-LM head.
        """
        if 'masked_lm' not in self.heads:
            raise ValueError(
                f'this checkpoint has no masked-LM head; it has {", ".join(self.heads) or "none"}'
            )
        (row,) = self.encode([text])
        ids = np.array(row.input_ids, np.int32)[None]
        positions = np.flatnonzero(ids[0] == self._vocabulary().mask_id)
        if not len(positions):
            raise ValueError(f'no {MASK} in {text!r} (within the model\'s positions)')
        types = np.array(row.token_type_ids, np.int32)[None]
        logits = self.apply({'input_ids': ids, 'token_type_ids': types})['prediction_logits'][0]
        pieces = self._vocabulary().pieces
        found = []
        for scores in logits[positions]:
            best = np.argsort(-scores[: len(pieces)], kind='stable')[:top_k]
            probabilities = np.exp(scores - scores.max())
            probabilities /= probabilities.sum()
            found.append([(pieces[i], float(probabilities[i])) for i in best])
        return found

    def encode(self, texts: Sequence[Text]) -> list[Tokens]:
        """[CLS] A [SEP] or [CLS] A [SEP] B [SEP]; [MASK] in a text is the mask token. Of what is
        too long for the model's positions the longer text loses its end."""
        rows = []
        for first, second in self._ids(texts):
            room = self.config.max_position_embeddings - (2 if second is None else 3)
            excess = len(first) + len(second or []) - room
            if excess > 0:
                self.truncated += 1
                first, second = _truncated(first, second, room)
            rows.append(self._row(first, second))
        return rows

    def pieces(self, texts: Sequence[Text]) -> list[list[Tokens]]:
        """The same, but what is too long becomes several rows; of pairs A stands in each."""
        room = self.config.max_position_embeddings - 2
        rows = []
        for first, second in self._ids(texts):
            if second is None:
                starts = range(0, max(len(first), 1), room)
                rows.append([self._row(first[i : i + room], None) for i in starts])
                continue
            first = first[: room // 2]
            rest = room - 1 - len(first)
            starts = range(0, max(len(second), 1), rest)
            rows.append([self._row(first, second[i : i + rest]) for i in starts])
        return rows

    def _ids(self, texts: Sequence[Text]) -> list[tuple[list[int], list[int] | None]]:
        flat = [part for text in texts for part in ((text,) if isinstance(text, str) else text)]
        parts = [text.split(MASK) for text in flat]
        encoded = iter(self._vocabulary().encode_batch(list(itertools.chain.from_iterable(parts))))
        mask = [self._vocabulary().mask_id]
        ids = iter(
            [
                functools.reduce(lambda a, b: a + mask + b, itertools.islice(encoded, len(split)))
                for split in parts
            ]
        )
        return [
            (next(ids), None) if isinstance(text, str) else (next(ids), next(ids))
            for text in texts
        ]

    def _row(self, first: list[int], second: list[int] | None) -> Tokens:
        vocabulary = self._vocabulary()
        ids = [vocabulary.cls_id, *first, vocabulary.sep_id]
        types = [0] * len(ids)
        if second is not None:
            ids += [*second, vocabulary.sep_id]
            types += [1] * (len(second) + 1)
        return Tokens(ids, types)

    def _vocabulary(self) -> tokenizer.Tokenizer:
        if self.vocabulary is None:
            raise ValueError('this checkpoint has no vocabulary; put its vocab.txt beside it')
        return self.vocabulary

    def _run(
        self, rows: Sequence[Tokens], function: Callable[[Any, Any], Any]
    ) -> Iterator[tuple[int, Any]]:
        """(index, result) of each row, shortest first; two batches are under way at a time."""
        waiting: list[tuple[np.ndarray, Any]] = []
        for indices, batch in self._batches(rows):
            waiting.append((indices, function(self._params, self._put(batch))))
            if len(waiting) > 2:
                yield from _unbatched(*waiting.pop(0))
        for indices, results in waiting:
            yield from _unbatched(indices, results)

    def _batches(
        self, rows: Sequence[Tokens]
    ) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        sizes = np.array([len(row.input_ids) for row in rows], np.int64)
        order = np.argsort(sizes, kind='stable')
        longest = self.config.max_position_embeddings
        lengths = np.array([*(n for n in LENGTHS if n < longest), longest])
        buckets = np.searchsorted(lengths, sizes[order])
        pad = self._vocabulary().pad_id
        for bucket in np.unique(buckets):
            members, length = order[buckets == bucket], int(lengths[bucket])
            full = max(TOKENS // length // self._mesh.size, 1) * self._mesh.size
            for i in range(0, len(members), full):
                indices = members[i : i + full]
                few = max(full // 8 // self._mesh.size, 1) * self._mesh.size
                shape = (few if len(indices) <= few else full, length)
                batch = {
                    'input_ids': np.full(shape, pad, np.int32),
                    'token_type_ids': np.zeros(shape, np.int32),
                    'attention_mask': np.zeros(shape, np.int32),
                }
                for row, index in enumerate(indices):
                    ids, types = rows[index]
                    batch['input_ids'][row, : len(ids)] = ids
                    batch['token_type_ids'][row, : len(ids)] = types
                    batch['attention_mask'][row, : len(ids)] = 1
                yield indices, batch

    def _put(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        divides = len(batch['input_ids']) % self._mesh.size == 0
        axes = sharding.partition_spec(('batch', 'length')) if divides else PartitionSpec()
        return jax.device_put(dict(batch), NamedSharding(self._mesh, axes))

    def _checked(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        known = ('input_ids', 'attention_mask', 'token_type_ids')
        if 'input_ids' not in batch or set(batch) - set(known):
            raise ValueError(f'the batch has {sorted(batch)}; expected input_ids and of {known}')
        ids = np.asarray(batch['input_ids'])
        limits = {'input_ids': self.config.vocab_size, 'attention_mask': 2}
        limits['token_type_ids'] = self.config.type_vocab_size
        defaults = {'attention_mask': np.ones_like(ids), 'token_type_ids': np.zeros_like(ids)}
        checked = {}
        for name, limit in limits.items():
            array = np.asarray(batch.get(name, defaults.get(name)))
            if array.ndim != 2 or array.shape != ids.shape or array.dtype.kind not in 'iub':
                raise ValueError(
                    f'{name} is {array.dtype}{list(array.shape)}; expected integers [batch, length]'
                    f' of the shape of input_ids, {list(ids.shape)}'
                )
            if array.size and not 0 <= array.min() <= array.max() < limit:
                raise ValueError(
                    f'{name} goes from {array.min()} to {array.max()}; expected 0 to {limit - 1}'
                )
            checked[name] = array.astype(np.int32)
        if ids.shape[1] > self.config.max_position_embeddings:
            raise ValueError(
                f'input_ids are {ids.shape[1]} long; the model has '
                f'{self.config.max_position_embeddings} positions'
            )
        return checked


def load(directory: str | os.PathLike) -> Bert:
    """The model of a workdir's newest checkpoint, or of a folder written by bert_jax.convert."""
    mesh = sharding.make_mesh(MeshConfig())
    return Bert(pretrained.load(directory, NamedSharding(mesh, PartitionSpec())), mesh)


def _pooled(outputs: Callable[[Any, Any], dict[str, jax.Array]], pooling: str) -> Any:
    """A jitted function of parameters and a batch: float32[batch, hidden]."""

    @jax.jit
    def pooled(params: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
        values = outputs(params, batch)
        if pooling == 'pooler':
            return values['pooler_output']
        hidden = values['last_hidden_state']
        if pooling == 'cls':
            return hidden[:, 0]
        mask = batch['attention_mask'][:, :, None]
        return jnp.sum(hidden * mask, axis=1) / jnp.maximum(jnp.sum(mask, axis=1), 1)

    return pooled


def _unbatched(indices: np.ndarray, results: Any) -> Iterator[tuple[int, Any]]:
    host = jax.device_get(results)
    for row, index in enumerate(indices):
        yield int(index), jax.tree.map(lambda x, row=row: x[row], host)


def _truncated(
    first: list[int], second: list[int] | None, room: int
) -> tuple[list[int], list[int] | None]:
    """Cuts the longer one, a token at a time, until both fit."""
    if second is None:
        return first[:room], None
    shorter = min(len(first), len(second), room // 2)
    if len(first) <= len(second):
        return first[: max(shorter, room - len(second))], second[: room - shorter]
    return first[: room - shorter], second[: max(shorter, room - len(first))]

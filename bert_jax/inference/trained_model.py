"""A trained model at work: texts in, numpy out."""

import collections
import concurrent.futures
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bert_jax.config import MeshConfig
from bert_jax.config.checks import CHOICES
from bert_jax.data.labelled import texts
from bert_jax.data.labelled.texts import Text
from bert_jax.inference import model_dir
from bert_jax.inference.model_dir import Pretrained
from bert_jax.models.heads import TASK_HEADS
from bert_jax.models.inputs import EncoderInputs
from bert_jax.parallel import sharding

WINDOW = 4096  # texts sorted by length together; what is in memory at a time
THREADS = 2
ALONG = ('last_hidden_state', 'prediction_logits', 'start_logits', 'end_logits')  # the row
POOLINGS = ('mean', 'cls', 'pooler')


Candidates = list[tuple[str, float]]


class Bert:
    """A model with its vocabulary, on all devices; batches are split over them."""

    def __init__(self, source: Pretrained, mesh: Mesh):
        self.config, self.heads = source.config, source.heads
        self.data, self.eval = source.data, source.eval
        self.labels, self.pairs = source.labels, source.pairs
        longest, vocabulary = self.config.max_position_embeddings, source.vocabulary
        types = self.config.type_vocab_size
        self._encoder = texts.Encoder(vocabulary, longest, types) if vocabulary else None
        self._params, self._mesh = source.params, mesh
        # There is no backward pass that an unrolled scan would help, and many shapes to compile.
        # A device's own kernel would want padding at the end only, and its mesh to be known.
        plain = dataclasses.replace(self.config, scan_unroll=1, attention='dense')
        model = dataclasses.replace(source, config=plain).model

        def outputs(params: Any, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
            values: Any = model.apply({'params': params}, EncoderInputs.from_batch(batch))
            return {name: x.astype(jnp.float32) for name, x in values.items()}

        self._outputs = outputs
        self._jitted = jax.jit(outputs)
        self._pooled = {pooling: _pooled(outputs, pooling) for pooling in POOLINGS}

    def apply(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """input_ids int[batch, length], and attention_mask (default: all ones) and token_type_ids
        (default: zeros) of the same shape -> float32 last_hidden_state [batch, length, hidden] and
        what the checkpoint's heads give: pooler_output [batch, hidden], prediction_logits
        [batch, length, vocab], seq_relationship_logits [batch, 2].

        Raises ValueError for other names, shapes, ids or lengths.
        """
        return jax.device_get(self._jitted(self._params, self._put(self._checked(batch))))

    def __call__(self, inputs: Iterable[Text]) -> dict[str, np.ndarray]:
        """The same for texts and pairs of texts, and their attention_mask, padded with zeros to
        the longest."""
        inputs = inputs if isinstance(inputs, str) else list(inputs)
        if not len(inputs):
            return {name: value[:0] for name, value in self(['']).items()}
        rows = self.encoder.encode(inputs)
        length = max((len(row.input_ids) for row in rows), default=0)
        results = {'attention_mask': np.zeros((len(rows), length), np.int32)}
        for i, outputs in self.run(rows, self._jitted):
            size = len(rows[i].input_ids)
            results['attention_mask'][i, :size] = 1
            for name, value in outputs.items():
                along = value.ndim > 0 and name in ALONG
                along |= name == 'logits' and 'tagger' in self.heads
                if name not in results:
                    shape = (length, *value.shape[1:]) if along else value.shape
                    results[name] = np.zeros((len(rows), *shape), np.float32)
                if along:
                    results[name][i, :size] = value[:size]
                else:
                    results[name][i] = value
        return results

    def embed(
        self, inputs: Iterable[Text], pooling: str = 'mean', windows: bool = False
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
        pooled = self._pooled[pooling]
        inputs, encoder = iter(inputs), self.encoder
        while window := list(itertools.islice(inputs, WINDOW)):
            pieces = (
                encoder.pieces(window) if windows else [[row] for row in encoder.encode(window)]
            )
            owners = np.repeat(np.arange(len(window)), [len(rows) for rows in pieces])
            rows = list(itertools.chain.from_iterable(pieces))
            sums = np.zeros((len(window), self.config.hidden_size), np.float32)
            weights = np.zeros((len(window), 1), np.float32)
            for i, vector in self.run(rows, pooled):
                if len(pieces[owners[i]]) == 1:  # its very bits
                    sums[owners[i]], weights[owners[i]] = vector, 1
                else:
                    sums[owners[i]] += vector * len(rows[i].input_ids)
                    weights[owners[i]] += len(rows[i].input_ids)
            yield from sums / weights

    @functools.cache  # noqa: B019
    def output(self, *names: str) -> Callable[[Any, Any], Any]:
        """A jitted function of parameters and a batch, for `run`: of the outputs, those; `tags` is
        the likeliest label of each token."""

        @jax.jit
        def picked(params: Any, batch: Mapping[str, jax.Array]) -> Any:
            values = self._outputs(params, batch)
            if 'tags' in names:
                values['tags'] = jnp.argmax(values['logits'], axis=-1)
            found = tuple(values[name] for name in names)
            return found if len(found) > 1 else found[0]

        return picked

    def fill_mask(self, inputs: Sequence[Text], top_k: int = 5) -> list[list[Candidates]]:
        """For every text and every [MASK] in it the likeliest tokens with their probabilities.

        Raises ValueError for a text without one, and where the checkpoint has no masked-LM head.
        """
        if 'masked_lm' not in self.heads:
            tuned = set(self.heads) & set(TASK_HEADS)
            raise ValueError(
                f'this checkpoint has no masked-LM head; it has {", ".join(self.heads) or "none"}'
                + '; --input=FILE --output=FILE.jsonl says what it was fine-tuned for' * bool(tuned)
            )
        vocabulary, rows = self.encoder.vocabulary, self.encoder.encode(inputs)
        masks = [np.flatnonzero(np.array(r.input_ids) == vocabulary.mask_id) for r in rows]
        for text, places in zip(inputs, masks, strict=True):
            if not len(places):
                raise ValueError(f"no {texts.MASK} in {text!r:.80} (within the model's positions)")
        pieces = vocabulary.pieces
        found: list[list[Candidates]] = [[] for _ in rows]
        for i, (shares, ids) in self.run(rows, self._likeliest(min(top_k, len(pieces)))):
            found[i] = [
                [(pieces[k], float(p)) for k, p in zip(ids[place], shares[place], strict=True)]
                for place in masks[i]
            ]
        return found

    @functools.cache  # noqa: B019
    def _likeliest(self, top_k: int) -> Callable[[Any, Any], Any]:
        """A jitted function: probabilities and ids of the likeliest tokens at every place."""
        known = len(self.encoder.vocabulary.pieces)  # a table may be padded beyond it

        @jax.jit
        def likeliest(params: Any, batch: Mapping[str, jax.Array]) -> Any:
            shares = jax.nn.softmax(self._outputs(params, batch)['prediction_logits'])
            return jax.lax.top_k(shares[..., :known], top_k)

        return likeliest

    @property
    def truncated(self) -> int:
        """How many texts so far were longer than the model's positions and lost their end."""
        return self.encoder.truncated

    @property
    def encoder(self) -> texts.Encoder:
        if self._encoder is None:
            raise ValueError('this checkpoint has no vocabulary; put its vocab.txt beside it')
        return self._encoder

    def run(
        self, rows: Sequence[texts.Row], function: Callable[[Any, Any], Any]
    ) -> Iterator[tuple[int, Any]]:
        """(index, result) of each row, shortest first.

        Two threads each have a batch under way: on a CPU what one does serially leaves cores to
        the other, elsewhere one's copies go on while the other's batch is computed.
        """
        pad, longest = self.encoder.vocabulary.pad_id, self.config.max_position_embeddings

        def results(batch: Mapping[str, np.ndarray]) -> Any:
            return jax.device_get(function(self._params, self._put(batch)))

        waiting: collections.deque = collections.deque()
        with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
            for indices, batch in texts.batches(rows, pad, longest, self._mesh.size):
                waiting.append((indices, pool.submit(results, batch)))
                if len(waiting) > 2 * THREADS:
                    yield from _unbatched(*waiting.popleft())
            for indices, future in waiting:
                yield from _unbatched(indices, future)

    def _put(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        divides = len(batch['input_ids']) % self._mesh.size == 0
        axes = sharding.partition_spec(('batch', 'length')) if divides else PartitionSpec()
        return jax.device_put(dict(batch), NamedSharding(self._mesh, axes))

    def _checked(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        known = ('input_ids', 'attention_mask', 'token_type_ids')
        if not isinstance(batch, Mapping):
            raise ValueError(
                f'a batch is a dict of arrays with {known}, not {type(batch).__name__}'
            )
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


def load(directory: str | os.PathLike, dtype: str = 'auto') -> Bert:
    """The model of a workdir's newest checkpoint, or of a folder written by bert_jax.convert.

    dtype: what it computes in, 'float32' or 'bfloat16'; 'auto' is bfloat16 on TPU and GPU.
    """
    mesh = sharding.make_mesh(MeshConfig())
    source = model_dir.load(directory, NamedSharding(mesh, PartitionSpec()))
    if dtype not in CHOICES['model.dtype']:
        raise ValueError(f'dtype is {dtype!r}; expected one of {", ".join(CHOICES["model.dtype"])}')
    config = dataclasses.replace(source.config, dtype=dtype)
    return Bert(dataclasses.replace(source, config=config), mesh)


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


def _unbatched(
    indices: np.ndarray, results: concurrent.futures.Future
) -> Iterator[tuple[int, Any]]:
    host = results.result()
    for row, index in enumerate(indices):
        yield int(index), jax.tree.map(lambda x, row=row: x[row], host)

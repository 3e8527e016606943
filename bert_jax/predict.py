"""Use of a trained model: embeddings, masked words, all outputs.

    python -m bert_jax.predict --checkpoint=DIR --mode=fill_mask --text='Paris is the [MASK] of it.'
    python -m bert_jax.predict --checkpoint=DIR --mode=embed --input=lines.txt --output=vectors.npz

DIR: a workdir, or a folder written by bert_jax.convert. In Python:

    bert = predict.load(DIR)
    outputs = bert(['first text', ('a pair', 'of texts')])
    outputs = bert.apply({'input_ids': ids, 'attention_mask': mask, 'token_type_ids': types})
"""

import collections
import concurrent.futures
import dataclasses
import gzip
import itertools
import os
import pathlib
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import absl.logging
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bert_jax import pretrained, sharding
from bert_jax.config import MeshConfig
from bert_jax.data import texts
from bert_jax.data.texts import Text
from bert_jax.pretrained import Pretrained

WINDOW = 4096  # texts sorted by length together; what is in memory at a time
THREADS = 2
POOLINGS = ('mean', 'cls', 'pooler')


class Bert:
    """A model with its vocabulary, on all devices; batches are split over them."""

    def __init__(self, source: Pretrained, mesh: Mesh):
        self.config, self.heads = source.config, source.heads
        longest, vocabulary = self.config.max_position_embeddings, source.vocabulary
        self._encoder = texts.Encoder(vocabulary, longest) if vocabulary else None
        self._params, self._mesh = source.params, mesh
        # There is no backward pass that an unrolled scan would help, and many shapes to compile.
        rolled = dataclasses.replace(self.config, scan_unroll=1)
        model = dataclasses.replace(source, config=rolled).model

        def outputs(params: Any, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
            values: Any = model.apply(
                {'params': params},
                batch['input_ids'],
                batch['token_type_ids'],
                batch['attention_mask'],
            )
            return {name: x.astype(jnp.float32) for name, x in values.items()}

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

    def __call__(self, inputs: Sequence[Text]) -> dict[str, np.ndarray]:
        """The same for texts and pairs of texts, and their attention_mask, padded with zeros to
        the longest."""
        rows = self.encoder.encode(inputs)
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
        (row,) = self.encoder.encode([text])
        ids = np.array(row.input_ids, np.int32)[None]
        positions = np.flatnonzero(ids[0] == self.encoder.vocabulary.mask_id)
        if not len(positions):
            raise ValueError(f"no {texts.MASK} in {text!r} (within the model's positions)")
        types = np.array(row.token_type_ids, np.int32)[None]
        logits = self.apply({'input_ids': ids, 'token_type_ids': types})['prediction_logits'][0]
        pieces = self.encoder.vocabulary.pieces
        found = []
        for scores in logits[positions]:
            best = np.argsort(-scores[: len(pieces)], kind='stable')[:top_k]
            probabilities = np.exp(scores - scores.max())
            probabilities /= probabilities.sum()
            found.append([(pieces[i], float(probabilities[i])) for i in best])
        return found

    @property
    def truncated(self) -> int:
        """How many texts so far were longer than the model's positions and lost their end."""
        return self.encoder.truncated

    @property
    def encoder(self) -> texts.Encoder:
        if self._encoder is None:
            raise ValueError('this checkpoint has no vocabulary; put its vocab.txt beside it')
        return self._encoder

    def _run(
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


def _unbatched(
    indices: np.ndarray, results: concurrent.futures.Future
) -> Iterator[tuple[int, Any]]:
    host = results.result()
    for row, index in enumerate(indices):
        yield int(index), jax.tree.map(lambda x, row=row: x[row], host)


def write_embeddings(
    vectors: Iterator[np.ndarray], count: int, width: int, output: pathlib.Path
) -> None:
    """A .npz with `embeddings`, float32[count, width], written as the vectors come."""
    partial = output.with_name(f'.{output.name}.tmp-{os.getpid()}')
    header = {'descr': '<f4', 'fortran_order': False, 'shape': (count, width)}
    try:
        with (
            zipfile.ZipFile(partial, 'w', allowZip64=True) as archive,
            archive.open('embeddings.npy', 'w', force_zip64=True) as member,
        ):
            np.lib.format.write_array_header_1_0(member, header)
            written = 0
            for vector in vectors:
                member.write(np.ascontiguousarray(vector, '<f4').tobytes())
                written += 1
        assert written == count, (written, count)
        partial.rename(output)
    finally:
        partial.unlink(missing_ok=True)


def lines(path: pathlib.Path) -> Iterator[str]:
    """The lines of a UTF-8 text file, plain or .gz, one at a time. Raises ValueError naming the
    line that is not UTF-8."""
    opener: Any = gzip.open if path.suffix == '.gz' else open
    with opener(path, 'rb') as file:
        for number, line in enumerate(file, 1):
            try:
                yield line.decode('utf-8').rstrip('\r\n')
            except UnicodeDecodeError as error:
                raise ValueError(f'{path}:{number} is not UTF-8 ({error})') from error


def _embed(bert: Bert, source: pathlib.Path, output: pathlib.Path) -> None:
    count = sum(1 for _ in lines(source))
    if not count:
        raise ValueError(f'{source} has no line')
    begin = time.monotonic()
    vectors = bert.embed(lines(source), FLAGS.pooling, FLAGS.long == 'window')
    write_embeddings(vectors, count, bert.config.hidden_size, output)
    seconds = time.monotonic() - begin
    print(
        f'{count:,} texts, {count / seconds:,.0f} a second; {bert.truncated:,} were longer than '
        f'{bert.config.max_position_embeddings} tokens and lost their end; wrote {output}',
        file=sys.stderr,
    )


def _fill_mask(bert: Bert, inputs: Iterable[str]) -> None:
    for text in inputs:
        print(text)
        for candidates in bert.fill_mask(text, FLAGS.top_k):
            print('   ' + ', '.join(f'{piece} {share:.3f}' for piece, share in candidates))


def _main(argv: list[str]) -> None:
    rest = FLAGS(argv)[1:]
    if rest:
        raise ValueError(f'unexpected arguments {" ".join(rest)}')
    if (FLAGS.text is None) == (FLAGS.input is None):
        raise ValueError('give one of --text and --input')
    if FLAGS.mode == 'embed' and (FLAGS.input is None or FLAGS.output is None):
        raise ValueError('--mode=embed needs --input, a text a line, and --output, a .npz file')
    if FLAGS.input is not None and not pathlib.Path(FLAGS.input).is_file():
        raise ValueError(f'--input={FLAGS.input} is not a file')
    bert = load(FLAGS.checkpoint)
    if FLAGS.mode == 'embed':
        _embed(bert, pathlib.Path(FLAGS.input), pathlib.Path(FLAGS.output))
    else:
        _fill_mask(bert, lines(pathlib.Path(FLAGS.input)) if FLAGS.input else [FLAGS.text])


def cli(argv: list[str]) -> int:
    """The exit code: 0 done; 2 a mistake, said in one line."""
    if {'-h', '-help', '--help'} & set(argv):
        print(f'{__doc__}\n{FLAGS.main_module_help()}')
        return 0
    absl.logging.set_verbosity(absl.logging.ERROR)  # Orbax warns of what is not there to be read
    try:
        _main(argv)
    except (ValueError, OSError, flags.Error) as error:
        print(f'predict: {error}', file=sys.stderr)
        return 2
    return 0


FLAGS = flags.FLAGS

if __name__ == '__main__':
    flags.DEFINE_string('checkpoint', None, 'A workdir, or a folder of bert_jax.convert.')
    flags.DEFINE_enum('mode', 'fill_mask', ['fill_mask', 'embed'], 'What to do.')
    flags.DEFINE_string('text', None, 'One text.')
    flags.DEFINE_string('input', None, 'A file of texts, one a line (.gz too).')
    flags.DEFINE_string('output', None, 'embed: the .npz to write.')
    flags.DEFINE_enum('pooling', 'mean', list(POOLINGS), 'embed: what stands for a text.')
    flags.DEFINE_enum(
        'long', 'truncate', ['truncate', 'window'], 'embed: texts longer than the positions.'
    )
    flags.DEFINE_integer('top_k', 5, 'fill_mask: tokens shown for each mask.', lower_bound=1)
    flags.mark_flags_as_required(['checkpoint'])
    sys.exit(cli(sys.argv))

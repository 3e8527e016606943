"""A trained model for inference: texts or token arrays in, numpy arrays out."""

import collections
import concurrent.futures
import dataclasses
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bert_jax.batch import HostBatch
from bert_jax.config import MeshConfig, choices, environment
from bert_jax.data import model_languages
from bert_jax.data.labelled.rows import EncodedExamples, SequentialBatches
from bert_jax.data.labelled.texts import Row, Text, TextEncoder, listed
from bert_jax.data.summary import Summary
from bert_jax.inference import embedding, masked_words, model_dir
from bert_jax.inference.model_dir import Pretrained
from bert_jax.inference.token_arrays import (
    GENERATED,
    INFERENCE_LENGTHS,
    INPUTS,
    batch_shapes,
    checked,
)
from bert_jax.models.heads import HEADS, Outputs
from bert_jax.models.inputs import EncoderInputs
from bert_jax.parallel import sharding
from bert_jax.parallel.mesh import make_mesh
from bert_jax.tasks.finetuning import HeadTask
from bert_jax.tasks.translation import TranslationTask
from bert_jax.training.evaluation import Predictions, by_example

THREADS = 2


class Bert:
    """A trained model with its vocabulary. Each batch is split over all devices.

    folder: where the model was loaded from. counted: how many of the examples that were predicted
    so far were unusual, for example cut because they were too long.
    """

    def __init__(self, source: Pretrained, mesh: Mesh, folder: str = ''):
        # An unrolled scan makes inference no faster, and takes longer to compile for each of the
        # many shapes. Flash attention needs padding at the end of a row and a mesh context.
        self.config = dataclasses.replace(source.config, scan_unroll=1, attention='dense')
        self.data, self.eval, self.heads = source.data, source.eval, source.heads
        self.labels, self.pairs, self.no_answer = source.labels, source.pairs, source.no_answer
        self.multi_label, self.embedding = source.multi_label, source.embedding
        self.folder, self.counted = folder, Summary()
        self.until_stopped: Callable[[Iterable[Any]], Iterator[Any]] = iter  # see signals.Stopper
        longest, types = self.config.longest_row, self.config.type_vocab_size
        vocabulary, language = source.vocabulary, source.data.language
        vocabulary = vocabulary.for_language(language) if vocabulary and language else vocabulary
        row_format = model_languages.row_format(self.config, language)
        self._encoder = self._sentences = None
        if vocabulary:
            self._encoder = TextEncoder(vocabulary, longest, types, row_format)
            shorter = min(longest, embedding.of(self).max_seq_length or longest)
            self._sentences = TextEncoder(vocabulary, shorter, types, row_format)
        self._params, self._mesh = source.params, mesh
        self._model = dataclasses.replace(source, config=self.config).model
        self._compiled: dict[Hashable, Callable[[Any, Any], Any]] = {}
        self._outputs = self.function('outputs', lambda outputs, _: outputs)

    @classmethod
    def load(
        cls, directory: str | os.PathLike, dtype: str = 'auto', name: str = '', language: str = ''
    ) -> Self:
        """The model of a workdir's best or newest checkpoint, or of a converted folder.

        dtype: the compute type, 'float32' or 'bfloat16'; 'auto' is bfloat16 on TPU and GPU. name:
        what `repr` shows as the folder. language: the language of the texts; '' is the one that the
        model was trained with last, or its first one. Raises ValueError for another dtype, for a
        language that the model does not have, and for a folder without a model.
        """
        if dtype not in (known := choices('model.dtype')):
            raise ValueError(f'dtype is {dtype!r}; expected one of {", ".join(known)}')
        environment.silence()
        mesh = make_mesh(MeshConfig())
        source = model_dir.load(directory, NamedSharding(mesh, PartitionSpec()))
        if language and source.vocabulary:
            model_languages.check(language, source.config, source.vocabulary, 'language')
        config = dataclasses.replace(source.config, dtype=dtype)  # type: ignore[arg-type]
        data = dataclasses.replace(source.data, language=language or source.data.language)
        source = dataclasses.replace(source, config=config, data=data)
        return cls(source, mesh, name or os.fspath(directory))

    def __repr__(self) -> str:
        size = sum(leaf.size for leaf in jax.tree.leaves(self._params))
        shape = f'{self.config.num_hidden_layers} layers of {self.config.hidden_size}'
        more = ', ...' if len(self.labels) > 10 else ''
        facts = [
            f'{self.config.model_type}: {size:,} parameters, {shape}',
            f'heads: {", ".join(self.heads) or "none"}',
            *([f'labels: {", ".join(self.labels[:10])}{more}'] if self.labels else []),
            *([f'languages: {self.config.languages}'] if self.config.languages else []),
            *([f'from {self.folder}'] if self.folder else []),
        ]
        return f'<{"; ".join(facts)}>'

    def apply(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The model's outputs for token arrays.

        input_ids: int[batch, length]; attention_mask (default: ones) and token_type_ids (default:
        zeros) of the same shape. Returns float32 arrays: last_hidden_state [batch, length, hidden]
        and the outputs of the checkpoint's heads: pooler_output [batch, hidden], prediction_logits
        [batch, length, vocab], seq_relationship_logits [batch, 2], logits [batch, labels], or
        [batch, length, labels] of a tagger, start_logits and end_logits [batch, length]. Raises
        ValueError for other names, shapes, ids or lengths.
        """
        return jax.device_get(self._outputs(self._params, self._put(checked(batch, self.config))))

    def __call__(self, inputs: Iterable[Text]) -> dict[str, np.ndarray]:
        """The outputs of `apply` for texts and pairs of texts, and their attention_mask. Rows are
        padded with zeros to the longest row."""
        inputs = inputs if isinstance(inputs, str) else listed(inputs)
        if not len(inputs):
            return {name: value[:0] for name, value in self(['']).items()}
        examples = self.examples(self.encoder.encode(inputs))
        length = int(examples.lengths.max())
        mask = np.arange(length) < examples.lengths[:, None]
        results = {'attention_mask': mask.astype(np.int32)}
        per_token = {'last_hidden_state'}
        for head in self.heads:
            per_token |= {name for name, axes in HEADS[head].outputs.items() if 'length' in axes}
        for indices, outputs in self.run(examples, self._outputs):
            for name, value in outputs.items():
                width = length if name in per_token else value.shape[1]
                if name not in results:
                    shape = (len(examples), width, *value.shape[2:])
                    results[name] = np.zeros(shape, np.float32)
                results[name][indices, : value.shape[1]] = value[:, :width]
        for name in per_token & results.keys():
            results[name][~mask] = 0
        return results

    def predict(self, examples: EncodedExamples, task: HeadTask) -> Predictions:
        """The task's predictions {name: [examples, ...]}, in order, as in an evaluation. task: a
        task of `self.config` and of a head of this checkpoint."""
        function = self._predictions(task)
        if not len(examples):
            ids = jax.ShapeDtypeStruct((1, INFERENCE_LENGTHS[0]), 'int32')
            outputs = jax.eval_shape(function, self._params, dict.fromkeys(INPUTS, ids))
            return {name: np.zeros((0, *x.shape[1:]), x.dtype) for name, x in outputs.items()}
        most_rows = GENERATED // task.generated_tokens
        batches = [
            results | {'example_ids': indices, 'example_weights': np.ones(len(indices))}
            for indices, results in self.run(examples, function, most_rows)
        ]
        return by_example(batches)

    def embed(
        self,
        inputs: str | Iterable[Text],
        pooling: str | None = None,
        windows: bool = False,
        prompt: str | None = None,
    ) -> np.ndarray:
        """The vectors of texts, float32[texts, size], or of one text, float32[size]; see
        `embed_stream`."""
        if isinstance(inputs, str):
            return self.embed([inputs], pooling, windows, prompt)[0]
        vectors = list(self.embed_stream(listed(inputs), pooling, windows, prompt))
        return (
            np.stack(vectors) if vectors else np.zeros((0, self.vector_size(pooling)), np.float32)
        )

    def vector_size(self, pooling: str | None = None) -> int:
        """The number of elements of the vectors of `embed`."""
        return embedding.of(self, pooling).width(self.config.hidden_size)

    def embed_stream(
        self,
        inputs: Iterable[Text],
        pooling: str | None = None,
        windows: bool = False,
        prompt: str | None = None,
    ) -> Iterator[np.ndarray]:
        """Yields a vector float32[size] for each text, in order; reads a few thousand at a time.

        pooling: 'mean' is the mean of the hidden states of all tokens, special tokens included;
        'cls' is the hidden state of [CLS], the first token or, in XLNet, the last one; 'pooler' is
        the pooler's output. None is what the checkpoint's `embedding` says (a Sentence Transformers
        model: its pooling and layers, the length of its rows, its case and its prompts), and 'mean'
        without one. prompt: the name of a prompt of the checkpoint, '' for none; None is its
        default. windows: a text that is too long is split, and the vectors of its parts are
        averaged, weighted by their numbers of tokens; otherwise the text is cut.

        Raises ValueError for an unknown pooling or prompt, and if the checkpoint has no pooler.
        """
        return embedding.vectors(self, inputs, pooling, windows, prompt)

    def fill_mask(self, inputs: Text | Iterable[Text], top_k: int = 5) -> Any:
        """The most likely tokens, with their probabilities, for each mask token in each text: for a
        text a list of `Candidates`, and for several texts a list of such lists. Raises ValueError
        for a text without a mask token, and if the checkpoint has no masked-LM head.
        """
        return masked_words.fill(self, inputs, top_k)

    @property
    def sentences(self) -> TextEncoder:
        """The encoder of texts for `embed`, whose rows may be shorter."""
        return self._sentences or self.encoder

    @property
    def encoder(self) -> TextEncoder:
        if self._encoder is None:
            raise ValueError('this checkpoint has no vocabulary; put its vocab.txt beside it')
        return self._encoder

    def run(
        self,
        examples: EncodedExamples,
        function: Callable[[Any, Any], Any],
        most_rows: int = GENERATED,
    ) -> Iterator[tuple[np.ndarray, Any]]:
        """For each batch, the shortest rows first: the indices of its examples, int[n], and the
        results of `function`, [n, ...] each, on the host. most_rows: the largest number of rows
        in a batch.

        Two batches are computed at a time. On a CPU this uses all cores while one of them is in a
        serial part of the computation; on other devices copies overlap with computation.
        """
        longest, devices = self.config.longest_row, self._mesh.size
        shapes = batch_shapes(longest, devices, most_rows)

        def results(batch: HostBatch) -> tuple[np.ndarray, Any]:
            count = int(batch['example_weights'].sum())
            inputs = self._put({name: batch[name] for name in INPUTS})
            outputs = jax.device_get(function(self._params, inputs))
            return batch['example_ids'][:count], jax.tree.map(lambda x: x[:count], outputs)

        waiting: collections.deque[concurrent.futures.Future] = collections.deque()
        with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
            try:
                for batch in self.until_stopped(SequentialBatches(examples, shapes)):
                    waiting.append(pool.submit(results, batch))
                    if len(waiting) > 2 * THREADS:
                        yield waiting.popleft().result()
                for _ in self.until_stopped(range(len(waiting))):
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def examples(self, rows: list[Row]) -> EncodedExamples:
        """The rows of texts as examples without labels."""
        return EncodedExamples.from_rows(rows, {}, self.encoder.vocabulary.specials.pad)

    def function(
        self,
        key: Hashable,
        reduce: Callable[[Outputs, Any], Any],
        prepare: Callable[[Any], EncoderInputs] = EncoderInputs.from_batch,
    ) -> Any:
        """A jitted function (params, batch) -> reduce(outputs, batch), compiled once per key.
        prepare: makes the model's inputs of a batch.

        The cache is in the instance, because a cache in the class would never free the parameters.
        """
        if key not in self._compiled:
            model = self._model  # with a reference to self, the parameters could not be freed

            def compute(params: Any, batch: Mapping[str, jax.Array]) -> Any:
                outputs: Any = model.apply({'params': params}, prepare(batch))
                wide = {name: x.astype(jnp.float32) for name, x in outputs.items()}
                return reduce(wide, batch)

            self._compiled[key] = jax.jit(compute)
        return self._compiled[key]

    def _predictions(self, task: HeadTask) -> Any:
        """A jitted function (params, batch) -> the task's predictions."""
        if not isinstance(task, TranslationTask):
            return self.function(task, task.predictions)
        if task not in self._compiled:
            self._compiled[task] = jax.jit(task.generate)
        return self._compiled[task]

    def _put(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        divides = len(batch['input_ids']) % self._mesh.size == 0
        axes = sharding.partition_spec(('batch', 'length')) if divides else PartitionSpec()
        return jax.device_put(dict(batch), NamedSharding(self._mesh, axes))

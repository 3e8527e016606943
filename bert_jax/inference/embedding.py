"""Vectors of texts: the pooling, the layers and the prompts of a model, applied to many texts.

`bert` is a `trained_model.Bert`, whose module imports this one.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from bert_jax.data.labelled.texts import Text, TextEncoder
from bert_jax.inference import POOLINGS
from bert_jax.inference.sentence_embedding import SentenceEmbedding
from bert_jax.models.pooling import pooled_token

TEXTS_PER_READ = 4096  # texts that are read and sorted by length together
MEAN = SentenceEmbedding()  # the default, if a checkpoint has no sentence embedding


def of(bert: Any, pooling: str | None = None) -> SentenceEmbedding:
    """Returns the sentence embedding for a value of `pooling`. None means that of the checkpoint,
    or the mean over all tokens if the checkpoint has none."""
    if pooling is None:
        return bert.embedding or MEAN
    return MEAN if pooling == 'pooler' else SentenceEmbedding((pooling,))


def vectors(
    bert: Any, inputs: Iterable[Text], pooling: str | None, windows: bool, prompt: str | None
) -> Iterator[np.ndarray]:
    """Yields the vector of each text; see `Bert.embed_stream`."""
    if pooling not in (None, *POOLINGS):
        raise ValueError(f'pooling is {pooling!r}; expected {", ".join(POOLINGS)}')
    if pooling == 'pooler' and 'pooler' not in bert.heads:
        raise ValueError('this checkpoint has no pooler; use pooling mean or cls')
    embedding = of(bert, pooling)
    encoder = bert.sentences if pooling is None else bert.encoder
    before = (bert.embedding or MEAN).prompt(prompt if pooling is None else prompt or '')
    skipped = 0 if embedding.include_prompt else _prompt_length(encoder, before, embedding)
    if skipped and windows:
        raise ValueError('the pooling of this model leaves out the prompt: use --long=truncate')

    config = bert.config  # with a reference to bert, its parameters could not be freed

    def pool(outputs: Any, batch: Any) -> jax.Array:
        if pooling == 'pooler':
            return outputs['pooler_output']
        if pooling == 'cls':
            return pooled_token(config, outputs['last_hidden_state'], batch['attention_mask'])
        return embedding.pooled(outputs['last_hidden_state'], batch['attention_mask'], skipped)

    pooled = bert.function(('pooled', pooling, skipped), pool)
    inputs = (_prepared(text, before, embedding.lowercase) for text in inputs)
    while texts := list(itertools.islice(inputs, TEXTS_PER_READ)):
        parts = encoder.windows(texts) if windows else [[row] for row in encoder.encode(texts)]
        examples = bert.examples(list(itertools.chain.from_iterable(parts)))
        counts = np.array([len(rows) for rows in parts])
        text = np.repeat(np.arange(len(texts)), counts)
        # For a text in one part the weight is 1, so that its vector is not rounded again.
        weights = np.where(counts[text] == 1, 1, examples.lengths).astype(np.float32)[:, None]
        sums = np.zeros((len(texts), bert.vector_size(pooling)), np.float32)
        for indices, values in bert.run(examples, pooled):
            np.add.at(sums, text[indices], values * weights[indices])
        totals = np.zeros((len(texts), 1), np.float32)
        np.add.at(totals, text, weights)
        means = sums / totals
        if embedding.normalizes and counts.max() > 1:
            means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        yield from means


def _prompt_length(encoder: TextEncoder, prompt: str, embedding: SentenceEmbedding) -> int:
    """The number of tokens of a prompt at the start of a row, special tokens included."""
    if not prompt:
        return 0
    (row,) = encoder.encode([_prepared(prompt, '', embedding.lowercase)])
    return len(row.input_ids) - len(encoder.row_format.after)


def _prepared(text: Text, prompt: str, lowercase: bool) -> Text:
    """Returns the text after the prompt. In a pair, the prompt is before the first text."""
    if not prompt and not lowercase:
        return text
    if isinstance(text, str):
        return (prompt + text).lower() if lowercase else prompt + text
    first, second = prompt + text[0], text[1]
    return (first.lower(), second.lower()) if lowercase else (first, second)

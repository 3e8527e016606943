"""The most likely tokens for the mask tokens in texts.

`bert` is a `trained_model.Bert`, whose module imports this one.
"""

import functools
from typing import Any

import jax
import numpy as np

from bert_jax.data.labelled.texts import listed
from bert_jax.models.heads import DECODER
from bert_jax.models.inputs import EncoderInputs
from bert_jax.models.xlnet import with_hidden

Candidates = list[tuple[str, float]]


def fill(bert: Any, inputs: Any, top_k: int) -> Any:
    """See `Bert.fill_mask`."""
    if DECODER in bert.heads:
        raise ValueError(
            'an encoder-decoder does not fill masks, because its masked-LM head generates texts; '
            'use generate, or load an encoder'
        )
    if 'masked_lm' not in bert.heads:
        raise ValueError(
            f'this checkpoint has no masked-LM head; it has {", ".join(bert.heads) or "none"}'
        )
    if isinstance(inputs, str):
        return fill(bert, [inputs], top_k)[0]
    inputs, vocabulary = listed(inputs), bert.encoder.vocabulary
    rows, pieces = bert.encoder.encode(inputs), vocabulary.pieces
    mask = vocabulary.specials.mask
    masks = [np.flatnonzero(np.array(row.input_ids) == mask) for row in rows]
    for text, positions in zip(inputs, masks, strict=True):
        if not len(positions):
            piece = vocabulary.special_pieces.mask
            raise ValueError(
                f'no {piece} in {text!r:.80} (within the first {bert.encoder.longest} tokens, the '
                f'positions of the model); write {piece} in place of a word'
            )
    top_k = min(top_k, len(pieces))

    def top(outputs: dict[str, jax.Array], _: Any) -> tuple[jax.Array, jax.Array]:
        probabilities = jax.nn.softmax(outputs['prediction_logits'])
        # The table may have rows beyond the vocabulary, which are padding.
        values, ids = jax.lax.top_k(probabilities[..., : len(pieces)], top_k)
        return values, ids

    filled: list[list[Candidates]] = [[] for _ in rows]
    prepare = EncoderInputs.from_batch
    if bert.config.model_type == 'xlnet':
        prepare = functools.partial(with_hidden, mask)
    function = bert.function(('top', top_k), top, prepare)
    for indices, (probabilities, ids) in bert.run(bert.examples(rows), function):
        for row, index in enumerate(indices):
            for place in masks[index]:
                names = [vocabulary.readable(i) for i in ids[row, place].tolist()]
                shares = probabilities[row, place].tolist()
                filled[index].append(list(zip(names, shares, strict=True)))
    return filled

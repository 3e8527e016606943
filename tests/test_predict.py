"""Texts in, numbers out: batches by length, padding, pairs, masks, long texts, bad input."""

import dataclasses
import gc
import pathlib
import weakref
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest
from word_model import WORDS, save_word_model

from bert_jax import predict
from bert_jax.data.labelled import texts
from bert_jax.data.labelled.rows import EncodedExamples
from bert_jax.inference import embedding, trained_model
from bert_jax.inference.trained_model import Bert

# Lengths on both sides of the buckets, and one that loses its end.
TEXTS: list[texts.Text] = [
    *(' '.join(WORDS[i % 4] for i in range(n)) for n in (1, 0, 5, 6, 7, 14, 15, 38, 39, 100)),
    ('alpha beta', 'gamma'),
]


def alone(bert: Bert, text: texts.Text) -> dict[str, np.ndarray]:
    (row,) = bert.encoder.encode([text])
    ids, types = np.array(row.input_ids)[None], np.array(row.token_type_ids)[None]
    return {k: v[0] for k, v in bert.apply({'input_ids': ids, 'token_type_ids': types}).items()}


@pytest.mark.slow
def test_each_text_as_if_it_were_alone(bert: Bert) -> None:
    outputs = bert(TEXTS)
    assert outputs['attention_mask'].sum(1).tolist() == [3, 2, 7, 8, 9, 16, 17, 40, 40, 40, 6]
    for i, text in enumerate(TEXTS):
        size = outputs['attention_mask'][i].sum()
        for name, value in alone(bert, text).items():
            there = outputs[name][i]
            if there.ndim == 2:
                assert not there[size:].any(), 'padding is zeros'
                there = there[:size]
            np.testing.assert_allclose(there, value, atol=1e-5, err_msg=f'{name} of {text!r}')


def test_embeddings_are_pooled_and_in_order(bert: Bert, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, 'TEXTS_PER_READ', 4)
    lengths = [TEXTS[i] for i in (9, 0, 5, 10)]  # each has to be compiled when it is alone
    outputs = [alone(bert, text) for text in lengths]
    order = [0, 1, 2, 3, 1, 0, 3, 2, 2, 1, 3]
    expected = [outputs[i] for i in order]
    pooled = {
        'mean': [x['last_hidden_state'].mean(0) for x in expected],
        'cls': [x['last_hidden_state'][0] for x in expected],
        'pooler': [x['pooler_output'] for x in expected],
    }
    for pooling, vectors in pooled.items():
        found = bert.embed([lengths[i] for i in order], pooling)
        np.testing.assert_allclose(found, vectors, atol=1e-5, err_msg=pooling)


def test_no_more_texts_are_read_than_fit_a_window(
    bert: Bert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, 'TEXTS_PER_READ', 8)
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield 'alpha'

    vectors = bert.embed_stream(endless())
    for i in range(20):
        next(vectors)
        assert read <= i + 8


def test_long_texts_lose_their_end_or_are_cut_into_pieces(bert: Bert) -> None:
    long = ' '.join(WORDS[i % 4] for i in range(100))
    bert.embed([long, 'alpha', long])
    assert bert.sentences.truncated == 2
    (whole,) = bert.embed([long], windows=True)
    assert bert.sentences.truncated == 2
    words = long.split()
    parts = [alone(bert, ' '.join(words[i : i + 38])) for i in (0, 38, 76)]
    means = [part['last_hidden_state'].mean(0) for part in parts]
    expected = np.average(means, axis=0, weights=[40, 40, 26])
    np.testing.assert_allclose(whole, expected, atol=1e-5)


@pytest.mark.parametrize('lengths', [(100, 3), (3, 100), (100, 90), (20, 17), (19, 19)])
def test_of_a_pair_the_longer_text_is_cut(bert: Bert, lengths: tuple[int, int]) -> None:
    first, second = (' '.join(['alpha'] * n) for n in lengths)
    (row,) = bert.encoder.encode([(first, second)])
    b = sum(row.token_type_ids) - 1
    a = len(row.input_ids) - 3 - b
    assert len(row.input_ids) == len(row.token_type_ids) == min(sum(lengths) + 3, 40)
    cut = lengths[0] - a, lengths[1] - b
    assert min(cut) >= 0 and (sum(lengths) <= 37) == (cut == (0, 0))
    if lengths[0] > 37 >= 19 > lengths[1] or lengths[1] > 37 >= 19 > lengths[0]:
        assert cut[int(np.argmin(lengths))] == 0


def test_the_shapes_are_few_and_the_padding_little(
    bert: Bert, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row is in one batch, and the batches divide over the devices."""
    bert.config = dataclasses.replace(bert.config, max_position_embeddings=512)
    random = np.random.default_rng(0)
    rows = [texts.Row([1] * n, [0] * n) for n in random.integers(2, 512, 3000)]
    examples = EncodedExamples.from_rows(rows, {}, pad_id=0)
    shapes, seen, tokens = set(), np.zeros(len(rows), int), 0

    def sizes(_: object, batch: dict[str, jax.Array]) -> np.ndarray:
        nonlocal tokens
        shapes.add(batch['input_ids'].shape)
        tokens += batch['input_ids'].size
        return np.asarray(batch['attention_mask']).sum(1)

    for indices, found in bert.run(examples, sizes):
        seen[indices] += 1
        assert found.tolist() == examples.lengths[indices].tolist()
    assert (seen == 1).all()
    assert all(count % jax.device_count() == 0 for count, _ in shapes)
    assert len(shapes) <= 2 * len(trained_model.INFERENCE_LENGTHS)
    assert examples.lengths.sum() > 0.8 * tokens


def test_a_model_is_freed(word_folder: pathlib.Path) -> None:
    """Compiled functions belong to the model and do not keep its parameters alive."""
    bert = predict.load(word_folder)
    bert.fill_mask(['[MASK]'])
    bert.embed(['alpha'])
    alive = weakref.ref(bert), weakref.ref(jax.tree.leaves(bert._params)[0])
    del bert
    gc.collect()
    assert [reference() for reference in alive] == [None, None]


def test_a_wrong_dtype_is_refused_before_anything_is_read(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="dtype is 'float16'; expected one of auto"):
        predict.load(tmp_path / 'nowhere', dtype='float16')


def test_masks_are_filled(bert: Bert) -> None:
    ((first, second), (third,)) = bert.fill_mask(
        ['alpha [MASK] beta [MASK]', '[MASK] alpha'], top_k=3
    )
    assert third == bert.fill_mask(['[MASK] alpha'], top_k=3)[0][0] != first
    assert len(first) == len(second) == 3
    logits = alone(bert, 'alpha [MASK] beta [MASK]')['prediction_logits']
    shares = np.exp(logits[2]) / np.exp(logits[2]).sum()
    piece, share = first[0]
    assert bert.encoder.vocabulary.pieces[shares.argmax()] == piece
    assert share == pytest.approx(shares.max(), rel=1e-4) and share >= first[1][1] >= first[2][1]
    with pytest.raises(ValueError, match=r"no \[MASK\] in 'alpha'"):
        bert.fill_mask(['[MASK]', 'alpha'])


@pytest.mark.parametrize(
    ('batch', 'message'),
    [
        ({}, 'expected a dict with input_ids'),
        ({'input_ids': np.zeros((1, 4), int), 'labels': 0}, r"\['input_ids', 'labels'\]"),
        ({'input_ids': np.zeros(4, int)}, r'input_ids is int64\[4\]; expected integers'),
        ({'input_ids': np.zeros((1, 4))}, r'input_ids is float64\[1, 4\]'),
        ({'input_ids': np.full((1, 4), 9)}, 'input_ids has values from 9 to 9; expected 0 to 8'),
        ({'input_ids': np.full((1, 4), -1)}, 'input_ids has values from -1'),
        ({'input_ids': np.zeros((1, 41), int)}, '41 long; the model has 40 positions'),
        (
            {'input_ids': np.zeros((1, 4), int), 'attention_mask': np.ones((1, 5), int)},
            r'attention_mask is int64\[1, 5\]; .* \[1, 4\]',
        ),
    ],
)
def test_wrong_arrays_are_named(bert: Bert, batch: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bert.apply(batch)


@pytest.mark.parametrize(
    ('inputs', 'message'),
    [
        ('alpha', r"expected a list of texts, not one text: \['alpha'\]"),
        ([('a', 'b', 'c'), 'd'], r"text 0 is \('a', 'b', 'c'\); expected a string, or a pair"),
        (['a', 3], 'text 1 is 3; expected a string'),
        (['a', ('b', None)], 'text 1 is .*None'),
    ],
)
def test_wrong_texts_are_named(bert: Bert, inputs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bert(inputs)


def test_a_pair_needs_two_types(bert: Bert) -> None:
    encoder = texts.TextEncoder(bert.encoder.vocabulary, 40, types=1)
    encoder.encode(['alpha'])
    with pytest.raises(ValueError, match='has only one token type'):
        encoder.encode([('alpha', 'beta')])


def test_a_missing_head_is_not_made_up(tmp_path: pathlib.Path) -> None:
    bert = predict.load(save_word_model(tmp_path / 'bare', heads=()))
    assert set(bert(['alpha'])) == {'attention_mask', 'last_hidden_state'}
    with pytest.raises(ValueError, match='no masked-LM head; it has none'):
        bert.fill_mask(['[MASK]'])
    with pytest.raises(ValueError, match='no pooler; use pooling mean or cls'):
        bert.embed(['alpha'], 'pooler')
    (tmp_path / 'bare' / 'vocab.txt').unlink()
    with pytest.raises(ValueError, match=r'no vocabulary; put its vocab\.txt'):
        predict.load(tmp_path / 'bare')(['alpha'])

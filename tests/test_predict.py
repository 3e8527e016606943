"""Texts in, numbers out: batches by length, padding, pairs, masks, long texts, bad input."""

import copy
import dataclasses
import gc
import os
import pathlib
import re
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest
from flax import linen as nn
from tiny_model import ROOT

from bert_jax import predict
from bert_jax.config import DataConfig, ModelConfig, command_line
from bert_jax.convert.foreign import full_config
from bert_jax.data.labelled import texts
from bert_jax.data.labelled.rows import EncodedExamples
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference import embedding, model_dir, text_files, text_inputs, trained_model
from bert_jax.models.heads import PRETRAINING_HEADS, HeadedEncoder
from bert_jax.models.inputs import EncoderInputs

WORDS = ['alpha', 'beta', 'gamma', 'delta']
MODEL = ModelConfig(
    vocab_size=len(tokenizer.SPECIALS) + len(WORDS),
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=40,
)
# Lengths on both sides of the buckets, and one that loses its end.
TEXTS: list[texts.Text] = [
    *(' '.join(WORDS[i % 4] for i in range(n)) for n in (1, 0, 5, 6, 7, 14, 15, 38, 39, 100)),
    ('alpha beta', 'gamma'),
]


def save(folder: pathlib.Path, heads: tuple[str, ...] = PRETRAINING_HEADS) -> pathlib.Path:
    init = jax.jit(HeadedEncoder(MODEL, heads).init)
    params = nn.unbox(init(jax.random.key(0), EncoderInputs.example()))['params']
    folder.mkdir()
    vocabulary = tokenizer.WordPiece([*tokenizer.SPECIALS, *WORDS], lowercase=True)
    model_dir.save(folder, full_config(MODEL, lowercase=True), params, vocabulary)
    return folder


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return save(tmp_path_factory.mktemp('predict') / 'model')


@pytest.fixture
def bert(folder: pathlib.Path) -> predict.Bert:
    return predict.load(folder)


def alone(bert: predict.Bert, text: texts.Text) -> dict[str, np.ndarray]:
    (row,) = bert.encoder.encode([text])
    ids, types = np.array(row.input_ids)[None], np.array(row.token_type_ids)[None]
    return {k: v[0] for k, v in bert.apply({'input_ids': ids, 'token_type_ids': types}).items()}


@pytest.mark.slow
def test_each_text_as_if_it_were_alone(bert: predict.Bert) -> None:
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


def test_embeddings_are_pooled_and_in_order(
    bert: predict.Bert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, 'TEXTS_PER_READ', 4)
    expected = [alone(bert, text) for text in TEXTS]
    pooled = {
        'mean': [x['last_hidden_state'].mean(0) for x in expected],
        'cls': [x['last_hidden_state'][0] for x in expected],
        'pooler': [x['pooler_output'] for x in expected],
    }
    for pooling, vectors in pooled.items():
        found = bert.embed(TEXTS, pooling)
        np.testing.assert_allclose(found, vectors, atol=1e-5, err_msg=pooling)


def test_no_more_texts_are_read_than_fit_a_window(
    bert: predict.Bert, monkeypatch: pytest.MonkeyPatch
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


def test_long_texts_lose_their_end_or_are_cut_into_pieces(bert: predict.Bert) -> None:
    long = ' '.join(WORDS[i % 4] for i in range(100))
    bert.embed([long, 'alpha', long])
    assert bert.truncated == 2
    (whole,) = bert.embed([long], windows=True)
    assert bert.truncated == 2
    words = long.split()
    parts = [alone(bert, ' '.join(words[i : i + 38])) for i in (0, 38, 76)]
    means = [part['last_hidden_state'].mean(0) for part in parts]
    expected = np.average(means, axis=0, weights=[40, 40, 26])
    np.testing.assert_allclose(whole, expected, atol=1e-5)


@pytest.mark.parametrize('lengths', [(100, 3), (3, 100), (100, 90), (20, 17), (19, 19)])
def test_of_a_pair_the_longer_text_is_cut(bert: predict.Bert, lengths: tuple[int, int]) -> None:
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
    bert: predict.Bert, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row once, in batches that divide over the devices."""
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
    assert len(shapes) <= 2 * len(trained_model.LENGTHS)
    assert examples.lengths.sum() > 0.8 * tokens


def test_a_model_is_freed(folder: pathlib.Path) -> None:
    """Compiled functions belong to the model and do not keep its parameters alive."""
    bert = predict.load(folder)
    bert.fill_mask(['[MASK]'])
    bert.embed(['alpha'])
    alive = weakref.ref(bert), weakref.ref(jax.tree.leaves(bert._params)[0])
    del bert
    gc.collect()
    assert [reference() for reference in alive] == [None, None]


def test_a_wrong_dtype_is_refused_before_anything_is_read(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="dtype is 'float16'; expected one of auto"):
        predict.load(tmp_path / 'nowhere', dtype='float16')


def test_masks_are_filled(bert: predict.Bert) -> None:
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
def test_wrong_arrays_are_named(bert: predict.Bert, batch: dict, message: str) -> None:
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
def test_wrong_texts_are_named(bert: predict.Bert, inputs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bert(inputs)


def test_a_pair_needs_two_types(bert: predict.Bert) -> None:
    encoder = texts.TextEncoder(bert.encoder.vocabulary, 40, types=1)
    encoder.encode(['alpha'])
    with pytest.raises(ValueError, match='has only one token type'):
        encoder.encode([('alpha', 'beta')])


def test_a_missing_head_is_not_made_up(tmp_path: pathlib.Path) -> None:
    bert = predict.load(save(tmp_path / 'bare', heads=()))
    assert set(bert(['alpha'])) == {'attention_mask', 'last_hidden_state'}
    with pytest.raises(ValueError, match='no masked-LM head; it has none'):
        bert.fill_mask(['[MASK]'])
    with pytest.raises(ValueError, match='no pooler; use pooling mean or cls'):
        bert.embed(['alpha'], 'pooler')
    (tmp_path / 'bare' / 'vocab.txt').unlink()
    with pytest.raises(ValueError, match=r'no vocabulary; put its vocab\.txt'):
        predict.load(tmp_path / 'bare')(['alpha'])


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command line: exit code, stdout and stderr."""
    fresh = copy.deepcopy(predict.FLAGS)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(predict, 'FLAGS', copy.deepcopy(fresh))
        code = command_line.run('predict', predict.main, ['predict', *arguments], predict.FLAGS)
        return code, *capsys.readouterr()

    return run


@pytest.mark.slow
def test_a_process_of_its_own(folder: pathlib.Path) -> None:
    command = [sys.executable, '-m', 'bert_jax.predict', f'--checkpoint={folder}']
    done = subprocess.run(
        [*command, '--text=alpha'], cwd=ROOT, capture_output=True, check=False, text=True
    )
    assert (done.returncode, done.stdout) == (2, ''), done.stderr
    assert done.stderr.startswith('predict: ') and done.stderr.count('\n') == 1


def test_the_command_line(
    tmp_path: pathlib.Path, folder: pathlib.Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    (tmp_path / 'in.txt').write_text('alpha beta\n\n' + 'gamma ' * 100 + '\n')
    model, source = f'--checkpoint={folder}', f'--input={tmp_path / "in.txt"}'
    output = tmp_path / 'out.npz'
    code, _, said = run(model, '--mode=embed', source, f'--output={output}')
    assert code == 0 and '3 records' in said and '1 text with more than 40 tokens' in said, said
    vectors = np.load(output)['embeddings']
    expected = predict.load(folder).embed(['alpha beta', '', 'gamma ' * 100])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)

    code, shown, said = run(model, '--text=alpha [MASK]', '--top_k=2')
    assert code == 0 and shown.splitlines()[0] == 'alpha [MASK]' and shown.count("'") == 4, said
    mistakes = [
        ('--text=alpha',),
        ('--mode=embed', source),
        (source, '--text=alpha'),
        ('--mode=embed', '--input=nowhere', '--output=x.npz'),
        ('--mode=embed', source, f'--output={output}'),  # exists
        (source, f'--output={tmp_path / "new.jsonl"}'),  # no head of a task
        (source, f'--output={tmp_path / "new.csv"}'),
        ('--text=[MASK]', '--mode=fill_mask', '--output=x'),
        ('--text=alpha', '--all_scores'),
    ]
    for arguments in mistakes:
        code, _, said = run(model, *arguments)
        assert code == 2 and said.startswith('predict: ') and said.count('\n') == 1, said
    code, _, said = run('--checkpoint=nowhere', '--text=[MASK]')
    assert code == 2 and 'nowhere does not exist' in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ['in.txt', 'out.npz']


EMBEDDED = {
    'list.json': '[{"text": "alpha beta"}, {"text": "gamma"}]',
    'table.csv': 'label,text\na,alpha beta\nb,gamma\n',
    'table.tsv': 'text\tlabel\nalpha beta\ta\ngamma\tb\n',
    'lines.jsonl': '{"text": "alpha beta"}\n\n{"text": "gamma"}\n',
    'lines.txt': 'alpha beta\ngamma\n',
    'lines': 'alpha beta\ngamma\n',
}
NOT_EMBEDDED = {
    'list.json': ('["alpha"]', 'list.json: [0] is "alpha"; expected an object'),
    'zero.csv': (
        '',
        'has no examples; expected a line that names the columns, such as text',
    ),
    'zero.jsonl': ('', 'has no examples; expected an object on each line, {"text": ...}'),
    'zero.txt': ('', 'is empty; expected a text on each line'),
    'other.csv': ('a,b\n1,2\n', "has no column 'text'"),
    'other.jsonl': ('["alpha"]\n', 'other.jsonl:1 is ["alpha"]; expected an object'),
}


def test_texts_of_tables_and_lines(tmp_path: pathlib.Path) -> None:
    """The modes embed and fill_mask read the same files: a table has its texts in a column."""
    for name, content in EMBEDDED.items():
        (tmp_path / name).write_text(content)
        found = [e.text for e in text_inputs.read(tmp_path / name, DataConfig())]
        assert found == ['alpha beta', 'gamma']
    (tmp_path / 'other.csv').write_text('review\nalpha\n')
    (found,) = text_inputs.read(tmp_path / 'other.csv', DataConfig(text_field='review'))
    assert found.text == 'alpha'
    for name, (content, message) in NOT_EMBEDDED.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=re.escape(message)):
            list(text_inputs.read(tmp_path / name, DataConfig()))


def test_embeddings_of_a_table(tmp_path: pathlib.Path, bert: predict.Bert) -> None:
    source, output = tmp_path / 'table.csv', tmp_path / 'out.npz'
    source.write_text(EMBEDDED['table.csv'])
    assert text_files.write_embeddings(bert, source, output, 'mean', False) == 2
    expected = bert.embed(['alpha beta', 'gamma'])
    np.testing.assert_allclose(np.load(output)['embeddings'], expected, atol=1e-6)


def test_predictions_need_no_library_of_scores() -> None:
    code = (
        'import sys; sys.modules.update(sklearn=None, scipy=None); import bert_jax.predict\n'
        'try: import bert_jax.finetuning.runs\n'
        'except ImportError as error: sys.exit("pip install" not in str(error))\n'
        'sys.exit("imported")'
    )
    environment = os.environ | {'PYTHONPATH': str(ROOT)}
    subprocess.run([sys.executable, '-c', code], env=environment, check=True, timeout=120)


def test_texts_of_tables_and_bad_rows_in_every_mode(
    tmp_path: pathlib.Path, folder: pathlib.Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    """The header is no text, ids are kept, and a bad row costs no other row."""
    model, table = f'--checkpoint={folder}', tmp_path / 'in.csv'
    table.write_text('id,text\n7,alpha\n8,beta gamma\n')
    output = tmp_path / 'out.npz'
    embed = (model, '--mode=embed', f'--input={table}', f'--output={output}')
    assert run(*embed)[0] == 0
    expected = predict.load(folder).embed(['alpha', 'beta gamma'])
    with np.load(output) as found:
        np.testing.assert_allclose(found['embeddings'], expected, atol=1e-6)
        assert found['id'].tolist() == ['7', '8'] and 'place' not in found
    output.unlink()
    table.write_text('id,text\n7,alpha\n,\n8,beta gamma\n9,[SEP]\n')
    code, _, said = run(*embed)
    assert code == 2 and 'in.csv:3 has an empty text' in said and not output.exists()
    code, _, said = run(*embed, '--on_error=skip')
    assert code == 0 and '1 bad row was left out of' in said
    assert 'texts of unknown tokens alone: 1' in said, said
    assert 'texts with the name of a special token, read as characters: 1' in said, said
    with np.load(output) as found:
        np.testing.assert_allclose(found['embeddings'][:2], expected, atol=1e-6)
        assert found['place'].tolist() == ['2', '4', '5']

    lines = tmp_path / 'lines.txt'
    lines.write_text('alpha [MASK]\nbeta\n[MASK] gamma\n')
    code, shown, said = run(model, '--mode=fill_mask', f'--input={lines}')
    assert code == 2 and 'lines.txt:2: no [MASK]' in said and shown.startswith('alpha [MASK]')
    code, shown, said = run(model, '--mode=fill_mask', f'--input={lines}', '--on_error=skip')
    assert code == 0 and '[MASK] gamma' in shown and '1 bad row was left out' in said
    lines.write_text('text,label\nalpha,x\n')
    code, _, said = run(model, '--mode=embed', f'--input={lines}', f'--output={tmp_path}/n.npz')
    assert code == 2 and "looks like a table, its columns separated by ','" in said

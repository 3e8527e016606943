"""Folders of sentence-transformers are read, and `embed` follows their settings."""

import json
import pathlib
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from folders import MODEL

from bert_jax import predict
from bert_jax.convert import sentence_folders
from bert_jax.convert.folders import convert_in
from bert_jax.inference.sentence_embedding import MODES, SentenceEmbedding

KIND = 'sentence_transformers.models.'
WIDTH = MODEL.hidden_size
TEXTS = ['a b c d', 'E', 'a b ' * 20, '']


def write(folder: pathlib.Path, values: Any) -> None:
    folder.parent.mkdir(exist_ok=True)
    folder.write_text(json.dumps(values))


def modules(folder: pathlib.Path, *kinds: str) -> None:
    paths = ['' if kind == 'Transformer' else f'{i}_{kind}' for i, kind in enumerate(kinds)]
    write(
        folder / 'modules.json',
        [
            {'idx': i, 'name': str(i), 'path': path, 'type': KIND + kind}
            for i, (kind, path) in enumerate(zip(kinds, paths, strict=True))
        ],
    )


def sentence_folder(folder: pathlib.Path, mode: Any = 'mean', **pooling: Any) -> pathlib.Path:
    """Adds the files of a model with pooling, a dense layer and a normalization."""
    modules(folder, 'Transformer', 'Pooling', 'Dense', 'Normalize')
    write(folder / '1_Pooling/config.json', {'pooling_mode': mode, **pooling})
    inputs = WIDTH * (1 if isinstance(mode, str) else len(mode))
    sizes = {'in_features': inputs, 'out_features': 5, 'bias': True}
    write(
        folder / '2_Dense/config.json',
        sizes | {'activation_function': 'torch.nn.modules.activation.Tanh'},
    )
    random = np.random.default_rng(0)
    weight = random.normal(size=(5, inputs)).astype(np.float32)
    tensors = {'linear.weight': weight, 'linear.bias': weight[:, 0].copy()}
    safetensors.numpy.save_file(tensors, folder / '2_Dense/model.safetensors')
    write(folder / 'sentence_bert_config.json', {'max_seq_length': 10, 'do_lower_case': True})
    prompts = {'query': 'a b ', 'document': ''}
    write(
        folder / 'config_sentence_transformers.json',
        {'prompts': prompts, 'default_prompt_name': None},
    )
    return folder


def pooled(hidden: np.ndarray, mode: str) -> np.ndarray:
    """The definition of each mode, for the hidden states [tokens, width] of one text."""
    place = np.arange(1, len(hidden) + 1)[:, None]
    return {
        'cls': hidden[0],
        'max': hidden.max(0),
        'mean': hidden.mean(0),
        'mean_sqrt_len_tokens': hidden.sum(0) / np.sqrt(len(hidden)),
        'weightedmean': (hidden * place).sum(0) / place.sum(),
        'lasttoken': hidden[-1],
    }[mode]


def test_a_text_is_embedded_as_the_folder_says(
    theirs: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All modes of pooling are joined, and the layers follow. Rows have at most 10 tokens."""
    convert_in('hf', sentence_folder(theirs, MODES), tmp_path / 'ours')
    printed = capsys.readouterr().out
    assert 'sentence embeddings: pooling cls and max' in printed and 'at most 10' in printed
    bert = predict.load(tmp_path / 'ours', 'float32')
    vectors = bert.embed(TEXTS)
    assert vectors.shape == (4, 5) and bert.sentences.truncated == 1
    assert bert.embed([]).shape == (0, 5)
    dense = safetensors.numpy.load_file(theirs / '2_Dense/model.safetensors')
    cut = [text.lower()[:16] for text in TEXTS]  # 8 letters and two special tokens
    outputs = bert(cut)
    for i, vector in enumerate(vectors):
        hidden = outputs['last_hidden_state'][i, : outputs['attention_mask'][i].sum()]
        joined = np.concatenate([pooled(hidden, mode) for mode in MODES])
        expected = np.tanh(dense['linear.weight'] @ joined + dense['linear.bias'])
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)
    asked = bert.embed(TEXTS[:2], prompt='query')
    np.testing.assert_allclose(asked, bert.embed([f'a b {text}' for text in TEXTS[:2]]), atol=1e-6)
    np.testing.assert_array_equal(bert.embed(TEXTS[:1], prompt='document'), vectors[:1])
    assert bert.embed(TEXTS[:1], 'mean').shape == (1, WIDTH)  # a pooling that the user chose
    with pytest.raises(ValueError, match="prompt is 'other'; this model has 'query', 'document'"):
        bert.embed(TEXTS, prompt='other')


def test_the_prompt_may_be_left_out_of_the_pooling() -> None:
    embedding = SentenceEmbedding(MODES, include_prompt=False)
    hidden = np.random.default_rng(0).normal(size=(1, 7, 4)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1, 1, 0, 0]])
    found = embedding.pooled(hidden, mask, 2)[0]
    rest = hidden[0, 2:5]
    place = np.arange(3, 6)[:, None]
    parts = [pooled(rest, mode) for mode in MODES]
    parts[MODES.index('weightedmean')] = (rest * place).sum(0) / place.sum()
    np.testing.assert_allclose(found, np.concatenate(parts), atol=1e-5)


def test_old_files(theirs: pathlib.Path) -> None:
    """The settings have keys of old versions, and the encoder is in a folder of its own."""
    modules(theirs, 'Transformer', 'Pooling')
    values = {'pooling_mode_cls_token': True, 'pooling_mode_mean_tokens': True}
    write(theirs / '1_Pooling/config.json', {'word_embedding_dimension': WIDTH} | values)
    found = sentence_folders.read(theirs).embedding
    assert found == SentenceEmbedding(('cls', 'mean'), max_seq_length=MODEL.longest_row)
    listed = json.loads((theirs / 'modules.json').read_text())
    listed[0] |= {'path': '0_Transformer', 'type': f'{KIND}DistilBERT'}
    write(theirs / 'modules.json', listed)
    assert sentence_folders.read(theirs).model == theirs / '0_Transformer'
    (theirs / 'modules.json').unlink()
    note = sentence_folders.read(theirs).note
    assert note.endswith('modules.json does not exist, so these folders are not read: 1_Pooling')


@pytest.mark.parametrize(
    ('file', 'values', 'message'),
    [
        ('1_Pooling/config.json', {'pooling_mode': 'median'}, "the pooling is 'median'; expected"),
        ('1_Pooling/config.json', {'pooling_mode_new': True}, "the pooling is 'pooling_mode_new'"),
        ('2_Dense/config.json', {'in_features': 3, 'out_features': 5}, r'says \[5, 3\]'),
        ('2_Dense/config.json', {'activation_function': 'a.Odd'}, 'activation_function is a.Odd'),
        ('2_Dense/config.json', {'module_input_name': 'x'}, "module_input_name is 'x'"),
        ('modules.json', [{'type': 'x.CNN', 'path': '1_CNN'}], 'has the module CNN; bert_jax has'),
        ('modules.json', [{'type': 'x.Pooling', 'path': ''}], 'the first module is Pooling'),
        ('modules.json', {'a': 1}, 'is not a list of modules'),
        ('config_sentence_transformers.json', {'default_prompt_name': 'q'}, "name is 'q', but"),
    ],
)
def test_what_is_not_supported_is_named(
    theirs: pathlib.Path, file: str, values: Any, message: str
) -> None:
    write(sentence_folder(theirs) / file, values)
    with pytest.raises(ValueError, match=message):
        sentence_folders.read(theirs)

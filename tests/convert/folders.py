"""Small folders of bert_jax with random values, and changes to other projects' folders."""

import json
import pathlib
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from flax import linen as nn

from bert_jax.config import ModelConfig
from bert_jax.convert.foreign import full_config
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference import model_dir
from bert_jax.models.heads import PRETRAINING_HEADS, HeadedEncoder
from bert_jax.models.inputs import EncoderInputs

PIECES = [*tokenizer.SPECIALS, *'abcdefgh', '##a', '##b']
MODEL = ModelConfig(
    vocab_size=len(PIECES),
    hidden_size=12,
    num_hidden_layers=3,
    num_attention_heads=3,
    intermediate_size=20,
    max_position_embeddings=16,
    hidden_act='gelu_new',
)


def make(
    folder: pathlib.Path,
    model: ModelConfig = MODEL,
    heads: tuple[str, ...] = PRETRAINING_HEADS,
    **task: Any,
) -> pathlib.Path:
    """A folder of bert_jax with random values everywhere, as fresh ones have zeros and ones.

    task: the facts of a fine-tuned model, as `model_dir.save` takes them.
    """
    headed = HeadedEncoder(model, heads, len(task.get('labels', ())) or 1)
    abstract = jax.eval_shape(headed.init, jax.random.key(0), EncoderInputs.example())
    random = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: random.normal(size=x.shape).astype('float32'), nn.unbox(abstract)['params']
    )
    folder.mkdir()
    vocabulary = tokenizer.WordPiece(PIECES, lowercase=False)
    model_dir.save(folder, full_config(model, lowercase=False), params, vocabulary, task)
    return folder


def assert_same(a: pathlib.Path, b: pathlib.Path) -> None:
    one, other = model_dir.load(a), model_dir.load(b)
    for name in ('heads', 'config', 'labels', 'pairs', 'no_answer', 'multi_label'):
        assert getattr(one, name) == getattr(other, name)
    assert one.vocabulary and other.vocabulary
    assert one.vocabulary.pieces == other.vocabulary.pieces
    assert one.vocabulary.lowercase == other.vocabulary.lowercase
    arrays, others = one.arrays(), other.arrays()
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        assert array.tobytes() == others[name].tobytes(), name


def tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(folder / 'model.safetensors')


def write(folder: pathlib.Path, values: dict[str, np.ndarray]) -> None:
    safetensors.numpy.save_file(
        {name: np.ascontiguousarray(value) for name, value in values.items()},
        folder / 'model.safetensors',
    )


def change_config(folder: pathlib.Path, **changes: Any) -> None:
    path = folder / 'config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def tokenizer_json(folder: pathlib.Path, **changes: Any) -> None:
    """Replaces vocab.txt. changes: values of a section by name; without them, the file has one
    token more than the model."""
    vocabulary = tokenizer.WordPiece(PIECES if changes else [*PIECES, 'x'], lowercase=False)
    values = json.loads(vocabulary.model.to_str())
    for section, others in changes.items():
        values[section] = values[section] | others if others is not None else None
    (folder / 'tokenizer.json').write_text(json.dumps(values))
    (folder / 'vocab.txt').unlink(missing_ok=True)

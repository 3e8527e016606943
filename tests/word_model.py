"""A model with random parameters and a vocabulary of four words."""

import pathlib

import random_parameters

from bert_jax.config import ModelConfig
from bert_jax.convert.foreign import full_config
from bert_jax.data.tokenizers import tokenizer
from bert_jax.inference import model_dir
from bert_jax.models.heads import PRETRAINING_HEADS

WORDS = ['alpha', 'beta', 'gamma', 'delta']
MODEL = ModelConfig(
    vocab_size=len(tokenizer.SPECIALS) + len(WORDS),
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=40,
)


def save_word_model(
    folder: pathlib.Path, heads: tuple[str, ...] = PRETRAINING_HEADS
) -> pathlib.Path:
    params = random_parameters.like_fresh(MODEL, heads)
    folder.mkdir()
    vocabulary = tokenizer.WordPiece([*tokenizer.SPECIALS, *WORDS], lowercase=True)
    model_dir.save(folder, full_config(MODEL, lowercase=True), params, vocabulary)
    return folder

"""Pretrain, adapt and fine-tune BERT-family encoders in JAX."""

import os
import typing

if typing.TYPE_CHECKING:
    from bert_jax.finetuning.model import Model

__version__ = '0.5.0'


def load(directory: 'str | os.PathLike', dtype: str = 'auto', language: str = '') -> 'Model':
    """The trained model in a folder.

    directory: a workdir, a folder written by `bert_jax convert`, or a folder of a Hugging Face or
    TensorFlow 1 checkpoint, which is converted once into the cache. dtype: the compute type,
    'float32' or 'bfloat16'; 'auto' is bfloat16 on TPU and GPU, float32 on CPU. language: the
    language of the texts, for XLM; '' is the one that the model was trained with last, or its first
    one. Raises ValueError for another dtype or language and for a folder without a model.
    """
    from bert_jax import predict  # imports JAX, which takes seconds

    return predict.load(directory, dtype, language)

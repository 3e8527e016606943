"""Pretrain, adapt and fine-tune BERT-family encoders in JAX."""

import os
import typing

if typing.TYPE_CHECKING:
    from bert_jax.finetuning.model import Model

__version__ = '0.5.0'


def load(directory: 'str | os.PathLike', dtype: str = 'auto', language: str = '') -> 'Model':
    """Returns the trained model in a folder.

    directory: a workdir, a folder written by `bert_jax convert`, or a Hugging Face or TensorFlow 1
    checkpoint, which is converted once into the cache: its folder, or its name on the Hugging Face
    Hub. dtype: the compute type, 'float32' or 'bfloat16'; 'auto' is bfloat16 on TPU and GPU, and
    float32 on CPU. language: the language of the texts, for XLM; '' is the language that the model
    was trained with last, or its first one. Raises ValueError for another dtype or language and for
    a folder without a model.
    """
    from bert_jax import predict  # imports JAX, which takes seconds

    return predict.load(directory, dtype, language)


def finetune(
    texts: 'typing.Iterable[typing.Any]',
    labels: 'typing.Iterable[typing.Any]',
    *,
    init_from: 'str | os.PathLike[str]',
    workdir: 'str | os.PathLike[str]',
    eval_texts: 'typing.Iterable[typing.Any] | None' = None,
    eval_labels: 'typing.Iterable[typing.Any] | None' = None,
    settings: 'typing.Mapping[str, typing.Any] | None' = None,
) -> 'Model':
    """Fine-tunes a model on texts with their labels, and returns it, as `load` does.

    texts: strings; pairs of strings, as tuples; or lists of words, to tag them. labels: for each
    text a string or a whole number, which names its label; a float, to learn numbers; a list of
    labels, if a text may have several; or a list of tags. init_from: a folder as for `load`.
    workdir: the folder of the run, as of `bert_jax train`; the same call goes on with a run that
    was interrupted, and loads one that is complete. eval_texts, eval_labels: the examples to
    evaluate on; otherwise a tenth of the texts. settings: keys of the configuration, such as
    {'train.epochs': 5}.

    Raises ValueError for wrong examples and settings, and Interrupted after a signal.
    """
    from bert_jax import api  # imports JAX, which takes seconds

    settings = {**(settings or {}), 'init_from': os.fspath(init_from)}
    return api.finetune(texts, labels, workdir, (eval_texts, eval_labels), settings)

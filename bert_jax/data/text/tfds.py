"""Datasets of TensorFlow Datasets (TFDS) as documents."""

import re
from collections.abc import Iterator
from typing import Any

from bert_jax.config import DataConfig
from bert_jax.config.errors import first_line
from bert_jax.data import files
from bert_jax.data.summary import Document, Summary
from bert_jax.data.text.source import NotFetched, Source, documents_of

TFDS = re.compile(r'(?P<name>.+?):(?P<split>\w+(\[[^\]]*\])?(\+\w+(\[[^\]]*\])?)*)')


def source(name_and_split: str, data: DataConfig, fetch: bool) -> Source:
    """The source of the examples of a dataset and split, such as 'imdb_reviews:train'.

    If TFDS has not prepared the dataset yet, it is prepared or, if `fetch` is false, NotFetched is
    raised.
    """
    parts = TFDS.fullmatch(name_and_split)
    if not parts:
        raise ValueError(
            f'config.data.corpus is {data.corpus!r}; expected tfds:NAME[/CONFIG]:SPLIT'
        )
    name, split = parts['name'], parts['split']
    builder = _prepared(name, data, fetch)
    splits = builder.info.splits
    try:
        examples = splits[split].num_examples
    except (KeyError, ValueError) as error:
        raise ValueError(f'TFDS {name} has no split {split!r}; it has {sorted(splits)}') from error

    def read(summary: Summary) -> Iterator[Document]:
        import tensorflow_datasets as tfds  # it imports TensorFlow

        dataset = builder.as_dataset(
            split,
            read_config=tfds.ReadConfig(interleave_cycle_length=1),  # one order on any machine
            decoders=tfds.decode.PartialDecoding({data.text_field: True}),
        )
        decoder = files.Decoder(summary)
        for number, example in enumerate(tfds.as_numpy(dataset)):
            summary.count('TFDS examples')
            summary.passed += 1
            where = f'{name_and_split}[{number}]'
            text = decoder.decode(example[data.text_field], where)
            yield from documents_of(text, where, summary)
        decoder.finish()

    sizes = {key: [info.num_examples, info.num_bytes] for key, info in splits.items()}
    total = sum(info.num_examples for info in splits.values())
    size = sum(info.num_bytes for info in splits.values())
    identity = [builder.info.full_name, split, sizes]
    return Source(read, identity, examples, size * examples // max(total, 1))


def _prepared(name: str, data: DataConfig, fetch: bool) -> Any:
    """The builder of the dataset, which TFDS has prepared. Raises as `source` does."""
    import tensorflow_datasets as tfds  # it imports TensorFlow

    try:
        builder = tfds.builder(name, data_dir=data.data_dir or None)
    except ValueError as error:  # after its first line, it lists a thousand datasets
        raise ValueError(
            f'TFDS cannot find {name!r} ({first_line(error)}); see config.data.corpus'
        ) from error
    features = dict(builder.info.features or {})
    texts = [
        key for key, kind in features.items() if kind.shape == () and kind.np_dtype in (str, object)
    ]
    if data.text_field not in texts:
        raise ValueError(
            f'TFDS {name} has no text in feature {data.text_field!r}, only in {texts}; set '
            'config.data.text_field'
        )
    if not fetch and not builder.is_prepared():
        raise NotFetched(
            f'TFDS has not prepared {name} in {builder.data_path} yet; a run will do so'
        )
    try:
        builder.download_and_prepare()
    except Exception as error:  # TFDS raises errors of many types
        raise ValueError(
            f'TFDS could not prepare {name} in {builder.data_path} '
            f'({type(error).__name__}: {first_line(error)})'
        ) from error
    return builder

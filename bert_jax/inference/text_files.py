"""Files of texts through a trained model: embeddings and masked words."""

import itertools
import pathlib
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np

from bert_jax.config.files import atomic_output
from bert_jax.data.files import kind, lines
from bert_jax.data.labelled.examples import SUFFIXES, iter_file
from bert_jax.inference.trained_model import Bert

MASKED = 256  # texts whose masks are filled together


def texts(path: pathlib.Path, field: str = 'text') -> Iterator[str]:
    """The texts of a file: the column or key `field` of a .csv, .tsv or .jsonl file, and the lines
    of any other file, without their ends. Raises ValueError if there are none, and for .json."""
    suffix = kind(path)[0]
    if suffix == '.json':
        raise ValueError(
            f'{path}: a .json file is not read as texts; give a .jsonl file with an object on each '
            f'line, {{"{field}": ...}}, or a .txt file with a text on each line'
        )
    if suffix in SUFFIXES:
        yield from (example.text for example in iter_file(path, text=field))
        return
    empty = True
    for line in lines(path):
        empty = False
        yield line.rstrip('\r\n')
    if empty:
        raise ValueError(f'{path} is empty; expected a text on each line')


def write_embeddings(
    bert: Bert,
    source: pathlib.Path,
    output: pathlib.Path,
    pooling: str | None,
    windows: bool,
    prompt: str | None = None,
) -> int:
    """Writes a .npz with `embeddings`, float32[texts, size]; returns the number of texts.

    The embeddings are in a file while they are computed, so they need not fit in memory.
    """
    field = bert.data.text_field
    count = sum(1 for _ in texts(source, field))
    vectors = bert.embed_stream(texts(source, field), pooling, windows, prompt)
    with atomic_output(output) as partial, tempfile.TemporaryDirectory(dir=output.parent) as folder:
        file, shape = pathlib.Path(folder) / 'embeddings.npy', (count, bert.vector_size(pooling))
        embeddings = np.lib.format.open_memmap(file, 'w+', 'float32', shape)
        for i, vector in zip(range(count), vectors, strict=True):
            embeddings[i] = vector
        with partial.open('wb') as archive:
            np.savez(archive, embeddings=embeddings)
    return count


def shown(probability: float) -> str:
    """The probability with three decimals, or with two significant digits if it is small."""
    return f'{probability:.3f}' if probability >= 0.001 else f'{probability:.1e}'


def print_masked_words(bert: Bert, inputs: Iterable[str], top_k: int) -> None:
    """Prints each text and, for each of its masks, the most likely tokens."""
    inputs = iter(inputs)
    while window := list(itertools.islice(inputs, MASKED)):
        for text, masks in zip(window, bert.fill_mask(window, top_k), strict=True):
            print(text)
            for candidates in masks:
                print('   ' + '  '.join(f'{piece!r} {shown(share)}' for piece, share in candidates))


def print_similarities(
    bert: Bert,
    inputs: list[str],
    pooling: str | None,
    windows: bool,
    prompt: str | None = None,
) -> None:
    """Prints the first text and, for each other text, the cosine between its vector and the first
    one."""
    vectors = bert.embed(inputs, pooling, windows, prompt)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    print(inputs[0])
    for text, cosine in zip(inputs[1:], (vectors @ vectors[0]).tolist()[1:], strict=True):
        print(f'   {cosine:6.3f}  {text}')

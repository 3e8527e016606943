"""Files of texts, one per line, through a trained model: embeddings and masked words."""

import itertools
import pathlib
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np

from bert_jax.config.files import atomic_output
from bert_jax.data.files import lines
from bert_jax.inference.trained_model import Bert

MASKED = 256  # texts whose masks are filled together


def texts(path: pathlib.Path) -> Iterator[str]:
    """The lines of a file, without their ends."""
    return (line.rstrip('\r\n') for line in lines(path))


def write_embeddings(
    bert: Bert, source: pathlib.Path, output: pathlib.Path, pooling: str, windows: bool
) -> int:
    """Writes a .npz with `embeddings`, float32[lines, hidden]; returns the number of lines.

    The embeddings are in a file while they are computed, so they need not fit in memory.
    """
    count = sum(1 for _ in lines(source))
    if not count:
        raise ValueError(f'{source} has no line')
    vectors = bert.embed_stream(texts(source), pooling, windows)
    with atomic_output(output) as partial, tempfile.TemporaryDirectory(dir=output.parent) as folder:
        file, shape = pathlib.Path(folder) / 'embeddings.npy', (count, bert.config.hidden_size)
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


def print_similarities(bert: Bert, inputs: list[str], pooling: str, windows: bool) -> None:
    """Prints the first text and, for each other text, the cosine between its vector and the first
    one."""
    vectors = bert.embed(inputs, pooling, windows)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    print(inputs[0])
    for text, cosine in zip(inputs[1:], (vectors @ vectors[0]).tolist()[1:], strict=True):
        print(f'   {cosine:6.3f}  {text}')

"""Reads files of texts, and computes their embeddings and masked words with a trained model."""

import itertools
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from bert_jax.config import DataConfig
from bert_jax.config.files import atomic_output
from bert_jax.data.file_kinds import text_kind
from bert_jax.data.files import kind, lines
from bert_jax.data.labelled import examples, records
from bert_jax.data.labelled.bad_rows import OnError, each
from bert_jax.data.labelled.examples import Example
from bert_jax.inference.masked_words import Candidates
from bert_jax.inference.trained_model import Bert

MASKED = 256  # texts whose masks are filled together
LOOKED_AT = 20  # lines at the beginning of a file, which may look like something else


def read_all(
    paths: Sequence[pathlib.Path], data: DataConfig, on_error: OnError | None = None
) -> Iterator[Example]:
    """Yields the texts of several files, in order; see `read`."""
    return itertools.chain.from_iterable(read(path, data, on_error) for path in paths)


def read(
    path: pathlib.Path, data: DataConfig, on_error: OnError | None = None
) -> Iterator[Example]:
    """Yields the texts and pairs of texts of a file, with their places.

    A .csv, .tsv, .jsonl or .json file has them in the columns that `data` names. In any other file,
    each line is a text, which may be empty. Raises ValueError for bad rows, unless `on_error` is
    given, and for a file whose lines look like something else, such as JSON or a table.
    """
    if kind(path)[0] in records.SUFFIXES:
        yield from examples.iter_file(
            path,
            text=data.text_field,
            text_b=data.text_b_field,
            label=data.label_field,
            columns=True,
            on_error=on_error,
            predicts=True,
        )
        return
    found = (line.rstrip('\r\n') for line in lines(path, on_error))
    beginning = list(itertools.islice(found, LOOKED_AT))
    if not beginning:
        raise ValueError(f'{path} is empty; expected a text on each line')
    looks = text_kind(beginning)
    if looks:
        raise ValueError(
            f'{path}:1 {beginning[0][:60]!r} looks like {looks}; expected a text on each line'
        )
    if beginning[0].strip() in (data.text_field, 'text') and len(beginning) > 1:
        raise ValueError(
            f'{path}:1 is {beginning[0].strip()!r}, the name of a column; remove this line, or '
            'give the file a name that ends in .csv'
        )
    for number, text in enumerate(itertools.chain(beginning, found), 1):
        yield Example(text, None, None, f'{path}:{number}')


def write_embeddings(
    bert: Bert,
    sources: Sequence[pathlib.Path],
    output: pathlib.Path,
    pooling: str | None,
    windows: bool,
    prompt: str | None = None,
    on_error: OnError | None = None,
) -> int:
    """Writes a .npz with `embeddings`, float32[texts, size]; returns the number of texts.

    It also has the array `id`, if there is a column of this name ('' in files without it), and
    `place`, the line of each text (with its file, if there are several), if `on_error` received bad
    rows, which are left out. The embeddings are in a file while they are computed, so they need not
    fit in memory. Raises ValueError for a bad row before any text is embedded.
    """
    ids, places, bad = list[str](), list[str](), list[ValueError]()
    prefix = f'{sources[0]}:' if len(sources) == 1 else ''
    read = read_all(sources, bert.data, bad.append if on_error else None)
    for example in bert.until_stopped(read):
        places.append(example.where.removeprefix(prefix).strip())
        ids.append(str((example.columns or {}).get('id', '')))
    for error in bad:
        on_error(error)  # type: ignore[misc]
    if not (count := len(places)):
        raise ValueError(f'no text can be read from {", ".join(map(str, sources))}')
    more: dict[str, Any] = {'id': np.array(ids)} if any(ids) else {}
    more |= {'place': np.array(places)} if bad else {}
    read = read_all(sources, bert.data, (lambda _: None) if on_error else None)
    vectors = bert.embed_stream((example.parts for example in read), pooling, windows, prompt)
    with atomic_output(output) as partial, tempfile.TemporaryDirectory(dir=output.parent) as folder:
        file, shape = pathlib.Path(folder) / 'embeddings.npy', (count, bert.vector_size(pooling))
        embeddings = np.lib.format.open_memmap(file, 'w+', 'float32', shape)
        for i, vector in zip(range(count), bert.until_stopped(vectors), strict=True):
            embeddings[i] = vector
        with partial.open('wb') as archive:
            np.savez(archive, embeddings=embeddings, **more)
    return count


def shown(probability: float) -> str:
    """The probability with three decimals, or with two significant digits if it is small."""
    return f'{probability:.3f}' if probability >= 0.001 else f'{probability:.1e}'


def print_masked_words(
    bert: Bert, inputs: Iterable[Example], top_k: int, on_error: OnError | None = None
) -> None:
    """Prints each text and, for each of its masks, the most likely tokens.

    Raises ValueError for a text without a mask, after the texts before it are printed, unless
    `on_error` is given (see `bad_rows.each`).
    """
    inputs = iter(inputs)
    while window := list(itertools.islice(inputs, MASKED)):
        for example, masks in bert.until_stopped(_filled(bert, window, top_k, on_error)):
            print(' / '.join(filter(None, (example.text, example.text_b))))
            for candidates in masks:
                print('   ' + '  '.join(f'{piece!r} {shown(share)}' for piece, share in candidates))


def _filled(
    bert: Bert, window: list[Example], top_k: int, on_error: OnError | None
) -> Iterator[tuple[Example, list[Candidates]]]:
    """The examples with their masks filled. If one has no mask, they are filled one by one."""

    def fill(example: Example) -> tuple[Example, list[Candidates]]:
        try:
            return example, bert.fill_mask([example.parts], top_k)[0]
        except ValueError as error:
            raise ValueError(f'{example.where}: {error}') from error

    try:
        filled = bert.fill_mask([example.parts for example in window], top_k)
    except ValueError:
        yield from each(window, fill, on_error)
    else:
        yield from zip(window, filled, strict=True)


def print_similarities(
    bert: Bert, inputs: list[str], pooling: str | None, windows: bool, prompt: str | None = None
) -> None:
    """Prints the first text and, for each other text, the cosine between its vector and the first
    one."""
    vectors = bert.embed(inputs, pooling, windows, prompt)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    print(inputs[0])
    for text, cosine in zip(inputs[1:], (vectors @ vectors[0]).tolist()[1:], strict=True):
        print(f'   {cosine:6.3f}  {text}')

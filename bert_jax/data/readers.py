"""Where text comes from: files, TFDS and what Python itself carries; lists of lines."""

import collections
import dataclasses
import glob
import gzip
import json
import pathlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from backports import zstd

from bert_jax.config import DataConfig
from bert_jax.data import builtin

Document = list[str]  # its lines: paragraphs of prose, or a sentence each
SUFFIXES = ('.txt', '.jsonl')
COMPRESSIONS = ('.gz', '.zst')


def _open(path: pathlib.Path) -> Any:
    """A binary file object over the uncompressed bytes."""
    openers: dict[str, Any] = {'.gz': gzip.open, '.zst': zstd.open, '': open}
    return openers[_format(path)[1]](path, 'rb')


class Summary:
    """What was read and what was odd about it: a count each, and the first place it was seen."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.first: dict[str, str] = {}

    def count(self, what: str, where: str = '', number: int = 1) -> None:
        self.counts[what] += number
        if where:
            self.first.setdefault(what, where)

    def lines(self) -> dict[str, int]:
        """{'lines of invalid UTF-8, replaced (first: a.txt:3)': 2, ...}"""
        return {
            f'{what} (first: {self.first[what]})' if what in self.first else what: count
            for what, count in self.counts.items()
        }


@dataclasses.dataclass(frozen=True)
class Source:
    """A corpus that can be read again and again. identity: what its content hangs on."""

    read: Callable[[Summary], Iterator[Document]]
    identity: Any
    size: int = 0  # bytes on disk; 0 where unknown


def source(data: DataConfig) -> Source:
    """The source that `config.data.corpus` names. Raises ValueError where there is no such."""
    kind, _, rest = data.corpus.partition(':')
    if kind == 'builtin' and not rest:
        return Source(builtin.documents, builtin.identity())
    if kind == 'text' and rest:
        return _files(rest, data)
    if kind == 'tfds' and rest:
        return Source(lambda summary: _tfds(rest, data, summary), rest)
    raise ValueError(
        f'config.data.corpus is {data.corpus!r}; expected builtin, text:GLOB, '
        'tfds:NAME[/CONFIG]:SPLIT or tokens:DIR'
    )


def _files(pattern: str, data: DataConfig) -> Source:
    paths = [pathlib.Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
    paths = [path for path in paths if path.is_file()]
    if not paths:
        raise ValueError(f'no file matches {pattern!r} (from {pathlib.Path.cwd()})')
    for path in paths:
        if _format(path)[0] not in SUFFIXES:
            raise ValueError(
                f'{path}: expected a name that ends in {" or ".join(SUFFIXES)}, '
                'with .gz or .zst after it where it is compressed'
            )
    stats = [path.stat() for path in paths]
    identity = [
        [str(path.resolve()), stat.st_size, stat.st_mtime_ns]
        for path, stat in zip(paths, stats, strict=True)
    ]

    def read(summary: Summary) -> Iterator[Document]:
        for path in paths:
            summary.count('files')
            lines = _lines(path, summary)
            if _format(path)[0] == '.jsonl':
                yield from _jsonl(path, lines, data.text_field, summary)
            elif data.documents == 'file':
                yield [line for _, line in lines if line]
            else:
                yield from _blank_line_separated(lines)

    return Source(read, identity, sum(stat.st_size for stat in stats))


def _format(path: pathlib.Path) -> tuple[str, str]:
    """a.txt.gz -> ('.txt', '.gz')"""
    compression = path.suffix if path.suffix in COMPRESSIONS else ''
    return pathlib.Path(path.name.removesuffix(compression)).suffix, compression


def _lines(path: pathlib.Path, summary: Summary) -> Iterator[tuple[int, str]]:
    """Numbered lines, stripped; bytes that are not UTF-8 become U+FFFD and are counted."""
    number = 0
    try:
        with _open(path) as file:
            for number, raw in enumerate(file, 1):
                try:
                    yield number, raw.decode('utf-8').strip('\ufeff \t\r\n')
                except UnicodeDecodeError:
                    summary.count('lines of invalid UTF-8, bad bytes replaced', f'{path}:{number}')
                    yield number, raw.decode('utf-8', 'replace').strip('\ufeff \t\r\n')
    except (EOFError, gzip.BadGzipFile, zlib.error, zstd.ZstdError) as error:
        raise ValueError(
            f'{path} is damaged after line {number} ({error}); replace it or leave it out'
        ) from error
    if number == 0:
        summary.count('empty files', str(path))


def _blank_line_separated(lines: Iterator[tuple[int, str]]) -> Iterator[Document]:
    document: Document = []
    for _, line in lines:
        if line:
            document.append(line)
        elif document:
            yield document
            document = []
    if document:
        yield document


def _jsonl(
    path: pathlib.Path, lines: Iterator[tuple[int, str]], field: str, summary: Summary
) -> Iterator[Document]:
    for number, line in lines:
        if not line:
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f'{path}:{number} is not JSON ({error})') from error
        if not isinstance(record, dict) or not isinstance(record.get(field), str):
            names = sorted(record) if isinstance(record, dict) else type(record).__name__
            raise ValueError(
                f'{path}:{number} has no text in field {field!r} (it has {names}); '
                'set config.data.text_field'
            )
        yield _split_lines(record[field])


def _split_lines(text: str) -> Document:
    return [stripped for line in text.split('\n') if (stripped := line.strip())]


def _tfds(name_and_split: str, data: DataConfig, summary: Summary) -> Iterator[Document]:
    import tensorflow_datasets as tfds  # brings TensorFlow: only where it is asked for

    name, _, split = name_and_split.rpartition(':')
    if not name or not split:
        raise ValueError(f'tfds:{name_and_split}: expected tfds:NAME[/CONFIG]:SPLIT')
    builder = tfds.builder(name, data_dir=data.data_dir or None)
    if data.text_field not in builder.info.features:
        raise ValueError(
            f'TFDS {name} has no feature {data.text_field!r} (it has '
            f'{sorted(builder.info.features)}); set config.data.text_field'
        )
    builder.download_and_prepare()
    if split not in builder.info.splits and '[' not in split:
        raise ValueError(
            f'TFDS {name} has no split {split!r}; it has {sorted(builder.info.splits)}'
        )
    config = tfds.ReadConfig(interleave_cycle_length=1)  # one order, whatever the machine
    for example in tfds.as_numpy(builder.as_dataset(split, read_config=config)):
        text = example[data.text_field]
        try:
            decoded = text.decode('utf-8')
        except UnicodeDecodeError:
            summary.count('examples of invalid UTF-8, bad bytes replaced')
            decoded = text.decode('utf-8', 'replace')
        yield _split_lines(decoded)

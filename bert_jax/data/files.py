"""Text files: plain or compressed, on this machine or behind a URL, as numbered lines of UTF-8."""

import bz2
import contextlib
import gzip
import io
import lzma
import pathlib
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from etils import epath

from bert_jax.config.files import is_remote
from bert_jax.data.file_kinds import PACKED, not_text
from bert_jax.data.summary import Summary

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSIONS: dict[str, Any] = {
    '.gz': gzip.open,
    '.bz2': bz2.open,
    '.xz': lzma.open,
    '.zst': zstd.open,
}
DAMAGED = (EOFError, zlib.error, zstd.ZstdError, lzma.LZMAError, gzip.BadGzipFile)
# A corpus is not UTF-8 if more than this share of its first lines is not, but few bad lines in a
# short corpus say nothing about the encoding.
CHECKED_LINES, MAX_BAD, MIN_BAD = 10_000, 0.01, 10


class Line(NamedTuple):
    """A line, or a part of a long line. passed: the bytes of the file that were read so far."""

    number: int
    content: bytes
    is_end: bool
    passed: int


class _Remote(io.RawIOBase):
    """A file that TensorFlow opened for epath, with the methods that a BufferedReader needs.

    TensorFlow's own files cannot read a part of a line.
    """

    def __init__(self, file: Any):
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._file.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def tell(self) -> int:
        return self._file.tell()


def kind(path: pathlib.PurePath) -> tuple[str, str]:
    """The suffixes of the content and of the compression, in small letters: ('.txt', '.gz') for
    a.TXT.gz."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else ''
    return suffixes[-1] if suffixes else '', compression


def raw_lines(path: pathlib.PurePath, name: str = '', longest: int = -1) -> Iterator[Line]:
    """The lines of a file with their ends, in parts of at most `longest` bytes.

    name: the name of the file in messages, by default its path. Raises ValueError, with the name
    and the line, if the file cannot be read or is damaged, if its beginning is not UTF-8, or if it
    has the line ends of old Macs.
    """
    name, number, is_end = name or str(path), 0, True
    try:
        with _open(epath.Path(path)) as (raw, file):
            _check_beginning(file.peek(1 << 12), name)
            while part := file.readline(longest):
                number += is_end
                is_end = part.endswith(b'\n') or len(part) != longest
                yield Line(number, part, is_end, raw.tell())
    except (*DAMAGED, OSError) as error:
        damaged = isinstance(error, DAMAGED)
        if isinstance(error, OSError) and error.errno is None and kind(path)[1] == '.bz2':
            damaged = True  # bz2 raises an OSError without an errno
        if not damaged:
            raise
        raise ValueError(
            f'{name} is damaged after line {number} ({error}); replace it or leave it out'
        ) from error


def lines(
    path: pathlib.Path, on_error: Callable[[ValueError], None] | None = None
) -> Iterator[str]:
    """The lines with their ends. Raises ValueError as `raw_lines` does, and for a line that is not
    UTF-8; `on_error` receives this error instead, and the line is empty."""
    try:
        for number, content, _, _ in raw_lines(path):
            try:
                # On Windows a file may begin with a byte order mark.
                yield content.decode('utf-8-sig' if number == 1 else 'utf-8')
            except UnicodeDecodeError as error:
                wrong = ValueError(
                    f'{path}:{number} is not UTF-8 (byte 0x{content[error.start]:02x}); '
                    f'{_advice(content)}'
                )
                if on_error is None:
                    raise wrong from error
                on_error(wrong)
                yield '\n'
    except OSError as error:
        raise ValueError(f'{path} cannot be read ({error.strerror or error})') from error


class Decoder:
    """Decodes the lines of a corpus. Lines with bad bytes, which become U+FFFD, are counted in
    `summary`. Raises ValueError if so many lines are bad that the text is not UTF-8."""

    def __init__(self, summary: Summary):
        self._summary, self._lines, self._bad = summary, 0, 0
        self._first_bad, self._sample = '', b''

    def decode(self, content: bytes, where: str) -> str:
        self._lines += 1
        try:
            return content.decode('utf-8')
        except UnicodeDecodeError:
            self._summary.count('lines of invalid UTF-8, bad bytes replaced', where)
        if self._lines <= CHECKED_LINES:
            self._bad += 1
            self._first_bad = self._first_bad or where
            self._sample += content if len(self._sample) < 1 << 16 else b''
            if self._bad > MAX_BAD * CHECKED_LINES:
                self._refuse()
        return content.decode('utf-8', 'replace')

    def finish(self) -> None:
        """Checks a corpus that has fewer than CHECKED_LINES lines; to be called after the last."""
        if self._bad >= MIN_BAD and self._bad > MAX_BAD * min(self._lines, CHECKED_LINES):
            self._refuse()

    def _refuse(self) -> None:
        raise ValueError(
            f'{self._first_bad}: this line and others, {self._bad} of the first '
            f'{min(self._lines, CHECKED_LINES):,} lines of the corpus, are not UTF-8; '
            f'{_advice(self._sample)}'
        )


@contextlib.contextmanager
def _open(path: epath.Path) -> Iterator[tuple[Any, Any]]:
    """Two open files: one of the bytes as they are stored, one of the decompressed bytes."""
    compression = kind(path)[1] if path.stat().length else ''  # 0 bytes are not compressed
    with path.open('rb') as stored:
        raw = io.BufferedReader(_Remote(stored), 1 << 20) if is_remote(path) else stored
        if compression:
            _check_packed(raw.peek(16), path, compression)
            with COMPRESSIONS[compression](raw, 'rb') as file:
                yield raw, file
        else:
            yield raw, raw


def _check_packed(block: bytes, path: epath.Path, compression: str) -> None:
    """Raises ValueError if a file is not compressed in the way that its name says."""
    other = next((end for start, end in PACKED.items() if block.startswith(start)), '')
    if other and other != compression:
        raise ValueError(f'{path} ends in {compression}, but its content is {other}; rename it')
    if wrong := '' if other else not_text(block):
        raise ValueError(f'{path} {wrong}, and its name should not end in {compression}')


def _check_beginning(block: bytes, name: str) -> None:
    if wrong := not_text(block):
        raise ValueError(f'{name}:1 {wrong}')
    if block.count(b'\r') > 1 and b'\n' not in block:
        raise ValueError(f'{name} has lines that end in CR alone; convert them to LF')


def _advice(sample: bytes) -> str:
    """The advice to convert text that is not UTF-8, with the encoding that it may have."""
    import charset_normalizer

    best = charset_normalizer.from_bytes(sample).best()
    guess = f' from {best.encoding}, which it may be,' if best else ''
    return f'convert it{guess} to UTF-8, for example with iconv'

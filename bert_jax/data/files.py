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

from bert_jax.config import disk
from bert_jax.config.files import is_remote
from bert_jax.data.file_kinds import NOT_PRINTED, PACKED, not_text
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
DAMAGED = (EOFError, zlib.error, zstd.ZstdError, lzma.LZMAError)
# A corpus is not UTF-8 if more than this share of its first lines is not, but few bad lines in a
# short corpus say nothing about the encoding.
CHECKED_LINES, MAX_BAD, MIN_BAD = 10_000, 0.01, 10
# A corpus of few long lines is not UTF-8 if it has at least so many bad characters, and a larger
# share of them than MAX_BAD.
MIN_BAD_CHARACTERS = 50
# The encodings that text files often have, the most likely ones first.
USUAL = (
    *('cp1252', 'mac_roman', 'cp1250', 'iso8859_2', 'cp1251', 'koi8_r', 'cp866', 'mac_cyrillic'),
    *('cp932', 'euc_jp', 'gb18030', 'big5', 'cp949', 'johab', 'cp1253', 'cp1254', 'cp1255'),
    *('cp1256', 'cp1257', 'cp874', 'cp037', 'cp500'),
)


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
        # Errors about damaged files have no errno, also those of gzip and bz2, which are OSErrors.
        if getattr(error, 'errno', None) is not None:
            with disk.explained(name, lambda: f'line {number} is the last that was read'):
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
        self._characters = self._bad_characters = 0
        self._first_bad, self._sample = '', b''

    def decode(self, content: bytes, where: str) -> str:
        self._lines += 1
        if self._lines == CHECKED_LINES:
            self.finish()
        try:
            text, is_bad = content.decode('utf-8'), False
        except UnicodeDecodeError:
            text, is_bad = content.decode('utf-8', 'replace'), True
            self._summary.count('lines of invalid UTF-8, bad bytes replaced', where)
        self._characters += len(text) if self._lines <= CHECKED_LINES else 0
        if is_bad and self._lines <= CHECKED_LINES:
            self._bad += 1
            self._bad_characters += text.count('\ufffd')
            self._first_bad = self._first_bad or where
            self._sample += content[: 1 << 16] if len(self._sample) < 1 << 16 else b''
            if self._bad > MAX_BAD * CHECKED_LINES:
                self._refuse()
        return text

    def finish(self) -> None:
        """Checks the lines so far; called after the last line, because a corpus may be short."""
        lines = min(self._lines, CHECKED_LINES)
        bad_lines = self._bad >= MIN_BAD and self._bad > MAX_BAD * lines
        is_enough = self._bad_characters >= MIN_BAD_CHARACTERS
        if bad_lines or (is_enough and self._bad_characters > MAX_BAD * self._characters):
            self._refuse()

    def _refuse(self) -> None:
        lines = f'{self._bad} of the first {min(self._lines, CHECKED_LINES):,} lines of the corpus'
        raise ValueError(
            f'{self._first_bad}: {lines}, beginning with this one, are not UTF-8; '
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
    wrong = '' if other else not_text(block)
    if not (other or wrong or NOT_PRINTED.search(block[:16])):
        wrong = 'is not compressed'
    if wrong:
        raise ValueError(f'{path} {wrong}, and its name should not end in {compression}')


def _check_beginning(block: bytes, name: str) -> None:
    if wrong := not_text(block):
        raise ValueError(f'{name}:1 {wrong}')
    if block.count(b'\r') > 1 and b'\n' not in block:
        raise ValueError(f'{name} has lines that end in CR alone; convert them to LF')


def _advice(sample: bytes) -> str:
    """The advice to convert text that is not UTF-8, with the encoding that it may have."""
    import charset_normalizer

    found = charset_normalizer.from_bytes(sample, cp_isolation=[*USUAL], threshold=0.4)
    if not found:
        return 'convert it to UTF-8, for example with iconv'
    best = [m for m in found if (m.chaos, m.coherence) == (found[0].chaos, found[0].coherence)]
    equal = {name for match in best for name in match.could_be_from_charset}
    encoding = next((name for name in USUAL if name in equal), best[0].encoding)
    # The message shows a part of the decoded text, because the guess may be wrong.
    text = sample.decode(encoding, 'replace')
    other = next((i for i, char in enumerate(text) if not char.isascii()), 0)
    shown = ' '.join(text[max(other - 10, 0) : other + 20].split())
    return (
        f'convert it from {encoding}, which it may be ({shown!r}), to UTF-8, for example with iconv'
    )

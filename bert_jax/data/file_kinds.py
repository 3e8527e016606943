"""Recognizes the kind of a file by its first bytes or lines, for messages about a wrong file."""

import contextlib
import json
import re
from collections.abc import Sequence

# The beginning of a file is not text if it has a larger share of zero bytes than MAX_NULS.
MAX_NULS = 0.2
# It is not text either if it has at least MIN_CONTROLS other control characters, and a larger share
# of them than MAX_CONTROLS. The limit is FEW_CONTROLS if a larger share than MAX_INVALID of the
# characters is not UTF-8.
MAX_CONTROLS, MIN_CONTROLS = 0.1, 8
FEW_CONTROLS, MAX_INVALID = 0.02, 0.05
CONTROLS = bytes({*range(1, 9), *range(14, 27), 127})

BOMS = {
    b'\xff\xfe\x00\x00': 'UTF-32',
    b'\x00\x00\xfe\xff': 'UTF-32',
    b'\xff\xfe': 'UTF-16',
    b'\xfe\xff': 'UTF-16',
}
# Encodings of text without a byte order mark, whose line ends and spaces have zero bytes.
WIDE = ('utf-32-le', 'utf-32-be', 'utf-16-le', 'utf-16-be')
# Encodings that write all characters as bytes of ASCII -> the bytes before characters that are not
# in ASCII.
SEVEN_BITS = {'iso2022_jp_2': b'\x1b$', 'iso2022_kr': b'\x0e', 'hz': b'~{', 'utf_7': b'+'}
MIN_BLANKS = 0.005  # the share of line ends and spaces in a text
MIN_OTHERS = 10  # characters that are not in ASCII
EXPORT = 'save its content as text'
UNPACK = 'unpack it'
# The first bytes of files that are not text -> the kind of such a file, and advice for the user.
MAGIC: dict[bytes | tuple[bytes, ...], tuple[str, str]] = {
    b'%PDF-': ('a PDF', EXPORT),
    b'{\\rtf': ('a document in RTF', EXPORT),
    b'\xd0\xcf\x11\xe0': ('an old Office document (.doc, .xls)', EXPORT),
    b'PAR1': ('a Parquet file', 'save its rows as .jsonl'),
    (b'ARROW1', b'\xff\xff\xff\xff'): ('an Arrow file', 'save its rows as .jsonl'),
    b'ORC\n': ('an ORC file', 'save its rows as .jsonl'),
    b'Obj\x01': ('an Avro file', 'save its rows as .jsonl'),
    b'SQLite format 3': ('an SQLite database', 'save its rows as .jsonl'),
    b'\x89HDF': ('an HDF5 file', 'save its text'),
    b'\x93NUMPY': ('a NumPy array', 'save its text'),
    (b'\x80\x02', b'\x80\x03', b'\x80\x04', b'\x80\x05'): (
        'a Python pickle',
        'save its rows as .jsonl',
    ),
    b'\x89PNG': ('a PNG image', 'a text file is needed'),
    b'\xff\xd8\xff': ('a JPEG image', 'a text file is needed'),
    b'GIF8': ('a GIF image', 'a text file is needed'),
    (b'II*\x00', b'MM\x00*'): ('a TIFF image', 'a text file is needed'),
    b'\x7fELF': ('a program', 'a text file is needed'),
    b'GGUF': ('a model in GGUF', 'a text file is needed'),
    b"7z\xbc\xaf'\x1c": ('a 7z archive', UNPACK),
    b'Rar!\x1a\x07': ('a RAR archive', UNPACK),
    b'\x04"M\x18': ('compressed by lz4', UNPACK),
    b'/annex/objects/': ('a pointer of git-annex and not the file itself', 'run git annex get'),
    b'version https://git-lfs.github.com/': (
        'a Git LFS pointer and not the file itself',
        'run git lfs pull',
    ),
}
# The first bytes of compressed files -> the suffix by which `files` knows how to open them.
PACKED = {
    b'\x1f\x8b': '.gz',
    b'BZh': '.bz2',
    b'\xfd7zXZ\x00': '.xz',
    b'\x28\xb5\x2f\xfd': '.zst',
}
ARCHIVES = {
    b'word/': ('a Word document (.docx)', EXPORT),
    b'xl/': ('an Excel workbook (.xlsx)', 'save it as .csv'),
    b'ppt/': ('a PowerPoint file (.pptx)', EXPORT),
    b'opendocument': ('an OpenDocument file', EXPORT),
    b'epub': ('an EPUB book', EXPORT),
    b'.npy': ('a file of NumPy arrays (.npz)', 'save its text'),
}
TEXT_MAGIC = (b'%PDF-', b'{\\rtf', b'version https', b'/annex/objects/')
NOT_PRINTED = re.compile(rb'[^\t-\r -~]')
TAG = re.compile(r'<[/!?]?[A-Za-z].*>')
NAME = re.compile(r'[\w#]*( ?[\w#]+){0,2}')  # the name of a column
PAGE = re.compile(r'<!doctype html|<html', re.IGNORECASE)
SAFETENSORS = re.compile(rb'.{6}\x00\x00\{\s*"', re.DOTALL)  # the length of a header, then JSON


def not_text(block: bytes) -> str:
    """The end of a message about a file that begins with `block`: what the file is, and what to do.
    It is '' if the file may be text in UTF-8."""
    if encoding := _encoding(block):
        return f'is not UTF-8, it is {encoding}; convert the file, for example with iconv'
    found = next((kind for start, kind in MAGIC.items() if block.startswith(start)), None)
    if not block.startswith(TEXT_MAGIC) and not NOT_PRINTED.search(block[:16]):
        found = None  # a text can begin with PAR1 or GIF89a
    if block.startswith(b'PK\x03\x04'):
        found = next((kind for name, kind in ARCHIVES.items() if name in block), None)
        found = found or ('a zip archive', UNPACK)
    elif block[257:262] == b'ustar':
        found = 'a tar archive', UNPACK
    elif SAFETENSORS.match(block):
        found = 'a safetensors file', 'a text file is needed'
    if found:
        return f'is {found[0]}; {found[1]}'
    packed = next((suffix for start, suffix in PACKED.items() if block.startswith(start)), '')
    if packed and NOT_PRINTED.search(block[:16]):
        return f'is compressed; give it a name that ends in {packed}'
    if block.count(0) > MAX_NULS * len(block):
        return (
            'is not UTF-8, it is UTF-16 or binary (it has many zero bytes); convert the file, for '
            'example with iconv'
        )
    controls = len(block) - len(block.translate(None, CONTROLS))
    is_utf8 = block.decode('utf-8', 'replace').count('\ufffd') <= MAX_INVALID * len(block)
    if controls >= MIN_CONTROLS and controls > len(block) * (
        MAX_CONTROLS if is_utf8 else FEW_CONTROLS
    ):
        return f'is not text: {controls} of its first {len(block)} bytes are control characters'
    return ''


def _encoding(block: bytes) -> str:
    """The encoding of a text that is not UTF-8, if its bytes show it; otherwise ''."""
    if marked := next((name for bom, name in BOMS.items() if block.startswith(bom)), ''):
        return marked
    if 0 in block:
        for name in WIDE:
            text = block[: len(block) // 4 * 4].decode(name, 'replace')
            blanks = text.count('\n') + text.count(' ')
            if not {'\0', '\ufffd'} & {*text[:-1]} and blanks > MIN_BLANKS * len(text):
                return f'{name[:6].upper()} without a byte order mark ({name})'
    for name, start in SEVEN_BITS.items() if block.isascii() else ():
        if start in block:
            with contextlib.suppress(UnicodeDecodeError):
                text = (block.rpartition(b'\n')[0] or block).decode(name)
                if sum(not char.isascii() for char in text) >= MIN_OTHERS:
                    return name
    return ''


def text_kind(lines: Sequence[str]) -> str:
    """The format that the first lines of a text file seem to have (JSON, HTML, XML, a table or a
    Markdown table), and the name or the form that the file needs; '' if they look like text."""
    kept = [line.strip(' \r\n') for line in lines if line.strip()]
    if not kept:
        return ''
    first = kept[0].removeprefix('\ufeff')
    if is_json(first, dict):
        return 'JSON objects, one on each line; such a file needs a name that ends in .jsonl'
    if is_json(first, list) or first in ('[', '{', '[{') or first.startswith(('[{"', '{"')):
        return 'JSON; such a file needs a name that ends in .json'
    if any(PAGE.match(line) for line in kept):
        return 'HTML, a web page; save its text'
    tags = sum(bool(TAG.fullmatch(line)) for line in kept)
    least = 0.25 if TAG.fullmatch(first) else 0.8
    if first.startswith('<?xml') or tags > least * len(kept):
        return 'XML; save its text'
    bars = sum(line.startswith('|') and line.endswith('|') for line in kept)
    if len(kept) > 1 and bars > 0.8 * len(kept):
        return 'a Markdown table; save it as .csv, or without the bars'
    return _table(kept)


def separator(line: str) -> str:
    """The character that may separate the columns of a line: the most frequent of tab, comma,
    semicolon and bar; '' if the line has none of them."""
    best = max('\t,;|', key=line.count)
    return best if best in line else ''


def is_json(line: str, kind: type) -> bool:
    """Returns whether a line is JSON and its value is a `kind`, dict or list."""
    if not line.startswith(('{', '[')):
        return False
    try:
        return isinstance(json.loads(line), kind)
    except (ValueError, RecursionError):
        return False


def _table(lines: Sequence[str]) -> str:
    """A description of the table that the lines look like, and advice; '' if they are no table.

    They are a table if they have the same number of tabs, or the same number of commas, semicolons
    or bars below a line of names.
    """
    mark = separator(lines[0])
    counts = {line.count(mark) for line in lines} if mark else set()
    named = all(NAME.fullmatch(cell.strip().strip('"')) for cell in lines[0].split(mark or None))
    least = lines[0].count(mark) if mark else 0
    same = len(counts) == 1 or (named and least > 1 and min(counts) == least)
    if len(lines) < 2 or not same or not (mark == '\t' or named):
        return ''
    shown = 'tabs' if mark == '\t' else repr(mark)
    return f'a table, its columns separated by {shown}; save it as .csv, .tsv or .jsonl'

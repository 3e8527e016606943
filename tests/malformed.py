"""Damage to the files of readers: bytes, lines, cells, JSON values, encodings, and files of another
kind under the same name."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from reader_files import READERS, Reader

# Content that is right for several readers: it is no damage there.
LIKE = {'text.txt': {'lines.txt'}, 'lines.txt': {'text.txt'}}
OTHERS = {reader.name: reader.good for reader in READERS.values()} | {
    'page.html': '<!DOCTYPE html>\n<html>\n<body>\n<p>the film</p>\n</body>\n</html>\n',
    'table.md': '| word | tag |\n|---|---|\n| anna | B-PER |\n| went | O |\n',
    'x.xml': '<?xml version="1.0"?>\n<s><w>anna</w></s>\n',
    'prose.txt': 'The film was good\nIt had a plot\nAnna went to town\n',
    'semicolons.csv': 'text;label\nthe film;pos\na plot;neg\n',
}
VALUES: list[Any] = [None, True, 3, -1, 2.5, 1e400, '', ' ', 'x', '\ud800', '7', [], {}, ['x']]
VALUES += [[[0, 4, 'PER']], [None], {'text': 1}]
SCALARS = st.sampled_from(VALUES)
JUNK = [*'",\t {}[]\\:\n\r\0|;-\ufeff\u200b\xa0\u2028\'#\x07O', 'B-', '1.0', 'null', 'NaN', '<p>']


@st.composite
def damaged(draw: Callable[..., Any], reader: Reader) -> tuple[str, bytes]:
    """The kind of the damage, and the content of a damaged file."""
    has_json = reader.name.endswith(('.json', '.jsonl'))
    kind = draw(st.sampled_from([kind for kind in KINDS if has_json or 'JSON' not in kind]))
    return kind, KINDS[kind](draw, reader)


def _bytes(draw: Callable[..., Any], reader: Reader) -> bytes:
    content = bytearray(reader.good.encode())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        what = draw(st.sampled_from(['set', 'insert', 'delete']))
        if what == 'delete':
            del content[at : at + draw(st.integers(1, 40))]
        else:
            content[at : at + (what == 'set')] = draw(st.binary(min_size=1, max_size=3))
    return bytes(content)


def _cut(draw: Callable[..., Any], reader: Reader) -> bytes:
    content = reader.good.encode()
    return content[: draw(st.integers(0, len(content) - 1))]


def _lines(draw: Callable[..., Any], reader: Reader) -> bytes:
    rows = reader.good.splitlines(keepends=True)
    other = draw(st.sampled_from([*OTHERS.values()])).splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 2))):
        i, j = (draw(st.integers(0, len(rows) - 1)) for _ in range(2))
        what = draw(
            st.sampled_from(['drop', 'twice', 'swap', 'join', 'blank', 'foreign', 'reverse'])
        )
        if what == 'drop' and len(rows) > 1:
            del rows[i]
        elif what == 'twice':
            rows.insert(j, rows[i])
        elif what == 'swap':
            rows[i], rows[j] = rows[j], rows[i]
        elif what == 'join':
            rows[i] = rows[i].rstrip('\n')
        elif what == 'blank':
            rows.insert(i, draw(st.sampled_from(['\n', ' \n', '\t\n', '""\n'])))
        elif what == 'foreign':
            rows.insert(i, draw(st.sampled_from(other)))
        else:
            rows[i] = rows[i].rstrip('\n')[::-1] + '\n'
    return ''.join(rows).encode()


def _cells(draw: Callable[..., Any], reader: Reader) -> bytes:
    content = reader.good
    for _ in range(draw(st.integers(1, 3))):
        i = draw(st.integers(0, len(content)))
        width = draw(st.sampled_from([0, 0, 1, 4]))
        content = content[:i] + draw(st.sampled_from(JUNK)) + content[i + width :]
    return content.encode('utf-8', 'replace')


def _json(draw: Callable[..., Any], reader: Reader) -> bytes:
    """A value of another type, or a key that is missing, renamed or there twice."""
    one = reader.name.endswith('.json')
    rows = [reader.good] if one else reader.good.splitlines()
    i = draw(st.integers(0, len(rows) - 1))
    record = json.loads(rows[i])
    holder, key = {'': record}, ''
    node: Any = record
    while isinstance(node, dict | list) and node and draw(st.integers(0, 3)):
        holder = node
        key = (
            draw(st.sampled_from([*node]))
            if isinstance(node, dict)
            else draw(st.integers(0, len(node) - 1))
        )
        node = holder[key]
    what = draw(st.sampled_from(['value', 'drop', 'rename', 'wrap', 'again']))
    if not isinstance(holder, dict) or (key == '' and what in ('drop', 'rename')):
        what = 'value'
    if what == 'value':
        holder[key] = draw(SCALARS)
    elif what == 'drop':
        del holder[key]
    elif what == 'rename':
        holder[str(key) + 's'] = holder.pop(key)
    elif what == 'wrap':
        holder[key] = [holder[key]]
    changed = holder[''] if key == '' else record
    rows[i] = json.dumps(changed)
    if what == 'again' and isinstance(changed, dict) and changed:
        first = next(iter(changed))
        rows[i] = '{' + json.dumps(first) + ': "x", ' + rows[i][1:]
    return '\n'.join(rows).encode()


ENCODINGS = ['utf-16', 'utf-16-le', 'utf-32', 'latin-1', 'cp437', 'utf-8-sig', 'utf-7']
ENCODINGS += ['cr', 'crlf', 'gzip', 'half gzip', 'zip']


def _encoding(draw: Callable[..., Any], reader: Reader) -> bytes:
    name = draw(st.sampled_from(ENCODINGS))
    good = reader.good + 'é' * draw(st.integers(0, 1))
    if name == 'cr':
        return reader.good.replace('\n', '\r').encode()
    if name == 'crlf':
        return reader.good.replace('\n', '\r\n').encode()
    if name in ('gzip', 'half gzip'):
        packed = gzip.compress(good.encode(), mtime=0)
        return packed if name == 'gzip' else packed[: len(packed) // 2]
    if name == 'zip':
        file = io.BytesIO()
        with zipfile.ZipFile(file, 'w') as archive:
            archive.writestr(
                draw(st.sampled_from(['word/document.xml', 'xl/a.xml', 'a.csv'])), good
            )
        return file.getvalue()
    return (reader.good if name == 'utf-8-sig' else good).encode(name, 'replace')


def _other(draw: Callable[..., Any], reader: Reader) -> bytes:
    names = [n for n in OTHERS if n != reader.name and n not in LIKE.get(reader.name, ())]
    return OTHERS[draw(st.sampled_from(sorted(names)))].encode()


MAGIC = [b'%PDF-1.7\n', b'PAR1\x15\x04', b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff\xe0', b'\x80\x04\x95']
MAGIC += [b'\x93NUMPY\x01\0', b'SQLite format 3\0', b'\x10\0\0\0\0\0\0\0{"a":', b'BZh9\x17']
MAGIC += [b'\x28\xb5\x2f\xfd\0', b'']


def _binary(draw: Callable[..., Any], reader: Reader) -> bytes:
    return draw(st.sampled_from(MAGIC)) + bytes(range(256)) + draw(st.binary(max_size=60))


KINDS: dict[str, Callable[[Callable[..., Any], Reader], bytes]] = {
    'bytes changed': _bytes,
    'cut off': _cut,
    'lines moved, lost, joined, foreign': _lines,
    'separators, quotes, odd characters': _cells,
    'JSON values and keys': _json,
    'encodings and compression': _encoding,
    'a file of another kind': _other,
    'binary': _binary,
}

import bz2
import errno
import gzip
import json
import lzma
import os
from unittest import mock

import pytest

from bert_jax.config import DataConfig, disk
from bert_jax.data import files
from bert_jax.data.files import zstd
from bert_jax.data.summary import Summary
from bert_jax.data.text import readers

TEXT = 'First line.\n  Second line.\n\n\n\n\tAnother document. \n'
COMPRESS = {
    '': bytes,
    '.gz': gzip.compress,
    '.zst': zstd.compress,
    '.bz2': bz2.compress,
    '.xz': lzma.compress,
}


def read(pattern, summary=None, **options):
    source = readers.source(DataConfig(corpus=f'text:{pattern}', **options))
    return list(source.read(summary or Summary()))


def put(path, content, compression=''):
    path.parent.mkdir(exist_ok=True)
    raw = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(COMPRESS[compression](raw))
    return path


@pytest.mark.parametrize('compression', COMPRESS)
def test_documents_end_at_blank_lines_or_with_the_file(tmp_path, compression):
    path = put(tmp_path / f'a.txt{compression}', TEXT, compression)
    lines = ['First line.', 'Second line.', 'Another document.']
    assert read(path) == [lines[:2], lines[2:]]
    assert read(path, documents='file') == [lines]
    put(path, TEXT.replace('\n', '\r\n').removesuffix('\r\n'), compression)
    assert read(path) == [lines[:2], lines[2:]]


@pytest.mark.parametrize('compression', COMPRESS)
def test_jsonl(tmp_path, compression):
    records = [{'text': 'One.\nTwo.\n\nThree.', 'id': 1}, {'text': 'Four.'}]
    content = '\n'.join(map(json.dumps, records)) + '\n\n'
    path = put(tmp_path / f'a.jsonl{compression}', content, compression)
    assert read(path) == [['One.', 'Two.', 'Three.'], ['Four.']]
    put(path, '{"body": "Hello."}', compression)
    assert read(path, text_field='body') == [['Hello.']]


def test_files_come_in_the_order_of_their_names(tmp_path):
    for name in ('b.txt', 'a.txt', 'd/e/c.txt'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        put(tmp_path / name, f'This is {name}.')
    assert read(tmp_path / '*.txt') == [['This is a.txt.'], ['This is b.txt.']]
    assert read(tmp_path / '**/*.txt') == [
        [f'This is {n}.'] for n in ('a.txt', 'b.txt', 'd/e/c.txt')
    ]


def test_invalid_utf8_is_replaced_and_counted(tmp_path):
    put(tmp_path / 'a.txt', 'Füne.\n'.encode() + b'caf\xe9 ol\xe9\nfine\n\xff\n')
    summary = Summary()
    assert read(tmp_path / 'a.txt', summary) == [['Füne.', 'caf\ufffd ol\ufffd', 'fine', '\ufffd']]
    name = f'lines of invalid UTF-8, bad bytes replaced (first: {tmp_path}/a.txt:2)'
    assert summary.lines()[name] == 2


@pytest.mark.parametrize('number', [1, 20])
def test_text_in_another_encoding_is_refused_by_name(tmp_path, number):
    for i in range(number):
        text = '\n'.join(['élève à côté de là', 'déjà vu'] * (20 // number))
        put(tmp_path / f'{i:02}.txt', text.encode('latin-1'))
    with pytest.raises(
        ValueError, match=r'00\.txt:1: .* not UTF-8; convert it from \S+, which .*v'
    ):
        read(tmp_path / '*')
    put(tmp_path / '00.txt', 'fine\n' * 20_000 + 'x')
    summary = Summary()
    read(tmp_path / '*', summary)  # too late to be all of it
    assert number == 1 or len(summary.lines()) == 2


def test_a_wrong_encoding_ends_a_long_corpus_early(tmp_path):
    wide = (('水火木金' * 12).encode() + b'\xff') * 60  # a share of the characters counts
    for text, says in ((b'caf\xe9\n' * 1_000, '101 of the first 101'), (wide, '1 of the first 1')):
        put(tmp_path / 'a.txt', text)
        with pytest.raises(ValueError, match=rf'{says} lines .* convert it'):
            read(tmp_path / 'a.txt')


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le', 'utf-16-be', 'utf-32', 'utf-32-le'])
@pytest.mark.parametrize('compression', COMPRESS)
def test_utf16_is_refused(tmp_path, encoding, compression):
    put(tmp_path / f'a.txt{compression}', 'Some text. And more.\n'.encode(encoding), compression)
    with pytest.raises(ValueError, match=rf'a\.txt{compression}:1 is not UTF-8, it is UTF-'):
        read(tmp_path / '*')


def test_a_folder_and_braces(tmp_path):
    for name in ('b/c.txt', 'b/d.jsonl', 'b/image.png', 'a.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        put(tmp_path / name, '{"text": "Hello."}' if name.endswith('l') else f'This is {name}.')
    assert read(tmp_path / 'b') == [['This is b/c.txt.'], ['Hello.']]
    assert read(tmp_path / '{b/c,a}.txt') == [['This is b/c.txt.'], ['This is a.txt.']]
    assert read(tmp_path / '{a,b/{c,c}}.txt') == [['This is a.txt.'], ['This is b/c.txt.']]
    summary = Summary()
    read(tmp_path / '{b,*}', summary)
    assert f'folders, left out (first: {tmp_path}/b/image.png): 2' in str(summary)
    put(tmp_path / 'c' / 'a.csv', '')
    for pattern, message in {
        '{a,e}.txt': r'no file matches .*e\.txt',
        'c': r"the folder '.*c' has no file that ends in \.txt, .*; it has other files, .* a\.csv",
        '[bc]': r"'.*\[bc\]' matches only folders, such as .*b; give .*\[bc\]/\*\.txt",
        '$HOME': r'the shell replaces \$NAME only outside of single quotes',
    }.items():
        with pytest.raises(ValueError, match=message):
            read(tmp_path / pattern)


def test_json_lines_with_the_names_of_c4(tmp_path):
    put(tmp_path / 'c4-train.00000-of-01024.json.gz', '{"text": "Hello.\\nYou."}', '.gz')
    assert read(tmp_path / '*') == [['Hello.', 'You.']]
    put(tmp_path / 'wiki_00', 'text')
    with pytest.raises(ValueError, match=r'wiki_00: expected .*Rename'):
        read(tmp_path / 'wiki_*')


def test_a_byte_order_mark_is_no_text(tmp_path):
    put(tmp_path / 'a.txt', '\ufeffHello.')
    assert read(tmp_path / 'a.txt') == [['Hello.']]


@pytest.mark.parametrize('compression', COMPRESS)
def test_empty_files_are_counted(tmp_path, compression):
    path = put(tmp_path / f'a.txt{compression}', '', compression)
    summary = Summary()
    assert read(path, summary) == []
    assert summary.lines() == {'files': 1, f'empty files (first: {path})': 1}
    assert read(path, summary, documents='file') == []


@pytest.mark.parametrize('compression', ['.gz', '.zst', '.bz2', '.xz'])
def test_truncated_files_are_named_with_the_line(tmp_path, compression):
    lines = [os.urandom(40).hex() for _ in range(5000)]
    path = put(tmp_path / f'a.txt{compression}', '\n'.join(lines), compression)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(
        ValueError, match=rf'a\.txt{compression} is damaged after line \d+'
    ) as caught:
        read(path)
    least = 0 if compression == '.bz2' else 1000  # it decompresses blocks of 900 kB
    assert least <= int(str(caught.value).split('line ')[1].split()[0]) < 4000
    path.write_bytes(b'not compressed')
    with pytest.raises(ValueError, match='is not compressed, and its name should not'):
        read(path)


def test_an_error_of_the_disk_names_the_file(tmp_path, monkeypatch):
    path = put(tmp_path / 'a.txt', TEXT)
    monkeypatch.setattr(files, '_check_beginning', mock.Mock(side_effect=OSError(errno.EIO, 'x')))
    with pytest.raises(
        disk.DiskError, match=rf'input/output error\) for {path}; line 0 is the last'
    ):
        read(path)
    monkeypatch.setattr(os, 'scandir', mock.Mock(side_effect=OSError(errno.EACCES, 'x', 'b')))
    with pytest.raises(ValueError, match=r'the folder b cannot be read \(x\); give a folder'):
        read(tmp_path)


def test_broken_records_are_named_with_file_and_line(tmp_path):
    path = put(tmp_path / 'a.jsonl', '{"text": "Fine."}\n{"text": "brok\n')
    with pytest.raises(ValueError, match=r'a\.jsonl:2 is not JSON'):
        read(path)
    messages = {
        '{"txt": "a"}': r"has no field 'text', it has \['txt'\]",
        '{"text": null}': r"has null in 'text'; expected a string",
        '{"text": NaN}': r"has NaN in 'text'; expected a string",
        '{"text": ["a"]}': r"has \[\"a\"\] in 'text'; expected a string",
        '["text"]': 'is .*; expected an object on each line',
        '7': 'is 7; expected an object on each line',
    }
    for record, message in messages.items():
        put(path, '{"text": "Fine."}\n' + record)
        with pytest.raises(ValueError, match=rf'a\.jsonl:2 {message}.*text_field'):
            read(path)
    put(path, '{"text": "Fine.", "more": {"text": "x"}}\n{"text": "a", "text": "b"}')
    with pytest.raises(ValueError, match=r"a\.jsonl:2 is not JSON .*the key 'text' twice"):
        read(path)
    put(path, '{\n"text": "Fine."\n}\n')
    with pytest.raises(ValueError, match=r'a\.jsonl:1 is not JSON .* not one value over several'):
        read(path)


def test_half_a_surrogate_pair_is_replaced_and_counted(tmp_path):
    path = put(
        tmp_path / 'a.jsonl', r'{"text": "odd \ud83d here"}' + '\n' + r'{"text": "\ud83d\ude00"}'
    )
    summary = Summary()
    assert read(path, summary) == [['odd \ufffd here'], ['😀']]
    assert summary.lines()[f'records with lone surrogates, replaced (first: {path}:1)'] == 1


def test_long_lines_and_documents_are_cut_not_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, 'MAX_BYTES', 100)
    words = [f'word{i:04}' for i in range(40)]
    path = put(tmp_path / 'a.txt', ' '.join(words) + '\n' + '\n'.join(words))
    summary = Summary()
    documents = read(path, summary)
    assert len(documents) > 3 and max(sum(map(len, d)) for d in documents) < 300
    together = ''.join(''.join(document) for document in documents)
    assert together.replace(' ', '') == 2 * ''.join(words)
    assert summary.lines()[f'lines cut after 100 bytes (first: {path}:1)'] == 3
    assert any(key.startswith('documents split after') for key in summary.lines())


@pytest.mark.parametrize('words', ['wörd ', '日本', 'é', '😀'])
@pytest.mark.parametrize('longest', [97, 100, 101])
def test_no_character_is_cut_in_two(tmp_path, monkeypatch, words, longest):
    monkeypatch.setattr(readers, 'MAX_BYTES', longest)
    path = put(tmp_path / 'a.txt', 'Before.\n\n' + words * 100 + '\n\nbéfore.')
    summary = Summary()
    together = ''.join(''.join(document) for document in read(path, summary))
    assert together.replace(' ', '') == 'Before.' + words.strip() * 100 + 'béfore.'
    assert not any('UTF-8' in key for key in summary.lines())
    assert f'lines cut after {longest} bytes (first: {path}:3)' in summary.lines()


def test_lines_are_numbered_as_in_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, 'MAX_BYTES', 100)
    path = put(tmp_path / 'a.txt', b'word ' * 100 + b'\nfine\n\nb\xe9d\n')
    summary = Summary()
    read(path, summary)
    assert f'lines of invalid UTF-8, bad bytes replaced (first: {path}:4)' in summary.lines()


def test_numbers_beyond_python_and_empty_records_are_named(tmp_path):
    path = put(tmp_path / 'a.jsonl', '{"text": ""}\n{"text": ' + '9' * 5000 + '}\n')
    with pytest.raises(ValueError, match=r'a\.jsonl:2 is not JSON'):
        read(path)
    put(path, '{"text": "A."}\n{"text": " \\n"}\n')
    summary = Summary()
    assert read(path, summary) == [['A.']]
    assert summary.lines()[f'empty documents, left out (first: {path}:2)'] == 1


def test_a_link_to_nowhere_is_named_and_a_name_with_brackets_found(tmp_path):
    put(tmp_path / 'a[1].txt', 'Hello.')
    assert read(tmp_path / 'a[1].txt') == [['Hello.']]
    put(tmp_path / 'c[1]' / 'a.txt', 'Hello.')
    assert read(tmp_path / 'c[1]' / '*.txt') == [['Hello.']]
    (tmp_path / 'b.txt').symlink_to(tmp_path / 'gone.txt')
    with pytest.raises(ValueError, match=r'b\.txt is not a file, or a broken link'):
        read(tmp_path / '*.txt')


def test_a_file_with_several_names_is_read_once(tmp_path):
    file = put(tmp_path / 'a.txt', 'Hello.')
    (tmp_path / 'b.txt').symlink_to('a.txt')
    os.link(file, tmp_path / 'c.txt')
    (tmp_path / 'loop').symlink_to('.')
    for pattern in ('*.txt', '{b,a}.txt', '**/*.txt', ''):
        summary = Summary()
        assert read(tmp_path / pattern, summary) == [['Hello.']]
        assert summary.counts['files'] == 1
        assert 'links to files that are read under another name' in str(summary), pattern


def test_what_matches_nothing_or_is_no_text_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no file matches .*\*\.txt' \(from "):
        read(tmp_path / '*.txt')
    with pytest.raises(ValueError, match=r'braces list several files: text:\{a,b\}.txt'):
        read('a.txt,b.txt')
    put(tmp_path / 'a.csv', 'a,b')
    with pytest.raises(ValueError, match=r'a\.csv: expected a name that ends in \.txt, \.jsonl'):
        read(tmp_path / '*')
    for corpus in ('txt:a', 'text:', 'tfds', 'builtin:x', ''):
        with pytest.raises(ValueError, match=r'[Ee]xpected text:FOLDER, text:GLOB, tfds:'):
            readers.source(DataConfig(corpus=corpus))


@pytest.mark.parametrize('compression', COMPRESS)
def test_how_far_reading_is_can_be_seen(tmp_path, compression):
    for name in 'abc':
        put(tmp_path / f'{name}.txt{compression}', TEXT * 1000, compression)
    source = readers.source(DataConfig(corpus=f'text:{tmp_path}/*'))
    summary = Summary()
    seen = [summary.passed for _ in source.read(summary)]
    assert seen == sorted(seen) and seen[-1] == source.size > 0
    assert len(set(seen)) >= 3

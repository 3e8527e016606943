"""Markup in a corpus is read as text and counted. Ordinary text is not."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from bert_jax.config import DataConfig
from bert_jax.data.summary import Document, Summary
from bert_jax.data.text import markup, readers

PROSE = 'The pump lost pressure on Monday.\nIt was cleaned, and passed the test.\n'
LINES = {
    'tags or entities of HTML or XML': ['<p class="a">The pump.</p>', 'valve &amp; boat<br/>'],
    'markup of MediaWiki': ["'''Pump''' is a [[boat|small boat]].", '== History ==', '{{Box|a=b}}'],
    'commands of LaTeX': ['\\section{Pumps}', 'As in \\cite{a}.'],
    'entries of BibTeX': ['@article{pump,', 'year = 2020', '}'],
    'times of subtitles': [
        '00:00:01,000 --> 00:00:02,900',
        '00:01.000 --> 00:02.900',
        '[00:12.00]The pump',
        'Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,The pump',
    ],
    'headers of WARC or WET files': ['WARC/1.0'],
    'headers of e-mails': ['From: a@b.c', 'Subject: the pump'],
    'numbers and bars of PubTator': ['12|t|The pump', '12|a|The pump failed.'],
    'lines such as ---, as around a header in YAML': ['---'],
    'headers of FASTA, such as >name': ['>sp|P1|PUMP_HUMAN a pump'],
    'a notice of Project Gutenberg': ['*** START OF THE PROJECT GUTENBERG', 'Project Gutenberg'],
    'quoted-printable characters': ['caf=C3=A9'],
    'lines without a space, such as base64 or DNA': ['acgt' * 15 + 'ACGT'],
    'special tokens such as [SEP]': ['[CLS] The pump. [SEP]', '<s> a </s>', 'p@@ ump'],
    'line breaks that are written as \\n': ['The pump.\\nIt failed.'],
    'other line ends, such as U+2028': ['The pump.\u2028It failed.', 'The pump.\x85It failed.'],
    'lines of invisible characters, which end no document': ['\u200b', '\xad\ufeff'],
}
TWICE = ['à côté de la forêt', 'вода и лес', '水火木金']


def read(path: pathlib.Path, summary: Summary, **options: Any) -> list[Document]:
    return list(readers.source(DataConfig(corpus=f'text:{path}', **options)).read(summary))


@pytest.mark.parametrize('what', LINES)
def test_markup_is_counted(tmp_path: pathlib.Path, what: str) -> None:
    assert {*LINES} == {*markup.PATTERNS}
    path = tmp_path / 'a.txt'
    for line in LINES[what][-1:] if 'Gutenberg' in what else LINES[what]:
        if what != 'entries of BibTeX' or line[0] == '@':
            assert what in [*markup.kinds([line])], line
    path.write_text(PROSE + '\n'.join(LINES[what] * 9) + '\n\n' + PROSE)
    records = [{'text': PROSE}, {'text': '\n'.join(LINES[what] * 9)}]
    path.with_name('b.jsonl').write_text('\n'.join(map(json.dumps, records)))
    for name in ('a.txt', 'b.jsonl'):
        summary = Summary()
        documents = read(tmp_path / name, summary)
        assert len(documents) == 2, 'nothing is lost'
        assert f'files with {what} (first: {tmp_path / name}): 1' in str(summary)


@pytest.mark.parametrize('text', TWICE)
@pytest.mark.parametrize('encoding', ['cp1252', 'latin-1'])
def test_text_that_was_decoded_twice_is_counted(text: str, encoding: str) -> None:
    wrong = text.encode().decode(encoding, 'replace')
    if '\ufffd' not in wrong:
        (what,) = markup.kinds([PROSE, wrong])
        assert what.startswith('UTF-8 that was decoded as another encoding')
    assert not [*markup.kinds([PROSE, text, 'Ã la carte', '«Â»'])]


def test_ordinary_text_is_not_counted() -> None:
    lines = [
        *PROSE.split('\n'),
        'if a < b and b > c: return a',
        'AT&T has 3 < 4 & 5 > 2; see http://x.org/a=01b?q=C3.',
        '>>> print("a")',
        '> a quotation',
        'He came at 12:30:15.5 and left.',
        'Dear Ann, from: nobody',
        '1 | a | b',
        '-- and so on --',
        'a + b = c - d',
        'x' * 59,
        '水火木金土日月山川田人口' * 9,
    ]
    assert not [*markup.kinds(lines)], [*markup.kinds(lines)]


@pytest.mark.parametrize(
    'tag', ['<doc id="1" url="u">', "<doc url='u' id='1'>", '<doc id="1" title="a &quot;b&quot;">']
)
def test_markup_of_wikiextractor_is_refused_anywhere(tmp_path: pathlib.Path, tag: str) -> None:
    path = tmp_path / 'a.txt'
    path.write_text(PROSE * 20 + f'\n{tag}\nT\n\nA sentence.\n\n</doc>\n')
    for documents in ('blank_line', 'line', 'file', 'heading'):
        with pytest.raises(ValueError, match=r'a\.txt:42 is .* WikiExtractor, .* --json'):
            read(path, Summary(), documents=documents)


def test_articles_of_wikitext(tmp_path: pathlib.Path, shared_data: Callable) -> None:
    """An article is a document if the option is set; otherwise a line says so."""
    path = shared_data('corpora/wikitext2-test.txt')
    summary = Summary()
    documents = read(path, summary, documents='heading')
    titles = [document[0] for document in documents]
    assert len(documents) == 62 and titles[:2] == ['= Robert Boulter =', '= Du Fu =']
    assert '= = Career = =' in documents[0] and 'headings' not in str(summary)
    assert len(read(path, summary)) > 1000
    assert 'text files with headings such as = Title =, as in WikiText; config.data' in str(summary)
    (tmp_path / 'b.txt').write_text('1 = 1 = 1\n\n= = Early = =\nx\n\n=\n= =\n')
    summary = Summary()
    assert len(read(tmp_path / 'b.txt', summary, documents='heading')) == 1
    read(tmp_path / 'b.txt', summary)
    assert 'headings' not in str(summary)


def test_line_ends_of_old_macs_are_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'a.txt'
    path.write_bytes(b'One.\rTwo.\r\rThree.\r')
    with pytest.raises(ValueError, match=r'a\.txt has lines that end in CR alone; convert them'):
        read(path, Summary())
    path.write_bytes(b'One.\r\nTwo.\r\n')
    assert read(path, Summary()) == [['One.', 'Two.']]

"""Finds markup, and other things that are not text, in the first lines of a corpus's files.

All of it is read as text, because a model may have to learn it. The files that have it are counted,
because most often the user has only forgotten to remove it.
"""

import itertools
import re
from collections.abc import Iterator, Sequence

from bert_jax.data.file_kinds import text_kind
from bert_jax.data.summary import Document, Summary

LOOKED_AT = 20  # lines of a file
HEADING = re.compile(r'= (?!= ).+(?<! =) =')  # of an article in WikiText, not of a section
TIME = r'(\d+:)?\d\d:\d\d[.,]\d{2,3}'
# By the name of a kind of markup: a pattern that is searched in each line, and the share of lines
# that must contain it before the file is counted.
PATTERNS = {
    'tags or entities of HTML or XML': (r'</?[A-Za-z][\w:]*( [^<>]*)?/?>|&(\w{2,6}|#\d+);', 0.2),
    'markup of MediaWiki': (r"\[\[[^\]]+\]\]|\{\{[^{}]+\}\}|'''|^==+ .* ==+$", 0.1),
    'commands of LaTeX': (r'\\(documentclass|usepackage|begin|section|chapter|cite|ref)\b', 0.1),
    'entries of BibTeX': (r'^@\w+\{[^,]*,$', 0.05),
    'times of subtitles': (rf'{TIME} --> {TIME}|^\[{TIME}\]|^Dialogue: ', 0.1),
    'headers of WARC or WET files': (r'^WARC/\d\.\d$', 0),
    'headers of e-mails': (r'^(From|To|Subject|Date|Message-ID|Newsgroups|Path): \S', 0.1),
    'numbers and bars of PubTator': (r'^\d+\|[ta]\|', 0),
    'lines such as ---, as around a header in YAML': (r'^---$', 0.05),
    'headers of FASTA, such as >name': (r'^>\w\S*( .*)?$', 0.05),
    'a notice of Project Gutenberg': (r'Project Gutenberg', 0),
    'quoted-printable characters': (r'(=[89A-F][0-9A-F]){2}', 0.1),
    'lines without a space, such as base64 or DNA': (r'^[A-Za-z0-9+/]{60,}={0,2}$', 0.5),
    'special tokens such as [SEP]': (r'\[(CLS|SEP|PAD)\]|</?s>|<\|endoftext\|>|@@( |$)', 0.2),
    'line breaks that are written as \\n': (r'\\n', 0.2),
    'other line ends, such as U+2028': ('[\v\f\x1c-\x1e\x85\u2028\u2029]', 0.05),
    'lines of invisible characters, which end no document': (
        '^[\u00ad\u200b-\u200f\u2060\ufeff\0]+$',
        0,
    ),
}
# The first two characters of a wrong decoding: the UTF-8 bytes of a character outside ASCII were
# decoded as cp1252.
TWICE = re.compile('[\u00c2-\u00f4][\u0080-\u00bf\u0152-\u2122]')


def counted(
    documents: Iterator[Document], name: str, summary: Summary, ends: str = ''
) -> Iterator[Document]:
    """Yields the documents of a file. `summary` counts the file for each kind of markup in its
    first lines.

    ends: config.data.documents for a text file, '' for other files. A text file is also counted if
    its first lines look like JSON, HTML or a table, and if they have the heading of an article
    although documents do not begin at headings.
    """
    beginning, lines = list[Document](), list[str]()
    for document in documents:
        beginning.append(document)
        lines += document[:LOOKED_AT]
        if len(lines) >= LOOKED_AT:
            break
    first = lines[:LOOKED_AT]
    for what in kinds(first):
        summary.count(f'files with {what}', name)
    if ends and ends != 'heading' and any(map(HEADING.fullmatch, first)):
        advice = 'config.data.documents=heading (--documents) makes each article a document'
        summary.count(f'text files with headings such as = Title =, as in WikiText; {advice}', name)
    if ends and (looks := text_kind(first)):
        summary.count(f'text files that look like {looks.rpartition("; ")[0]}', name)
    yield from itertools.chain(beginning, documents)


def kinds(lines: Sequence[str]) -> Iterator[str]:
    """The kinds of markup in the lines."""
    for what, (pattern, share) in PATTERNS.items():
        number = sum(bool(re.search(pattern, line)) for line in lines)
        if number and number >= share * len(lines):
            yield what
    found = [m for line in lines if (m := TWICE.search(line)) and _is_decoded_twice(line)]
    if found:
        yield f'UTF-8 that was decoded as another encoding ({found[0][0]!r})'


def _is_decoded_twice(line: str) -> bool:
    """Returns whether the line becomes shorter UTF-8 text if it is encoded again."""
    for encoding in ('cp1252', 'latin-1'):
        try:
            return len(line.encode(encoding).decode('utf-8')) < len(line)
        except UnicodeError:
            continue
    return False

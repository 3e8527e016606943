"""Reads the lines of text files, stripped and decoded. Long lines are cut into parts."""

import itertools
import pathlib
import re
from collections.abc import Iterator

from bert_jax.data import files
from bert_jax.data.file_kinds import text_kind
from bert_jax.data.summary import Summary

LOOKED_AT = 20  # lines, to see whether a file is text
# The first tag of a text of WikiExtractor.
DOC = re.compile(r"""<doc( \w+=("[^"]*"|'[^']*'))+>""")
HEADING = re.compile(r'= (?!= ).+(?<! =) =')  # of an article in WikiText, not of a section


def lines(
    path: pathlib.PurePath, name: str, longest: int, summary: Summary, decoder: files.Decoder
) -> Iterator[tuple[int, str]]:
    """Yields stripped lines with their numbers, in parts of at most `longest` bytes. name: the name
    of the file in messages."""
    before, has_text, rest = summary.passed, False, b''
    for number, content, is_end, passed in files.raw_lines(path, name, longest):
        where, part = f'{name}:{number}', rest + content
        end = len(part) if is_end else _cut(part)
        if not is_end:
            summary.count(f'lines cut after {longest:,} bytes', where)
        part, rest = part[:end], part[end:]
        summary.passed = before + passed
        text = decoder.decode(part, where).removeprefix('\ufeff').strip()
        has_text = has_text or bool(text)
        yield number, text
    if rest:
        yield number, decoder.decode(rest, where).strip()
    if not has_text:
        summary.count('empty files', name)


def looked_at(
    lines: Iterator[tuple[int, str]], name: str, summary: Summary, at_headings: bool
) -> Iterator[tuple[int, str]]:
    """Yields the lines of a text file. `summary` counts the file if its first lines look like JSON,
    HTML or a table, or have the heading of an article.

    at_headings: whether documents begin at headings; then headings are not counted. Raises
    ValueError if a line has the markup of WikiExtractor.
    """
    beginning = list(itertools.islice(lines, LOOKED_AT))
    if not at_headings and any(HEADING.fullmatch(line) for _, line in beginning):
        advice = 'config.data.documents=heading (--documents) makes each article a document'
        summary.count(f'text files with headings such as = Title =, as in WikiText; {advice}', name)
    if looks := text_kind([line for _, line in beginning]):
        summary.count(f'text files that look like {looks.rpartition("; ")[0]}', name)
    for number, line in itertools.chain(beginning, lines):
        if line.startswith('<doc ') and DOC.match(line):
            raise ValueError(
                f'{name}:{number} is {line[:60]!r}, markup of WikiExtractor, which is not text; '
                'run it with --json, and give its files names that end in .jsonl'
            )
        yield number, line


def _cut(part: bytes) -> int:
    """The index at which to cut a part of a long line: after its last space, or before its last
    character if it has no space."""
    end = part.rfind(b' ') + 1 or len(part)
    while end == len(part) or (end > 1 and part[end] & 0xC0 == 0x80):
        end -= 1
    return end or len(part)

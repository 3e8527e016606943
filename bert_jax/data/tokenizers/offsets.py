"""Where tokens stand in a text, though the text was normalised before it was cut into them."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

Span = tuple[int, int]  # [start, end) in characters

WORD_MARK = '\u2581'
TEX_QUOTES = re.compile("``|''")


def tidied(text: str, spans: Sequence[Span]) -> list[Span]:
    """The spans without white space at their ends, and with the accents that follow a token: of
    'e\u0301' a normaliser keeps the e alone."""
    out = []
    for i, (start, end) in enumerate(spans):
        limit = spans[i + 1][0] if i + 1 < len(spans) else len(text)
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
        while start < end < limit and unicodedata.category(text[end]) == 'Mn':
            end += 1
        out.append((start, end))
    return out


def of_pieces(normalised: str, origin: Sequence[int], sizes: Sequence[int]) -> list[Span]:
    """Spans of the pieces that `normalised` is made of, from their sizes in bytes of UTF-8.

    origin: int[characters + 1], where in the text a character of `normalised` comes from, and the
    end of the last one. Characters that come from the same place share its whole span; marks of
    white space have none, as the first is not of the text.
    """
    starts = np.asarray(origin, np.int64)
    following = np.searchsorted(starts, starts[:-1], 'right')
    codes = np.frombuffer(normalised.encode('utf-32-le'), np.uint32)
    white = codes == ord(WORD_MARK)
    ends = np.where(white, starts[:-1], starts[np.minimum(following, len(starts) - 1)])
    widths = 1 + (codes > 0x7F) + (codes > 0x7FF) + (codes > 0xFFFF)
    character = np.repeat(np.arange(len(normalised)), widths)  # of a byte
    bounds = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    first, last = starts[character[bounds[:-1]]], ends[character[bounds[1:] - 1]]
    return list(zip(first.tolist(), last.tolist(), strict=True))


def without_accents(text: str) -> str:
    """As ALBERT's and XLNet's text is before their models see it, quotes of TeX's kind included."""
    if not text.isascii():
        decomposed = unicodedata.normalize('NFKD', text)
        text = ''.join(char for char in decomposed if not unicodedata.combining(char))
    return text.replace('``', '"').replace("''", '"')


def without_accents_from(text: str) -> tuple[str, np.ndarray, np.ndarray]:
    """`without_accents(text)`, and where in `text` each of its characters stood: starts and ends,
    int64[characters]."""
    chars: list[str] = []
    origin: list[int] = []
    for i, char in enumerate(text):
        if char < '\x80':
            chars.append(char)
            origin.append(i)
            continue
        for part in unicodedata.normalize('NFKD', char):
            if not unicodedata.combining(part):
                chars.append(part)
                origin.append(i)
    plain = ''.join(chars)
    starts = np.array(origin, np.int64)
    ends = starts + 1
    second = [match.start() + 1 for match in TEX_QUOTES.finditer(plain)]
    if second:
        ends[np.array(second) - 1] = ends[second]
        starts, ends = np.delete(starts, second), np.delete(ends, second)
        plain = TEX_QUOTES.sub('"', plain)
    return plain, starts, ends


def before_plain(text: str, plain: str, spans: Sequence[Span]) -> list[Span]:
    """Spans of `plain`, which is `without_accents(text)` in either case, as spans of `text`."""
    if text.isascii() and len(text) == len(plain):
        return list(spans)
    if not spans:
        return []
    _, starts, ends = without_accents_from(text)
    first, after = np.array(spans, np.int64).T
    begin = starts[np.minimum(first, len(starts) - 1)]
    end = np.where(after > first, ends[after - 1], begin)
    return list(zip(begin.tolist(), end.tolist(), strict=True))

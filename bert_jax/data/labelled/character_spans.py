"""Reads entities that are given as character positions, as doccano, spaCy, Prodigy and Label Studio
write them.

An entity is [start, end, type], where `end` is one more than the index of its last character. The
entities become tags of words in the BIO scheme.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bert_jax.data.labelled.answer_places import other_units
from bert_jax.data.labelled.json_files import characters, short
from bert_jax.data.labelled.sentence import WORD
from bert_jax.data.summary import Summary

# Columns that may hold entities beside a column `text`, the preferred ones first.
COLUMNS = ('entities', 'spans', 'label', 'labels')
EXPECTED = 'expected a list of [start, end, type], character positions in the text'
# The keys of an entity's start, end and type.
KEYS = (
    ('start', 'start_offset', 'begin'),
    ('end', 'end_offset'),
    ('label', 'type', 'tag', 'entity_group', 'labels'),
)
# Thai to Tibetan, Burmese, Khmer, Japanese, Chinese and Korean. In these scripts, an entity may be
# a part of the characters between two spaces.
NO_SPACES = re.compile(
    '[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af'
    '\U00020000-\U0003ffff]'
)


class Span(NamedTuple):
    """An entity with the characters `start` to `end` - 1."""

    start: int
    end: int
    kind: str


def words_and_tags(
    text: str, value: Any, name: str, where: str, summary: Summary
) -> tuple[list[str], list[str]]:
    """The words and punctuation marks of a text and their tags. value: its entities, from `name`.

    If an entity begins or ends at a punctuation mark inside a word, as in Anna's, the word is
    divided there and counted. Raises ValueError, which names the place `where`, for an entity that
    is outside of the text, overlaps another one, has no word, or begins or ends between two letters
    of a word.
    """
    found = _spans(text, value, name, where, summary)
    # The word around each place inside a word, between two of its characters.
    word_at = {i: m[0] for m in WORD.finditer(text) for i in range(m.start() + 1, m.end())}
    last = 0
    for span in found:
        shown = f'{where}: the entity {list(span)} of {name!r}'
        if not 0 <= span.start < span.end <= len(text):
            raise ValueError(
                f'{shown} is not in the text, which has {len(text)} characters; {EXPECTED}'
            )
        if span.start < last:
            raise ValueError(
                f'{shown} overlaps the one before it; a word has one tag, so remove one of them'
            )
        if not WORD.search(text, span.start, span.end):
            raise ValueError(f'{shown} has no word, only {text[span.start : span.end]!r}')
        last = span.end
        for cut in (span.start, span.end):
            word, both = word_at.get(cut), text[cut - 1 : cut + 1]
            if word is None:
                continue
            if both.isalnum() and not NO_SPACES.search(both):
                raise ValueError(
                    f'{shown} is {text[span.start : span.end]!r}, which begins or ends inside the '
                    f'word {word!r}; {EXPECTED}'
                )
            summary.count('words divided where an entity begins or ends', f'{where} {word!r}')
    words, tags, end = list[str](), list[str](), 0
    for span in (*found, Span(len(text), len(text), '')):
        outside = WORD.findall(text[end : span.start])
        inside_span = WORD.findall(text[span.start : span.end])
        words += outside + inside_span
        tags += ['O'] * len(outside) + [f'I-{span.kind}'] * len(inside_span)
        if inside_span:
            tags[-len(inside_span)] = f'B-{span.kind}'
        end = span.end
    return words, tags


def _spans(text: str, value: Any, name: str, where: str, summary: Summary) -> list[Span]:
    """The entities, in the order of the text. If an entity has a text of its own, its positions
    are compared with it."""
    if not isinstance(value, list):
        raise ValueError(f'{where}: {name!r} is {short(value)}; {EXPECTED}')
    found = []
    for item in value:
        parts = _parts(item) if isinstance(item, dict) else item
        is_span = isinstance(parts, Sequence) and len(parts) == 3 and isinstance(parts[2], str)
        if not is_span or any(type(number) is not int for number in parts[:2]):
            raise ValueError(f'{where}: {name!r} has {short(item)}; {EXPECTED}')
        kind = '_'.join(characters(parts[2], name, where).split())
        if not kind:
            raise ValueError(f'{where}: {name!r} has {short(item)}, whose type is empty')
        if kind != parts[2]:
            summary.count('types of entities with spaces, which are replaced by _', where)
        span = Span(parts[0], parts[1], kind)
        own = item.get('text') if isinstance(item, dict) else None
        if isinstance(own, str) and text[span.start : span.end].split() != own.split():
            span = _moved(span, own, text, name, where, summary)
        found.append(span)
    return sorted(found)


def _moved(span: Span, own: str, text: str, name: str, where: str, summary: Summary) -> Span:
    """The entity with positions that count characters, if those in the file count other units, as
    JavaScript does. Raises ValueError if its own text, `own`, is not at these positions."""
    for unit, start in other_units(text, span.start):
        if text.startswith(own, start):
            summary.count(f'entities whose positions count {unit}, converted', where)
            return span._replace(start=start, end=start + len(own))
    raise ValueError(
        f'{where}: the entity {list(span)} of {name!r} is {text[span.start : span.end]!r}, but its '
        f'own text is {own!r}; {EXPECTED}'
    )


def _parts(item: Mapping[str, Any]) -> list[Any]:
    """The start, the end and the type of an entity that is an object; None for what it lacks."""
    *places, kind = (next((item[k] for k in keys if k in item), None) for keys in KEYS)
    if isinstance(kind, list) and len(kind) == 1:  # Label Studio has a list of types
        kind = kind[0]
    return [*places, kind]

"""Finds the place of an answer in its context, even if its `answer_start` is wrong."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

from bert_jax.data.labelled.json_files import characters
from bert_jax.data.labelled.texts import NO_VALUE
from bert_jax.data.summary import Summary

LOST = 'answers that are not in their context'
FOUND = 'answers not at their answer_start, found elsewhere'
NEAREST = 'answers not at their answer_start, the nearest of several places was chosen'
WITHOUT = 'answers without answer_start, found in their context'
FIRST = 'answers without answer_start, the first of several places was chosen'
BOTH = 'answers whose answer_start may count characters or {}, read as characters'
DIGITS = re.compile(r'([+-]?\d{1,18})(\.0+)?')
# Texts that mean that there is no answer; only their letters, in lower case.
NO_ANSWER = frozenset(('noanswer', 'unanswerable', 'cannotanswer', 'notanswerable', 'impossible'))


class Answer(NamedTuple):
    """An answer to a question.

    text: as in the file. start, end: the answer is context[start:end]; start is -1 if it is not in
    the context.
    """

    text: str
    start: int
    end: int


def place(record: Any, context: str, where: str, summary: Summary) -> Answer | None:
    """Returns the answer of a record; None if the record means that there is no answer: its text is
    empty, or it is a text such as 'no answer' that is not in the context.

    record: an object with `text` and perhaps `answer_start`, or only the text.

    `answer_start` may count UTF-16 units, as in JavaScript, or bytes. If the answer is not there,
    the nearest place in the context that has it is used. White space may differ, and accents may be
    composed or decomposed. `summary` counts all these answers, and those that are not in the
    context. Raises ValueError, with the place `where` in the file, for a value of a wrong type.
    """
    if isinstance(record, str):
        record = {'text': record}
    if not isinstance(record, dict) or 'text' not in record:
        raise ValueError(f"{where} is {record!r:.60}; expected an object with 'text'")
    text = '' if record['text'] is None else characters(record['text'], 'text', where)
    start = _start(record, where)
    if not text.strip():
        return None
    there = start is not None and start >= 0 and context.startswith(text, start)
    for unit, other in other_units(context, start or 0):
        if other != start and context.startswith(text, other):
            if there:
                summary.count(BOTH.format(unit), where)
                break
            summary.count(f'answers whose answer_start counts {unit}, converted', where)
            return Answer(text, other, other + len(text))
    if there and start is not None:
        return Answer(text, start, start + len(text))
    matches = list(_pattern(text).finditer(context))
    if not matches:
        plain = ''.join(filter(str.isalpha, text.casefold()))
        if plain in NO_ANSWER or text.strip().lower() in NO_VALUE:
            return None
        summary.count(LOST, where)
        return Answer(text, -1, -1)
    # If no start is given, the first place is chosen, which is the nearest one to 0.
    nearest = min(matches, key=lambda match: abs(match.start() - (start or 0)))
    one, several = (WITHOUT, FIRST) if start is None else (FOUND, NEAREST)
    summary.count(several if len(matches) > 1 else one, where)
    return Answer(text, *nearest.span())


def _start(record: dict[str, Any], where: str) -> int | None:
    """Returns `answer_start`, also if it is a whole number of another type; None if it is
    missing."""
    value = record.get('answer_start')
    if isinstance(value, str) and (digits := DIGITS.fullmatch(value.strip())):
        value = int(digits[1])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError(f"{where}: 'answer_start' is {value!r:.60}; expected int")
    return value


def other_units(context: str, start: int) -> Iterator[tuple[str, int]]:
    """Yields (unit, place) for other units that `start` may count; place counts characters."""
    if context.isascii() or start <= 0:
        return
    for unit, encoding, size in (('UTF-16 units', 'utf-16-le', 2), ('bytes', 'utf-8', 1)):
        try:
            yield unit, len(context.encode(encoding)[: start * size].decode(encoding))
        except UnicodeDecodeError:  # it is inside a character
            continue


def _pattern(text: str) -> re.Pattern[str]:
    """Returns a pattern of the text with any white space and composed or decomposed accents."""
    normal = unicodedata.normalize('NFC', text)
    forms = {c: {re.escape(c), re.escape(unicodedata.normalize('NFD', c))} for c in set(normal)}
    words = [''.join(f'(?:{"|".join(sorted(forms[c]))})' for c in w) for w in normal.split()]
    return re.compile(r'\s+'.join(words))

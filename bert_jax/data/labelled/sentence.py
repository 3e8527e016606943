"""A sentence as words with tags."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

WORD = re.compile(r"\w+(?:[-'’]\w+)*|[^\w\s]")  # words and punctuation, as in CoNLL files
SPACE = re.compile('[ \t\r\n]+')  # what separates words and lines in CoNLL files


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A sentence. where: 'path:line' of its first word, or of its object or row in other files.
    columns, if the caller asked for them: all values of that object or row, or, in a file with a
    line for each word, the lists of the words' values in each other column."""

    words: list[str]
    tags: list[str] | None
    where: str
    columns: Mapping[str, Any] | None = None


def split_words(text: str) -> list[str]:
    """The words and the punctuation marks of a text."""
    return WORD.findall(text)

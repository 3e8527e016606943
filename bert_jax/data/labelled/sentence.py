"""Sentences as words with tags, and the files that have them."""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bert_jax.data.labelled.bad_rows import OnError
from bert_jax.data.summary import Summary

WORD = re.compile(r"\w+(?:[-'’]\w+)*|[^\w\s]")  # words and punctuation, as in CoNLL files
SPACE = re.compile('[ \t\r\n]+')  # what separates words and lines in CoNLL files
LONG = 400  # words; a longer sentence may be several, without blank lines between them


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A sentence. where: 'path:line' of its first word, or of its object or row in other files.
    columns, if the caller asked for them: all values of that object or row, or, in a file with a
    line for each word, the lists of the words' values in each other column."""

    words: list[str]
    tags: list[str] | None
    where: str
    columns: Mapping[str, Any] | None = None


class SentenceFile(NamedTuple):
    """A file of sentences, and how it is read; see `conll.iter_file`."""

    path: pathlib.Path
    tagged: bool | None
    columns: bool
    summary: Summary
    on_error: OnError | None

    def count_long(self, words: Sequence[Any], where: str) -> None:
        """Counts a sentence that ends at a blank line if it has very many words."""
        if len(words) > LONG:
            name = f'sentences of more than {LONG} words (a blank line ends a sentence)'
            self.summary.count(name, where)


def split_words(text: str) -> list[str]:
    """The words and the punctuation marks of a text."""
    return WORD.findall(text)

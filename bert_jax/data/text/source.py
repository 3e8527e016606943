"""A corpus that can be read many times, and the documents of its records."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bert_jax.data.summary import Document, Summary


@dataclasses.dataclass(frozen=True)
class Source:
    """A corpus that can be read many times.

    identity: a JSON value that determines the content. size: the number of bytes of files or of
    examples of TFDS. characters: an estimate of the number of characters. Both are 0 if unknown.
    parts: the sources of several languages, see `languages`.
    """

    read: Callable[[Summary], Iterator[Document]]
    identity: Any
    size: int = 0
    characters: int = 0
    parts: Mapping[str, 'Source'] = dataclasses.field(default_factory=dict)

    @property
    def by_name(self) -> Mapping[str, 'Source']:
        """The parts by name. If there are no parts, the source itself has the name ''."""
        return self.parts or {'': self}


class NotFetched(ValueError):
    """The error for a dataset that has to be downloaded first."""


def documents_of(text: str, where: str, summary: Summary) -> Iterator[Document]:
    """The document in the text of a record, unless it is empty."""
    if document := [stripped for line in text.split('\n') if (stripped := line.strip())]:
        yield document
    else:
        summary.count('empty documents, left out', where)

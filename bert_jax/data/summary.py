"""Documents, and counts of what was read."""

import collections
from collections.abc import Iterable, Mapping

Document = list[str]  # its lines: paragraphs of prose, or a sentence each
SHOWN = 6  # columns that are not read


class Summary:
    """Counts of what was read, changed or left out, each with the first place where it occurred.

    columns: for each file, which of its columns were read as what. headers: for each file, the
    names of its columns, each with its role, or '' if the column is not read.
    passed: how much of the source has been read, in the unit of `Source.size`. characters, lost,
    lost_in_long_words: the characters of the tokenized text without spaces, those of words that
    become the unknown token, and those of such words that are very long.
    """

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.first: dict[str, str] = {}
        self.columns: dict[str, str] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.passed = self.characters = self.lost = self.lost_in_long_words = 0

    def count(self, what: str, where: str = '', number: int = 1) -> None:
        """Adds `number` to the count of `what`, which was seen at `where`."""
        self.counts[what] += number
        if where:
            self.first.setdefault(what, where)

    def describe(self, path: str, columns: Mapping[str, str], names: Iterable[str]) -> None:
        """Notes which columns of a file are read, and which are not. columns: for each role, such
        as 'label', the name of its column. names: the names of the columns that the file has."""
        names, roles = list(names), {name: role for role, name in columns.items()}
        self.headers[path] = {name: roles.get(name, '') for name in names}
        said = [f'{role}={name!r}' for role, name in columns.items() if name in names]
        if others := [name for name in names if name not in columns.values()]:
            more = ', ...' if len(others) > SHOWN else ''
            said.append(f'not read: {", ".join(map(repr, others[:SHOWN]))}{more}')
        self.columns[path] = ', '.join(said)

    @property
    def lost_share(self) -> float:
        """The share of the characters that become unknown tokens."""
        return self.lost / max(self.characters, 1)

    def __str__(self) -> str:
        return '; '.join(f'{what}: {count:,}' for what, count in self.lines().items())

    def lines(self) -> dict[str, int]:
        """The counts: {'lines of invalid UTF-8, replaced (first: a.txt:3)': 2, ...}"""
        return {
            f'{what} (first: {self.first[what]})' if what in self.first else what: count
            for what, count in self.counts.items()
            if count
        }

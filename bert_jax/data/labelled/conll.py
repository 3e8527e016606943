"""Sentences of words with tags: CoNLL files, .jsonl and .json files, and tables."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence

from etils import epath

from bert_jax.data import files
from bert_jax.data.labelled import (
    conll_columns,
    label_numbers,
    records,
    tables,
    tagged_records,
    tags,
)
from bert_jax.data.labelled.bad_rows import OnError
from bert_jax.data.labelled.conll_columns import FORMAT
from bert_jax.data.labelled.sentence import SPACE, Sentence
from bert_jax.data.summary import Summary

PLACEHOLDERS = {'_', '?', '-', '-100'}  # tags of test files for words whose tag is not known
PLACEHOLDER_TAGS = 'sentences with placeholders for tags, read without tags'
NO_BREAK = '\u00a0'


def read(
    path: str | os.PathLike[str],
    *,
    tagged: bool | None = True,
    summary: Summary | None = None,
    columns: bool = False,
    names: Sequence[str] = (),
) -> list[Sentence]:
    """The sentences of a file, as `iter_file` reads them, with their tags checked.

    names: the names of tags that are numbers, by number. `summary` counts ill-formed tags too.
    Raises ValueError, with file and line, for numbers without a name, if only some of the tags mark
    entities, and if tags of IOBES and of BILOU are mixed.
    """
    summary = summary or Summary()
    sentences = list(iter_file(path, tagged=tagged, summary=summary, columns=columns))
    if names:
        strict = bool(tagged)
        sentences = [
            dataclasses.replace(
                s, tags=[label_numbers.name_of(tag, names, s.where, strict) for tag in s.tags]
            )
            if s.tags
            else s
            for s in sentences
        ]
    found = {tag for sentence in sentences for tag in sentence.tags or ()}
    if tagged is None and found & PLACEHOLDERS and tags.mark_entities(found - PLACEHOLDERS):
        for i, sentence in enumerate(sentences):
            if {*(sentence.tags or ())} & PLACEHOLDERS:
                sentences[i] = dataclasses.replace(sentence, tags=None)
                summary.count(PLACEHOLDER_TAGS, sentence.where)
        found -= PLACEHOLDERS
    if found and all(tag.isdigit() for tag in found):
        where = next(sentence.where for sentence in sentences if sentence.tags)
        shown = ', '.join(sorted(found)[:3])
        raise ValueError(f'{where} has numbers ({shown}) instead of tags; {tagged_records.NAMES}')
    if usual := tags.usual_forms(found):
        sentences = [
            dataclasses.replace(s, tags=[usual.get(tag, tag) for tag in s.tags]) if s.tags else s
            for s in sentences
        ]
        tag, changed = next((tag, form) for tag, form in sorted(usual.items()) if tag != form)
        summary.count(f'sentences with tags such as {tag!r}, read as {changed!r}', str(path))
    check(sentences, str(path))
    name, ill_formed = tags.scheme([sentence.tags or [] for sentence in sentences])
    if ill_formed:
        summary.count(f'ill-formed {name} tags, read as conlleval does', number=ill_formed)
    return sentences


def check(sentences: Sequence[Sentence], name: str) -> None:
    """Raises ValueError if the tags do not fit together, see `tags.check`. name: of the files."""
    tags.check(name, sentences, _place)


def iter_file(
    path: str | os.PathLike[str],
    *,
    tagged: bool | None = True,
    summary: Summary | None = None,
    columns: bool = False,
    on_error: OnError | None = None,
) -> Iterator[Sentence]:
    """Reads the sentences of a .jsonl or .csv file one by one, or a CoNLL file as a whole.

    A line of .jsonl is an object with `words` and, for tags, `tags`: two lists of strings of the
    same length; a table has a row for each sentence or each word (see `tagged_records`). A line of
    a CoNLL file is a word and its tag, in the first and the last of several columns, which spaces
    or tabs separate; a blank line ends a sentence. -DOCSTART- lines, comments (`# ...` before a
    sentence) and names of columns are left out and counted in `summary`. tagged: whether to read
    tags; None reads them if the first word has one. If it is False, a file other than CoNLL may
    have `text` instead of words. columns: whether a sentence has its columns (see `Sentence`).
    Raises ValueError, with file and line, for any other line, unless `on_error` is given
    (see `bad_rows.each`), and for a file that looks like something else.
    """
    path, summary = pathlib.Path(path).expanduser(), summary or Summary()
    suffix, empty = files.kind(path)[0], True
    is_table = suffix == '.csv' or (suffix == '.tsv' and _names_columns(path))
    if suffix in records.JSON or is_table:
        read = tagged_records.read(path, tagged, columns, summary, on_error)
        read = read if tagged is False else tagged_records.checked(read, summary)
    else:
        read = conll_columns.read(path, tagged, summary, on_error, columns)
    for sentence in read:
        empty = False
        yield sentence
    if empty:
        raise ValueError(f'{path} has no sentence; {FORMAT}')


def write(
    sentences: Sequence[Sentence], predicted: Sequence[Sequence[str]], path: epath.PathLike
) -> None:
    """Writes a CoNLL file of the words with these tags, word TAB tag; `read` reads it back. White
    space inside a word becomes a no-break space."""
    blocks = []
    for sentence, names in zip(sentences, predicted, strict=True):
        words = [SPACE.sub(NO_BREAK, word) for word in sentence.words]
        pairs = zip(words, names, strict=True)
        blocks.append(''.join(f'{word}\t{tag}\n' for word, tag in pairs))
    epath.Path(path).write_bytes('\n'.join(blocks).encode())


def _names_columns(path: pathlib.Path) -> bool:
    """Returns whether the first line of a table has the name of a column of words."""
    header = next((row for _, row in tables.rows(path) if row), [])
    return tagged_records.has_words(header)


def _place(sentence: Sentence, word: int) -> str:
    """The place of a word."""
    file, _, line = sentence.where.rpartition(':')
    in_columns = line.isdigit() and files.kind(pathlib.Path(file))[0] not in records.SUFFIXES
    return f'{file}:{int(line) + word}' if in_columns else sentence.where

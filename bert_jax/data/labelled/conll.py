"""Sentences of words with tags: CoNLL files, .jsonl and .json files, and tables."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence

from etils import epath

from bert_jax.data import files
from bert_jax.data.labelled import conll_columns, records, tables, tagged_records, tags
from bert_jax.data.labelled.bad_rows import OnError, not_empty
from bert_jax.data.labelled.conll_columns import FORMAT
from bert_jax.data.labelled.labels import name_of
from bert_jax.data.labelled.sentence import SPACE, Sentence, SentenceFile
from bert_jax.data.labelled.texts import NO_VALUE
from bert_jax.data.summary import Summary

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
    strict = bool(tagged)
    sentences = _renamed(sentences, lambda tag, at: name_of(tag, names, at, strict))
    found = {tag for sentence in sentences for tag in sentence.tags or ()}
    unknown = {tag for tag in found if tag.lower() in NO_VALUE}
    if tagged is None and unknown and tags.mark_entities(found - unknown):
        for i, sentence in enumerate(sentences):
            if unknown & {*(sentence.tags or ())}:
                sentences[i] = dataclasses.replace(sentence, tags=None)
                summary.count(PLACEHOLDER_TAGS, sentence.where)
        found -= unknown
    if found and all(tag.isdigit() for tag in found):
        where = next(sentence.where for sentence in sentences if sentence.tags)
        shown = ', '.join(sorted(found)[:3])
        raise ValueError(f'{where} has numbers ({shown}) instead of tags; {tagged_records.NAMES}')
    if usual := tags.usual_forms(found):
        sentences = _renamed(sentences, lambda tag, _: usual.get(tag, tag))
        tag, changed = next((tag, form) for tag, form in sorted(usual.items()) if tag != form)
        summary.count(f'sentences with tags such as {tag!r}, read as {changed!r}', str(path))
    check(sentences, str(path))
    name, ill_formed = tags.scheme([sentence.tags or [] for sentence in sentences])
    if ill_formed:
        summary.count(f'ill-formed {name} tags, read as conlleval does', number=ill_formed)
    return sentences


def check(sentences: Sequence[Sentence], name: str) -> None:
    """Raises ValueError, with file and line, if only some of the tags mark entities, and if tags of
    IOBES and of BILOU are mixed. name: of the files."""
    first: dict[str, str] = {}  # tag -> the place where it occurs first
    for sentence in sentences:
        for i, tag in enumerate(sentence.tags or ()):
            if tag not in first:
                first[tag] = _place(sentence, i)
    tags.check(name, first)


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
    file = SentenceFile(path, tagged, columns, summary, on_error)
    suffix = files.kind(path)[0]
    is_table = suffix == '.csv' or (
        suffix == '.tsv' and tagged_records.has_words(tables.open_table(path).header)
    )
    if suffix in records.JSON or is_table:
        read = tagged_records.read(file)
        read = read if tagged is False else tagged_records.checked(read, summary)
    else:
        read = conll_columns.read(file)
    yield from not_empty(read, f'{path} has no sentence; {FORMAT}')


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


def _renamed(sentences: list[Sentence], name: Callable[[str, str], str]) -> list[Sentence]:
    """The sentences with name(tag, place of the sentence) for each tag."""
    return [
        s if s.tags is None else dataclasses.replace(s, tags=[name(tag, s.where) for tag in s.tags])
        for s in sentences
    ]


def _place(sentence: Sentence, word: int) -> str:
    """The place of a word."""
    file, _, line = sentence.where.rpartition(':')
    in_columns = line.isdigit() and files.kind(pathlib.Path(file))[0] not in records.SUFFIXES
    return f'{file}:{int(line) + word}' if in_columns else sentence.where

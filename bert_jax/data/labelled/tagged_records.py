"""Reads sentences from objects and tables: .jsonl, .json, .csv and .tsv.

An object, or a row of a table, is a sentence with a list of words and a list of tags. In a table,
these are JSON lists, Python lists or texts with spaces between the words. A table may also have a
row for each word. Then a sentence ends at a blank line, or where the number of the sentence, in a
column of its own, changes. A text may have entities as character positions (`character_spans`).
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bert_jax.data.file_kinds import separator
from bert_jax.data.files import kind
from bert_jax.data.labelled import character_spans, json_files, tables
from bert_jax.data.labelled.bad_rows import OnError, each
from bert_jax.data.labelled.conll_columns import DOCSTART, LONG
from bert_jax.data.labelled.sentence import SPACE, Sentence, split_words
from bert_jax.data.summary import Summary

# The names of columns, the preferred ones first; capital letters do not matter.
WORDS = ('words', 'tokens', 'sentence')
TEXT = 'text'  # a text that is split into words, if there are no words and no tags to read
TAGS = ('tags', 'ner_tags', 'word_labels', 'labels', 'label', 'ner', 'pos_tags', 'upos')
WORD = ('word', 'token', 'form')
TAG = ('tag', 'ner_tag', 'ner', 'label', 'labels', 'tags', 'pos_tag', 'pos', 'upos')
NUMBER = ('sentence #', 'sentence', 'sentence_id', 'sent_id', 'sentence_idx', 'sentence_number')
SPANS = 'character positions; expected a tag for each word'
NAMES = (
    'give the names of the tags in the order of their numbers: config.data.label_names=O,B-PER,... '
    "(in Python: ','.join(dataset.features[COLUMN].feature.names))"
)
SPACED = 'words with spaces inside, written to .conll files with no-break spaces'


class _Columns(NamedTuple):
    """The names of the columns that are read. number: the number of the sentence. per_word: whether
    each row is a word. is_raw: whether `words` is a text that is not divided into words. has_spans:
    whether `tags` has character positions in that text."""

    words: str
    tags: str = ''
    number: str = ''
    per_word: bool = False
    is_raw: bool = False
    has_spans: bool = False


def checked(sentences: Iterator[Sentence], summary: Summary) -> Iterator[Sentence]:
    """The sentences that can be written to a .conll file; -DOCSTART- is left out and counted."""
    for sentence in sentences:
        if len(sentence.words) == 1 and DOCSTART.fullmatch(sentence.words[0]):
            summary.count('-DOCSTART- lines, left out', sentence.where)
            continue
        if number := sum(map(bool, map(SPACE.search, sentence.words))):
            summary.count(SPACED, sentence.where, number)
        yield sentence


def has_words(header: Sequence[str]) -> bool:
    """Returns whether a line names a column of words."""
    return bool({name.strip().lower() for name in header} & {*WORDS, *WORD, TEXT})


def read(
    path: pathlib.Path,
    tagged: bool | None,
    columns: bool,
    summary: Summary,
    on_error: OnError | None,
) -> Iterator[Sentence]:
    """The sentences of a file; see `conll.iter_file`."""
    if kind(path)[0] not in tables.SUFFIXES:
        found: _Columns | None = None

        def sentence(record: json_files.Record) -> Sentence:
            nonlocal found
            values, where = record
            found = found or _find([*values], where, tagged, summary, path, False)
            return _sentence(values, where, found, tagged, columns, False, summary)

        objects = json_files.records(path, 'words', on_error)
        objects = objects if tagged is False else json_files.accepted(objects, summary)
        yield from each(objects, sentence, on_error)
        return
    rows = tables.rows(path, on_error)
    number, row = next(((number, row) for number, row in rows if row), (0, []))
    header = [name.strip() for name in row]
    if not header:
        return
    where = f'{path}:{number}'
    if not has_words(header):
        advice = f'name the column of words {WORDS[0]!r}, or {WORD[0]!r} with a row for each word'
        cells = header[0].split(separator(header[0]) or None)  # as if another mark separated them
        known = [cell for cell in cells if has_words([cell])]
        tables.check_header(header, known or [WORDS[0]], where, advice)
    tables.column_indices(header, header, where, 'give each column a name of its own')
    names = _find(header, where, tagged, summary, path, True)
    if names.per_word:
        yield from _grouped(path, rows, header, names, tagged, columns, summary, on_error)
        return

    def of_row(found: tables.Numbered) -> Sentence:
        number, row = found
        values = _named(f'{path}:{number}', row, header)
        return _sentence(values, f'{path}:{number}', names, tagged, columns, True, summary)

    yield from each((found for found in rows if found[1]), of_row, on_error)


def _find(
    header: Sequence[str],
    where: str,
    tagged: bool | None,
    summary: Summary,
    path: pathlib.Path,
    is_table: bool,
) -> _Columns:
    """The columns to read. Raises ValueError if there is no column of words, or no column of tags
    and `tagged` is true."""
    known = {name.strip().lower(): name for name in reversed(header)}
    words = next((known[name] for name in WORDS if name in known), '')
    word = next((known[name] for name in WORD if name in known and is_table), '')
    number = next((known[name] for name in NUMBER if name in known), '')
    # A column `sentence` has the words, or beside a column `word` the number of the sentence.
    per_word = bool(word) and words.lower() in ('', 'sentence')
    tags = next((known[name] for name in (TAG if per_word else TAGS) if name in known), '')
    spans = next((known[name] for name in character_spans.COLUMNS if name in known), '')
    tags_given = bool(tags) or tagged is False
    has_spans = bool(spans) and TEXT in known and not per_word and not (words and tags_given)
    if has_spans:
        words, tags = known[TEXT], spans
    if not words and not per_word and TEXT in known:
        words = '' if tagged else known[TEXT]
    if not (words or per_word):
        raise ValueError(
            f'{where} has no column {WORDS[0]!r}, it has {[*header]}; expected {WORDS[0]!r} and '
            f'{TAGS[0]!r}, lists of the same length, or {TEXT!r} and {character_spans.COLUMNS[0]!r}'
            ', a list of [start, end, type]'
        )
    if tagged and not tags:
        raise ValueError(
            f'{where} has no column {(TAG if per_word else TAGS)[0]!r}, it has {[*header]}'
        )
    # Words that have tags are divided by spaces; other texts are split into words and marks.
    is_raw = words.lower() == TEXT or (not tags and words.lower() == 'sentence')
    tags = '' if tagged is False else tags
    kind_of_words = 'word' if per_word else 'text' if has_spans else 'words'
    roles = {kind_of_words: word if per_word else words, 'entities' if has_spans else 'tags': tags}
    roles |= {'sentence': number} if per_word else {}
    summary.describe(str(path), {role: name for role, name in roles.items() if name}, header)
    number = number if per_word else ''
    has_spans = has_spans and bool(tags)
    return _Columns(word if per_word else words, tags, number, per_word, is_raw, has_spans)


def _sentence(
    values: Mapping[str, Any],
    where: str,
    names: _Columns,
    tagged: bool | None,
    columns: bool,
    is_table: bool,
    summary: Summary,
) -> Sentence:
    wants_tags = bool(names.tags) and (tagged or not _is_blank(values.get(names.tags), names))
    kept = dict(values) if columns else None
    if names.has_spans and wants_tags:
        text = json_files.characters(values.get(names.words), names.words, where)
        found = values.get(names.tags)
        if is_table and isinstance(found, str):
            if not found.strip():
                summary.count('empty cells, read as no entities', where)
            found = _listed(found, where)
        pair = character_spans.words_and_tags(text, found, names.tags, where, summary)
        if not pair[0]:
            raise ValueError(f'{where} has no words in {names.words!r}')
        return Sentence(*pair, where, kept)
    raw = values.get(names.words)
    if names.is_raw and not (isinstance(raw, list) and all(map(_is_word, raw))):
        words = split_words(json_files.characters(raw, names.words, where))
        if not words:
            raise ValueError(f'{where} has no words in {names.words!r}')
    else:
        words = _strings(values, names.words, where, is_table)
    tags = _strings(values, names.tags, where, is_table) if wants_tags else None
    if tags is not None and len(tags) != len(words):
        raise ValueError(f'{where} has {len(words)} {names.words!r} and {len(tags)} {names.tags!r}')
    return Sentence(words, tags, where, kept)


def _is_word(value: Any) -> bool:
    """Returns whether a value is a string without white space."""
    return isinstance(value, str) and not SPACE.search(value)


def _is_blank(value: Any, names: _Columns) -> bool:
    """Returns whether a value means that the tags are not known. An empty list of character
    positions means that there are no entities."""
    value = value.strip() if isinstance(value, str) else value
    return value is None or value == '' or (value == [] and not names.has_spans)


def _strings(values: Mapping[str, Any], name: str, where: str, is_table: bool = False) -> list[str]:
    found = values.get(name)
    if is_table and isinstance(found, str):
        found = _listed(found, where)
    if not isinstance(found, list) or not found:
        raise ValueError(f'{where}: {name!r} is {found!r:.60}; expected a list of strings')
    if all(isinstance(value, list | dict) for value in found):
        raise ValueError(f'{where}: {name!r} is {found!r:.60}, {SPANS}')
    if all(type(value) is int for value in found) and name.lower() in TAGS:
        return [*map(str, found)]
    if any(isinstance(value, str) and not value.strip(' \t\r\n') for value in found):
        raise ValueError(f'{where} has an empty string in {name!r}; remove it')
    return [json_files.characters(value, name, where) for value in found]


def _listed(cell: str, where: str) -> list[Any]:
    """The values in a cell: a list, or words that spaces divide."""
    values = tables.list_in(cell) if cell.strip().startswith('[') else None
    if values is not None:
        return values
    if cell.strip().startswith(("['", '["')):
        raise ValueError(
            f'{where} has {cell.strip():.60}, which is not a complete list; write all of its values'
        )
    return cell.split()


def _grouped(
    path: pathlib.Path,
    rows: Iterator[tables.Numbered],
    header: list[str],
    names: _Columns,
    tagged: bool | None,
    columns: bool,
    summary: Summary,
    on_error: OnError | None,
) -> Iterator[Sentence]:
    """The sentences of a table with a row for each word."""

    def blocks() -> Iterator[list[tables.Numbered]]:
        block: list[tables.Numbered] = []
        first: tables.Numbered | None = None
        last, seen = '', set[str]()
        at = header.index(names.number) if names.number else -1
        for number, row in rows:
            blank = not any(cell.strip() for cell in row)
            mark = row[at].strip() if names.number and len(row) == len(header) else ''
            # The number may be in the first row of a sentence alone.
            if block and (blank or (mark and mark != last)):
                yield block
                block = []
            if mark and mark != last and mark in seen:
                name = 'sentences whose rows are apart, each part read as a sentence'
                summary.count(name, f'{path}:{number}')
            seen.add(mark)
            last = mark or last
            if not blank:
                block.append((number, row))
                first = first or block[0]
        if block:
            yield block
        if not names.number and block and block[0] == first:
            name = 'tables without blank lines or a column `sentence`, read as one sentence'
            summary.count(name, str(path))

    def sentence(block: list[tables.Numbered]) -> Sentence:
        where = f'{path}:{block[0][0]}'
        found: dict[str, list[str]] = {name: [] for name in header}
        at = header.index(names.tags) if names.tags else len(header)
        bare = not tagged and not any(cell.strip() for _, row in block for cell in row[at : at + 1])
        needed = (names.words,) if bare else (names.words, names.tags)
        for number, row in block:
            for name, value in _named(f'{path}:{number}', row, header).items():
                if name in needed and not value.strip():
                    raise ValueError(f'{path}:{number} has an empty cell in {name!r}; fill it in')
                found[name].append(value.strip())
        if len(block) > LONG:
            name = f'sentences of more than {LONG} words (a blank line ends a sentence)'
            summary.count(name, where)
        words, tags = found.pop(names.words), None if bare else found.get(names.tags)
        others: dict[str, Any] = dict(found)
        if names.number:  # one value, often only in the first row
            others[names.number] = next(filter(None, found[names.number]), '')
        return Sentence(words, tags, where, others if columns else None)

    yield from each(blocks(), sentence, on_error)


def _named(where: str, row: list[str], header: list[str]) -> dict[str, str]:
    if len(row) != len(header):
        raise ValueError(
            f'{where} has {len(row)} columns; expected {len(header)}, as in the first line '
            f'({", ".join(header)})'
        )
    if [cell.strip() for cell in row] == header:
        raise ValueError(f'{where} repeats the names of the columns; remove this line')
    return dict(zip(header, row, strict=True))

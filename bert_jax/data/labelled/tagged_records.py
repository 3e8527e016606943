"""Reads sentences from objects and tables: .jsonl, .json, .csv and .tsv.

An object, or a row of a table, is a sentence with a list of words and a list of tags. In a table,
these are JSON lists, Python lists or texts with spaces between the words. A table may also have a
row for each word. Then a sentence ends at a blank line, or where the number of the sentence, in a
column of its own, changes. A text may have entities as character positions (`character_spans`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bert_jax.data.files import kind
from bert_jax.data.labelled import character_spans, json_files, tables
from bert_jax.data.labelled.bad_rows import each
from bert_jax.data.labelled.conll_columns import DOCSTART
from bert_jax.data.labelled.sentence import SPACE, Sentence, SentenceFile, split_words
from bert_jax.data.summary import Summary

# The names of columns, the preferred ones first; capital letters do not matter.
WORDS = ('words', 'tokens', 'sentence')
TEXT = 'text'  # a text that is split into words, if there are no words and no tags to read
TAGS = ('tags', 'ner_tags', 'word_labels', 'labels', 'label', 'ner', 'pos_tags', 'upos')
WORD = ('word', 'token', 'form')
TAG = ('tag', 'ner_tag', 'ner', 'label', 'labels', 'tags', 'pos_tag', 'pos', 'upos')
NUMBER = ('sentence #', 'sentence', 'sentence_id', 'sent_id', 'sentence_idx', 'sentence_number')
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
    tags: str
    number: str
    per_word: bool
    is_raw: bool
    has_spans: bool


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


def read(file: SentenceFile) -> Iterator[Sentence]:
    """The sentences of a file; see `conll.iter_file`."""
    if not _is_table(file):
        found: _Columns | None = None

        def sentence(record: json_files.Record) -> Sentence:
            nonlocal found
            found = found or _find(file, [*record[0]], record[1])
            return _sentence(file, *record, found)

        records = json_files.records(file.path, WORDS[0], file.on_error)
        records = records if file.tagged is False else json_files.accepted(records, file.summary)
        yield from each(records, sentence, file.on_error)
        return
    table = tables.open_table(file.path, file.on_error)
    header, where = table.header, table.where
    if not header:
        return
    names = _find(file, header, where)
    tables.column_indices(header, header, where, 'give each column a name of its own')
    if names.per_word:
        blocks = _blocks(file, table, names)
        yield from each(blocks, lambda rows: _of_rows(file, table, rows, names), file.on_error)
    else:
        rows = (row for row in table.rows if row[1])
        yield from each(rows, lambda row: _sentence(file, *table.record(row), names), file.on_error)


def _is_table(file: SentenceFile) -> bool:
    return kind(file.path)[0] in tables.SUFFIXES


def _find(file: SentenceFile, header: list[str], where: str) -> _Columns:
    """The columns to read. header: the names of all columns. where: the place of the header or of
    the first object. Raises ValueError if there is no column of words, and if tags are needed and
    there is no column of tags."""
    known = {name.strip().lower(): name for name in reversed(header)}

    def first(names: Sequence[str]) -> str:
        return next((known[name] for name in names if name in known), '')

    words, word = first(WORDS), first(WORD) if _is_table(file) else ''
    # A column `sentence` has the words, or beside a column `word` the number of the sentence.
    per_word = bool(word) and words.lower() in ('', 'sentence')
    tags = first(TAG if per_word else TAGS)
    spans, text = first(character_spans.COLUMNS), first([TEXT])
    has_tagged_words = words and (tags or file.tagged is False)
    has_spans = bool(spans and text and not per_word and not has_tagged_words)
    if per_word:
        words = word
    elif has_spans:
        words, tags = text, spans
    elif not words and not file.tagged:
        words = text
    if not words:
        hint, by_row = '', ''
        if _is_table(file):
            hint = tables.hint(header, [*WORDS, *WORD, TEXT])
            by_row = f', {WORD[0]!r} and {TAG[0]!r}, with a row for each word'
        raise ValueError(
            f'{where} has no column {WORDS[0]!r}, it has {header}; {hint}expected {WORDS[0]!r} and '
            f'{TAGS[0]!r}, lists of the same length{by_row}, or {TEXT!r} and '
            f'{character_spans.COLUMNS[0]!r}, a list of [start, end, type]'
        )
    if file.tagged and not tags:
        name = (TAG if per_word else TAGS)[0]
        raise ValueError(f'{where} has no column {name!r}, it has {header}')
    # Words that have tags are divided by spaces; other texts are split into words and marks.
    is_raw = words.lower() == TEXT or (not tags and words.lower() == 'sentence')
    tags = '' if file.tagged is False else tags
    number = first(NUMBER) if per_word else ''
    role = 'word' if per_word else 'text' if has_spans else 'words'
    roles = {role: words, 'entities' if has_spans else 'tags': tags, 'sentence': number}
    roles = {role: name for role, name in roles.items() if name}
    file.summary.describe(str(file.path), roles, header)
    return _Columns(words, tags, number, per_word, is_raw, has_spans and bool(tags))


def _sentence(
    file: SentenceFile, values: Mapping[str, Any], where: str, names: _Columns
) -> Sentence:
    """The sentence of an object, or of a row of a table."""
    raw, found = values.get(names.words), values.get(names.tags) if names.tags else None
    has_tags = bool(names.tags) and (file.tagged or not _is_blank(found, names))
    tags: list[str] | None = None
    if names.has_spans and has_tags:
        text = json_files.characters(raw, names.words, where)
        if _is_table(file) and isinstance(found, str):
            if not found.strip():
                file.summary.count('empty cells, read as no entities', where)
            found = _listed(found, where)
        words, tags = character_spans.words_and_tags(text, found, names.tags, where, file.summary)
    elif names.is_raw and not _are_words(raw):
        words = split_words(json_files.characters(raw, names.words, where))
    else:
        words = _strings(file, raw, names.words, where)
    if not words:
        raise ValueError(f'{where} has no words in {names.words!r}')
    if has_tags and tags is None:
        tags = _strings(file, found, names.tags, where)
    if tags is not None and len(tags) != len(words):
        raise ValueError(f'{where} has {len(words)} {names.words!r} and {len(tags)} {names.tags!r}')
    return Sentence(words, tags, where, dict(values) if file.columns else None)


def _are_words(value: Any) -> bool:
    """Returns whether a value is a list of strings without white space."""
    is_list = isinstance(value, list)
    return is_list and all(isinstance(x, str) and not SPACE.search(x) for x in value)


def _is_blank(value: Any, names: _Columns) -> bool:
    """Returns whether a value means that the tags are not known. An empty list of character
    positions means that there are no entities."""
    value = value.strip() if isinstance(value, str) else value
    return value is None or value == '' or (value == [] and not names.has_spans)


def _strings(file: SentenceFile, value: Any, name: str, where: str) -> list[str]:
    """The words or tags in a value. name: its column."""
    if _is_table(file) and isinstance(value, str):
        value = _listed(value, where)
    if not isinstance(value, list) or not value:
        raise ValueError(f'{where}: {name!r} is {value!r:.60}; expected a list of strings')
    if all(isinstance(item, list | dict) for item in value):
        raise ValueError(
            f'{where}: {name!r} is {value!r:.60}, character positions; expected a tag for each word'
        )
    if all(type(item) is int for item in value) and name.lower() in TAGS:
        return [*map(str, value)]
    if any(isinstance(item, str) and not item.strip(' \t\r\n') for item in value):
        raise ValueError(f'{where} has an empty string in {name!r}; remove it')
    return [json_files.characters(item, name, where) for item in value]


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


def _blocks(
    file: SentenceFile, table: tables.Table, names: _Columns
) -> Iterator[list[tables.Numbered]]:
    """The rows of each sentence of a table with a row for each word."""
    block: list[tables.Numbered] = []
    last, seen, is_first = '', set[str](), True
    at = table.header.index(names.number) if names.number else -1
    for number, row in table.rows:
        is_blank = not any(cell.strip() for cell in row)
        mark = row[at].strip() if names.number and len(row) == len(table.header) else ''
        # The number may be in the first row of a sentence alone.
        if block and (is_blank or (mark and mark != last)):
            yield block
            block, is_first = [], False
        if mark and mark != last and mark in seen:
            name = 'sentences whose rows are apart, each part read as a sentence'
            file.summary.count(name, f'{file.path}:{number}')
        seen.add(mark)
        last = mark or last
        if not is_blank:
            block.append((number, row))
    if block:
        yield block
        if is_first and not names.number:
            name = 'tables without blank lines or a column `sentence`, read as one sentence'
            file.summary.count(name, str(file.path))


def _of_rows(
    file: SentenceFile, table: tables.Table, rows: list[tables.Numbered], names: _Columns
) -> Sentence:
    """The sentence whose words are in these rows, one in each row."""
    records = [table.record(row)[0] for row in rows]
    columns = {name: [record[name].strip() for record in records] for name in table.header}
    words, tags = columns[names.words], columns[names.tags] if names.tags else None
    if tags and not file.tagged and not any(tags):
        tags = None
    for name, cells in ((names.words, words), (names.tags, tags or ())):
        if '' in cells:
            number, _ = rows[cells.index('')]
            raise ValueError(f'{file.path}:{number} has an empty cell in {name!r}; fill it in')
    where = f'{file.path}:{rows[0][0]}'
    file.count_long(words, where)
    others: dict[str, Any] = {name: columns[name] for name in table.header if name != names.words}
    if names.number:  # one value, often only in the first row
        others[names.number] = next(filter(None, columns[names.number]), '')
    return Sentence(words, tags, where, others if file.columns else None)

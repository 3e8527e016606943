"""Reads questions about texts: SQuAD files, 1.1 and 2.0, and objects or rows of a table."""

import ast
import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bert_jax.data.files import kind
from bert_jax.data.labelled import json_files, records, tables
from bert_jax.data.labelled.answer_places import Answer, place
from bert_jax.data.labelled.bad_rows import OnError, each
from bert_jax.data.summary import Summary

ANSWERS = ('answers', 'answer_text', 'answer_start', 'is_impossible')
FLAGS = {'true': True, 'false': False, '1': True, '0': False, 'none': False, '': False}
EMPTY = 'questions whose answer is empty or "no answer", read as questions without an answer'
# How pandas writes NumPy arrays in a table: array(['otto lang'], dtype=object).
NUMPY = re.compile(r'\barray\((\[[^\[\]]*\])(?:, *dtype=\w+)?\)')


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """A question about a text. where: the file and the place in it, for messages. columns: the
    values that a file of predictions copies from the input, or None."""

    id: str
    question: str
    context: str
    answers: list[Answer]
    is_impossible: bool
    where: str
    columns: Mapping[str, Any] | None = None


def read(path: str | os.PathLike[str], summary: Summary | None = None) -> list[Question]:
    """All questions of a file; see `iter_file`."""
    return list(iter_file(path, summary))


def iter_file(
    path: str | os.PathLike[str],
    summary: Summary | None = None,
    columns: bool = False,
    on_error: OnError | None = None,
    seen: dict[str, str] | None = None,
) -> Iterator[Question]:
    """Reads the questions of a .jsonl file or a table one by one, or a .json file as a whole.

    A .json file has SQuAD's form, or a list of objects. An object, a line of .jsonl and a row of a
    table have `question` and `context`, and may have `id` (default: its place), `is_impossible` and
    `answers`: a list as in SQuAD, or an object with the lists `text` and `answer_start`. An object
    may also be a paragraph of SQuAD, with `qas`. In a table `answers` is JSON, or `answer_text` and
    `answer_start` are columns. A file to predict needs no answers.

    If an answer is not at its `answer_start`, see `answer_places.place`. `summary` counts these
    answers and those that are not in the context. A question without `is_impossible` is impossible
    if all its answers are empty texts or, except in SQuAD 1.1, if its list of answers is empty.
    columns: whether each question keeps the columns of the input: all values of its line or, in
    SQuAD's form, the question and the context. seen: given only if the file is to predict; then
    answers are not read. It has the place of each id of the files before, and the ids of this file
    are added. Raises ValueError, with the file, the place in it and the question's id, for a value
    that is missing, repeated or of a wrong type, unless `on_error` is given (see `bad_rows.each`).
    """
    path, summary = pathlib.Path(path).expanduser(), summary or Summary()
    predicts = seen is not None
    seen = {} if seen is None else seen
    before = len(seen)

    def once(question: Question) -> Question:
        check_id(question, seen)
        return question

    reader = _Reader(path, summary, columns, on_error, predicts)
    yield from each(reader.questions(), once, on_error)
    if len(seen) == before:
        raise ValueError(f'{path} has no questions')
    summary.count('questions', number=len(seen) - before)


def check_id(question: Question, seen: dict[str, str]) -> None:
    """Notes the place of a question by its id. Raises ValueError if another question has the id."""
    if question.id in seen:
        raise ValueError(
            f"{question.where} has the 'id' of {seen[question.id]}; give it another id"
        )
    seen[question.id] = question.where


def references(questions: Sequence[Question]) -> dict[str, list[str]]:
    """The texts of the right answers by question id; impossible questions have none."""
    return {q.id: [answer.text for answer in q.answers] for q in questions}


@dataclasses.dataclass
class _Reader:
    """The options of `iter_file`."""

    path: pathlib.Path
    summary: Summary
    columns: bool
    on_error: OnError | None
    predicts: bool

    def questions(self) -> Iterator[Question]:
        content = None
        if kind(self.path)[0] == '.json' and (content := json_files.whole(self.path)) is not None:
            first = isinstance(content, dict) and str(content.get('version')).startswith('1')
            if isinstance(content, dict) and not {'data', 'question', 'paragraphs', 'qas'} & {
                *content
            }:
                _get(content, 'data', list, str(self.path))
            if isinstance(content, dict) and 'data' in content:
                _get(content, 'data', list, str(self.path))
            found = json_files.listed(content, self.path)
        else:
            advice = "questions need the columns 'question' and 'context'"
            found, first = (
                records.read(self.path, ('question', 'context'), (), advice, self.on_error),
                False,
            )
        for item, where in found:
            if isinstance(item, dict) and 'qas' in item:  # a paragraph alone
                item = {'paragraphs': [item]}
            if isinstance(item, dict) and 'paragraphs' in item:
                yield from self._article(item, where, first)
            elif isinstance(item, dict) and 'data' in item and 'question' not in item:
                version = str(item.get('version')).startswith('1')
                for article, inside in _records(item, 'data', where):
                    yield from self._article(article, inside, version)
            else:
                yield from each([(item, where)], self._flat, self.on_error)

    def _article(self, article: Any, where_article: str, first_version: bool) -> Iterator[Question]:
        for paragraph, where_paragraph in _records(article, 'paragraphs', where_article):
            context = _get(paragraph, 'context', str, where_paragraph)
            if paragraph.get('qas') is None:
                self.summary.count('paragraphs without questions', where_paragraph)
                continue

            def question(found: tuple[Any, str], context: str = context) -> Question:
                record, where = found
                _get(record, 'question', str, where)
                name = _id(record, where)
                kept = {'question': record.get('question'), 'context': context}
                where, shown = f'{where} (id {name})', kept if self.columns else None
                asked = self._asked(record)
                return _question(asked, name, context, where, first_version, self.summary, shown)

            yield from each(_records(paragraph, 'qas', where_paragraph), question, self.on_error)

    def _flat(self, found: tuple[Any, str]) -> Question:
        record, where = found
        if not isinstance(record, dict) or 'question' not in record:
            shown = sorted(record) if isinstance(record, dict) else f'{record!r:.60}'
            raise ValueError(
                f"{where} has {shown}; expected an object with 'question' and 'context', or with "
                "'paragraphs' as in SQuAD"
            )
        if str(self.path) not in self.summary.columns:
            roles = {name: name for name in ('question', 'context', 'answers', 'answer_text')}
            roles = self._asked(roles)
            self.summary.describe(str(self.path), roles, record)
        kept = dict(record) if self.columns else None
        record = self._asked(record)
        if kind(self.path)[0] in tables.SUFFIXES:
            record = _of_row(record, where)
        context = _get(record, 'context', str, where)
        name = _id(record, where)
        return _question(record, name, context, where, False, self.summary, kept)

    def _asked(self, record: dict[str, Any]) -> dict[str, Any]:
        """The values that are read: all, or in a file to predict all except the answers."""
        if not self.predicts:
            return record
        return {name: value for name, value in record.items() if name not in ANSWERS}


def _of_row(row: Mapping[str, str], where: str) -> dict[str, Any]:
    """The object of a row of a table: its answers are JSON or a Python value, or in columns."""
    record: dict[str, Any] = {name: cell for name, cell in row.items() if cell.strip()}
    record |= {'question': row['question'], 'context': row['context']}
    cell = record.pop('answers', None)
    if cell is not None:
        try:
            record['answers'] = json_files.loads(cell)
        except (ValueError, RecursionError):
            try:
                record['answers'] = ast.literal_eval(NUMPY.sub(r'\1', cell))
            except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
                raise ValueError(f"{where}: 'answers' is {cell!r:.60}; expected JSON") from error
    elif 'answer_text' in row:
        answer = {'text': row['answer_text'], 'answer_start': record.get('answer_start')}
        record['answers'] = [answer]
    return record


def _get(record: Any, key: str, kind: type, where: str) -> Any:
    if not isinstance(record, dict):
        raise ValueError(f'{where} is {record!r:.60}; expected an object with {key!r}')
    if key not in record:
        raise ValueError(f'{where} has no {key!r}, only {sorted(record)}; is it a SQuAD file?')
    value = record[key]
    if not isinstance(value, kind):
        raise ValueError(f'{where}: {key!r} is {value!r:.60}; expected {kind.__name__}')
    return json_files.characters(value, key, where) if kind is str else value


def _records(record: Any, key: str, where: str) -> Iterator[tuple[Any, str]]:
    for i, item in enumerate(_get(record, key, list, where)):
        yield item, f'{where}: {key}[{i}]' if key == 'data' else f'{where}.{key}[{i}]'


def _id(record: dict[str, Any], where: str) -> str:
    """The id of a question: a string, or a number as a string; its place if it has none."""
    name = record.get('id')
    if name is None or name == '':
        return where
    if isinstance(name, bool) or not isinstance(name, str | int | float):
        raise ValueError(f"{where}: 'id' is {name!r:.60}; expected str")
    return json_files.characters(str(name), 'id', where)


def _flag(record: dict[str, Any], key: str, where: str) -> bool:
    value = record[key]
    if isinstance(value, float) and value in (0, 1):
        value = int(value)
    found = FLAGS.get(str(value).strip().lower())
    if found is None:
        raise ValueError(f'{where}: {key!r} is {value!r:.60}; expected bool')
    return found


def _listed(record: Any, where: str) -> list[Any] | None:
    """The answers of a question, one by one; None if it has no list of them."""
    answers = record.get('answers')
    if isinstance(answers, dict):
        lists = {key: _get(answers, key, object, where) for key in ('text', 'answer_start')}
        texts, starts = (x if isinstance(x, list) else [x] for x in lists.values())
        if len(texts) != len(starts):
            raise ValueError(f"{where}: 'answers' has {len(texts)} texts and {len(starts)} starts")
        pairs = zip(texts, starts, strict=True)
        return [{'text': text, 'answer_start': start} for text, start in pairs]
    return None if answers is None else _get(record, 'answers', list, where)


def _question(
    record: Any,
    name: str,
    context: str,
    where: str,
    first_version: bool,
    summary: Summary,
    columns: Mapping[str, Any] | None,
) -> Question:
    text = _get(record, 'question', str, where)
    if not context.strip():
        raise ValueError(f"{where}: 'context' is empty; give its text or remove the question")
    if not text.strip():
        summary.count('questions without text', where)
    found = _listed(record, where)
    places = [(answer, f'{where}.answers[{i}]') for i, answer in enumerate(found or ())]
    read = [place(answer, context, at, summary) for answer, at in places]
    answers = [answer for answer in read if answer is not None]
    impossible = found == [] and not first_version
    if record.get('is_impossible') is not None:
        impossible = _flag(record, 'is_impossible', where)
    if impossible and answers:
        raise ValueError(f"{where}: 'is_impossible' is true, but it has {len(answers)} 'answers'")
    if len(answers) < len(read):
        if not answers and not impossible:
            summary.count(EMPTY, where)
        elif answers:
            summary.count('empty answers beside others, left out', where)
        impossible = not answers
    return Question(name, text, context, answers, impossible, where, columns)

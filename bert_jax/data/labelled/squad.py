"""Reads questions about texts: SQuAD files, 1.1 and 2.0, and objects or rows of a table."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bert_jax.data.files import kind
from bert_jax.data.labelled import json_files, records, tables
from bert_jax.data.labelled.answer_places import Answer, place
from bert_jax.data.labelled.bad_rows import OnError, each, not_empty
from bert_jax.data.summary import Summary

NESTED = ('qas', 'paragraphs', 'data')  # lists that have questions inside
NEEDED = ('question', 'context')  # keys or columns that every question has
FLAGS = {'true': True, 'false': False, '1': True, '0': False, 'none': False, '': False}
EMPTY = 'questions whose answer is empty or "no answer", read as questions without an answer'


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
    before, is_table = len(seen), kind(path)[0] in tables.SUFFIXES

    def question(raw: _RawQuestion) -> Question:
        record, where = raw.record, raw.where
        text = _get(record, 'question', str, where)
        context, name = _get(record, 'context', str, where), _id(record, where)
        kept = {key: record[key] for key in (NEEDED if raw.in_squad else record)}
        if raw.in_squad:
            where = f'{where} (id {name})'
        elif str(path) not in summary.columns:
            roles = NEEDED if predicts else (*NEEDED, 'answers', 'answer_text')
            summary.describe(str(path), {role: role for role in roles}, record)
        if not context.strip():
            raise ValueError(f"{where}: 'context' is empty; give its text or remove the question")
        if not text.strip():
            summary.count('questions without text', where)
        if predicts:  # the answers are not read
            record = {}
        elif is_table:
            record = _of_row(record, where)
        answers = _answers(record, context, where, raw.is_version_1, summary)
        made = Question(name, text, context, *answers, where, kept if columns else None)
        check_id(made, seen)
        return made

    found = each(_raw_questions(path, summary, on_error), question, on_error)
    yield from not_empty(found, f'{path} has no questions')
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


class _RawQuestion(NamedTuple):
    """A question as it is in the file. record: an object with `question` and `context`, or by
    mistake something else. in_squad: whether it is in a paragraph of SQuAD's form. is_version_1:
    whether it is in a file of SQuAD 1.1, in which every question has an answer."""

    record: Any
    where: str
    in_squad: bool = False
    is_version_1: bool = False


def _raw_questions(
    path: pathlib.Path, summary: Summary, on_error: OnError | None
) -> Iterator[_RawQuestion]:
    """The questions of a file."""
    content = json_files.whole(path) if kind(path)[0] == '.json' else None
    found: Iterable[tuple[Any, str]] = [(content, str(path))]
    if isinstance(content, list):
        found = ((item, f'{path}: [{i}]') for i, item in enumerate(content))
    elif content is None:
        advice = "questions need the columns 'question' and 'context'"
        found = records.read(path, NEEDED, (), advice, on_error)
    for item, where in found:
        yield from _inside(item, where, summary)


def _inside(
    item: Any, where: str, summary: Summary, is_version_1: bool = False
) -> Iterator[_RawQuestion]:
    """The questions in an object: itself, or those in its lists `data`, `paragraphs` or `qas`."""
    names = () if not isinstance(item, dict) or 'question' in item else NESTED
    name = next((name for name in names if name in item), '')
    if not name:
        yield _RawQuestion(item, where)
        return
    is_version_1 = is_version_1 or str(item.get('version')).startswith('1')
    if name == 'qas':
        context = _get(item, 'context', str, where)
    for i, inner in enumerate(_get(item, name, list, where)):
        at = f'{where}: {name}[{i}]' if name == 'data' else f'{where}.{name}[{i}]'
        if name == 'qas':
            record = {**inner, 'context': context} if isinstance(inner, dict) else inner
            yield _RawQuestion(record, at, True, is_version_1)
        elif name == 'paragraphs' and isinstance(inner, dict) and inner.get('qas') is None:
            summary.count('paragraphs without questions', at)
        else:
            yield from _inside(inner, at, summary, is_version_1)


def _of_row(row: Mapping[str, str], where: str) -> dict[str, Any]:
    """The object of a row of a table: its answers are JSON or a Python value, or in columns."""
    record: dict[str, Any] = {name: cell for name, cell in row.items() if cell.strip()}
    if cell := record.get('answers'):
        record['answers'] = tables.value_in(cell)
        if record['answers'] is None and cell.strip() not in ('null', 'None'):
            raise ValueError(f"{where}: 'answers' is {cell!r:.60}; expected JSON")
    elif 'answer_text' in row:
        answer = {'text': row['answer_text'], 'answer_start': record.get('answer_start')}
        record['answers'] = [answer]
    return record


def _get(record: Any, key: str, kind: type, where: str) -> Any:
    if not isinstance(record, dict):
        raise ValueError(f'{where} is {record!r:.60}; expected an object with {key!r}')
    if key not in record:
        raise ValueError(
            f'{where} has no {key!r}, only {sorted(record)}; is it a file of '
            "SQuAD, or of 'question' and 'context'?"
        )
    value = record[key]
    if not isinstance(value, kind):
        raise ValueError(f'{where}: {key!r} is {value!r:.60}; expected {kind.__name__}')
    return json_files.characters(value, key, where) if kind is str else value


def _id(record: dict[str, Any], where: str) -> str:
    """The id of a question: a string, or a number as a string; its place if it has none."""
    name = record.get('id')
    if name is None or name == '':
        return where
    if isinstance(name, bool) or not isinstance(name, str | int | float):
        raise ValueError(f"{where}: 'id' is {name!r:.60}; expected str")
    return json_files.characters(str(name), 'id', where)


def _flag(value: Any, where: str) -> bool:
    if isinstance(value, float) and value in (0, 1):
        value = int(value)
    found = FLAGS.get(str(value).strip().lower())
    if found is None:
        raise ValueError(f"{where}: 'is_impossible' is {value!r:.60}; expected bool")
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


def _answers(
    record: dict[str, Any], context: str, where: str, is_version_1: bool, summary: Summary
) -> tuple[list[Answer], bool]:
    """The answers of a question, and whether it is impossible. `summary` counts odd answers.
    Raises ValueError if the answers and `is_impossible` do not fit together."""
    found = _listed(record, where)
    places = [(answer, f'{where}.answers[{i}]') for i, answer in enumerate(found or ())]
    read = [place(answer, context, at, summary) for answer, at in places]
    answers = [answer for answer in read if answer is not None]
    impossible = found == [] and not is_version_1
    if record.get('is_impossible') is not None:
        impossible = _flag(record['is_impossible'], where)
    if impossible and answers:
        raise ValueError(f"{where}: 'is_impossible' is true, but it has {len(answers)} 'answers'")
    if len(answers) < len(read):
        if not answers and not impossible:
            summary.count(EMPTY, where)
        elif answers:
            summary.count('empty answers beside others, left out', where)
        impossible = not answers
    return answers, impossible

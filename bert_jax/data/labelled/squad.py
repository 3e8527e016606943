"""Reads questions about texts from SQuAD files, 1.1 and 2.0, and .jsonl files."""

import dataclasses
import json
import os
import pathlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bert_jax.data import files
from bert_jax.data.labelled import examples
from bert_jax.data.labelled.bad_rows import OnError, each
from bert_jax.data.summary import Summary


class Answer(NamedTuple):
    """An answer to a question.

    text: as in the file. start, end: the answer is context[start:end]; start is -1 if it is not in
    the context.
    """

    text: str
    start: int
    end: int


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
) -> Iterator[Question]:
    """Reads the questions of a .jsonl file one by one, or a SQuAD file as a whole.

    A line of .jsonl is an object with `question` and `context`, and may have `id` (default:
    path:line), `answers` and `is_impossible`, as in SQuAD files; `answers` may also be an object
    with the lists `text` and `answer_start`. A file to predict needs no `answers`.

    If an answer is not at its `answer_start`, the nearest place in the context that has it is used.
    White space may differ there, and accents may be composed or decomposed. `summary` counts these
    answers, and those that are not in the context. A question of 2.0 without `is_impossible` is
    impossible if its list of answers is empty. columns: whether each question keeps the columns of
    the input: all values of its line or, in a SQuAD file, the question and the context. Raises
    ValueError, with the file, the place in it and the question's id, for a value that is missing,
    repeated or of a wrong type, unless `on_error` is given (see `bad_rows.each`).
    """
    path, summary = pathlib.Path(path).expanduser(), summary or Summary()
    seen: dict[str, str] = {}
    is_jsonl = files.kind(path)[0] == '.jsonl'
    read = _jsonl if is_jsonl else _nested

    def once(question: Question) -> Question:
        if question.id in seen:
            raise ValueError(
                f"{question.where} has the 'id' of {seen[question.id]}; give it another id"
            )
        seen[question.id] = question.where
        return question

    yield from each(read(path, summary, columns, on_error), once, on_error)
    if not seen:
        raise ValueError(f'{path} has no questions')
    summary.count('questions', number=len(seen))


def references(questions: Sequence[Question]) -> dict[str, list[str]]:
    """The texts of the right answers by question id; impossible questions have none."""
    return {q.id: [answer.text for answer in q.answers] for q in questions}


def _jsonl(
    path: pathlib.Path, summary: Summary, columns: bool, on_error: OnError | None
) -> Iterator[Question]:
    def question(found: tuple[dict[str, Any], str]) -> Question:
        record, where = found
        kept = dict(record) if columns else None
        if isinstance(answers := record.get('answers'), dict):
            texts, starts = (_get(answers, key, list, where) for key in ('text', 'answer_start'))
            if len(texts) != len(starts):
                raise ValueError(
                    f"{where}: 'answers' has {len(texts)} texts and {len(starts)} starts"
                )
            pairs = zip(texts, starts, strict=True)
            record['answers'] = [{'text': text, 'answer_start': start} for text, start in pairs]
        context = _get(record, 'context', str, where)
        name = where if record.get('id') is None else str(record['id'])
        return _question(record, name, context, where, False, summary, kept)

    yield from each(examples.records(path, 'question', on_error), question, on_error)


def _nested(
    path: pathlib.Path, summary: Summary, columns: bool, on_error: OnError | None
) -> Iterator[Question]:
    try:
        content = json.loads(''.join(files.lines(path)))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f'{path} is not JSON ({error}); it may be incomplete') from error
    first_version = isinstance(content, dict) and str(content.get('version')).startswith('1')
    for article, where_article in _records(content, 'data', str(path)):
        for paragraph, where_paragraph in _records(article, 'paragraphs', where_article):
            context = _get(paragraph, 'context', str, where_paragraph)

            def question(found: tuple[Any, str], context: str = context) -> Question:
                record, where = found
                name = _get(record, 'id', str, where)
                kept = {'question': record.get('question'), 'context': context}
                where, shown = f'{where} (id {name})', kept if columns else None
                return _question(record, name, context, where, first_version, summary, shown)

            yield from each(_records(paragraph, 'qas', where_paragraph), question, on_error)


def _get(record: Any, key: str, kind: type, where: str) -> Any:
    if not isinstance(record, dict):
        raise ValueError(f'{where} is {record!r:.60}; expected an object with {key!r}')
    if key not in record:
        raise ValueError(f'{where} has no {key!r}, only {sorted(record)}; is it a SQuAD file?')
    value = record[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f'{where}: {key!r} is {value!r:.60}; expected {kind.__name__}')
    return examples.characters(value, key, where) if kind is str else value


def _records(record: Any, key: str, where: str) -> Iterator[tuple[Any, str]]:
    for i, item in enumerate(_get(record, key, list, where)):
        yield item, f'{where}: {key}[{i}]' if key == 'data' else f'{where}.{key}[{i}]'


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
    records = list(_records(record, 'answers', where)) if 'answers' in record else None
    impossible = records == [] and not first_version
    if 'is_impossible' in record:
        impossible = _get(record, 'is_impossible', bool, where)
    if impossible and records:
        raise ValueError(f"{where}: 'is_impossible' is true, but it has {len(records)} 'answers'")
    answers = [_answer(answer, context, place, summary) for answer, place in records or ()]
    return Question(name, text, context, answers, impossible, where, columns)


def _answer(record: Any, context: str, where: str, summary: Summary) -> Answer:
    text, start = _get(record, 'text', str, where), _get(record, 'answer_start', int, where)
    if text.strip() and start >= 0 and context.startswith(text, start):
        return Answer(text, start, start + len(text))
    matches = list(_pattern(text).finditer(context)) if text.strip() else []
    if not matches:
        summary.count('answers that are not in their context', where)
        return Answer(text, -1, -1)
    nearest = min(matches, key=lambda match: abs(match.start() - start))
    summary.count('answers not at their answer_start, found elsewhere', where)
    return Answer(text, *nearest.span())


def _pattern(text: str) -> re.Pattern[str]:
    """Matches the text with any white space, and with accents composed or decomposed."""
    normal = unicodedata.normalize('NFC', text)
    forms = {c: {re.escape(c), re.escape(unicodedata.normalize('NFD', c))} for c in set(normal)}
    words = [''.join(f'(?:{"|".join(sorted(forms[c]))})' for c in w) for w in normal.split()]
    return re.compile(r'\s+'.join(words))

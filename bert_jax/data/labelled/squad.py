"""Questions about texts, in the files of SQuAD 1.1 and 2.0 and in jsonl."""

import dataclasses
import json
import os
import pathlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from bert_jax.data import files
from bert_jax.data.labelled import examples
from bert_jax.data.summary import Summary


class Answer(NamedTuple):
    """text: as the file has it. start, end: its characters in the context, [start, end); start is
    -1 if the context does not have it."""

    text: str
    start: int
    end: int


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """where: the file and the place in it, for messages."""

    id: str
    question: str
    context: str
    answers: list[Answer]
    is_impossible: bool
    where: str


def read(path: str | os.PathLike[str], summary: Summary | None = None) -> list[Question]:
    """All of `iter_file`."""
    return list(iter_file(path, summary))


def iter_file(path: str | os.PathLike[str], summary: Summary | None = None) -> Iterator[Question]:
    """The questions of a .jsonl file, a line at a time, or of a SQuAD file, 1.1 or 2.0.

    A line of jsonl is an object with `question` and `context`, and may have `id` (default: file
    and line), `answers` and `is_impossible`, all as in SQuAD's files; `answers` may also be one
    object with the lists `text` and `answer_start`. A file to predict needs no `answers`.

    An answer that is not at its `answer_start` is looked for in the rest of the context, with any
    white space between its words and its accents composed or not; `summary` counts the answers
    that are found and those that are not. Without `is_impossible` a question of 2.0 is impossible
    if its list of answers is empty. Raises ValueError, with the file, the place in it and the
    question's id, for what is broken, missing, of a wrong type or repeated.
    """
    path, summary = pathlib.Path(path).expanduser(), summary or Summary()
    seen: dict[str, str] = {}
    is_jsonl = files.kind(path)[0] == '.jsonl'
    questions = _jsonl(path, summary) if is_jsonl else _nested(path, summary)
    for question in questions:
        if question.id in seen:
            raise ValueError(
                f"{question.where}: 'id' is that of {seen[question.id]} too; "
                'every question needs its own'
            )
        seen[question.id] = question.where
        yield question
    if not seen:
        raise ValueError(f'{path} has no questions')
    summary.count('questions', number=len(seen))


def references(questions: Sequence[Question]) -> dict[str, list[str]]:
    """The texts of the answers by question id, as `squad_scores.squad` takes them; none for
    impossible questions."""
    return {
        question.id: [] if question.is_impossible else [answer.text for answer in question.answers]
        for question in questions
    }


def _jsonl(path: pathlib.Path, summary: Summary) -> Iterator[Question]:
    for record, where in examples.records(path, 'question'):
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
        yield _question(record, name, context, where, False, summary)


def _nested(path: pathlib.Path, summary: Summary) -> Iterator[Question]:
    try:
        content = json.loads(''.join(files.lines(path)))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f'{path} is not JSON ({error}); is it whole?') from error
    first_version = isinstance(content, dict) and str(content.get('version')).startswith('1')
    for article, article_at in _records(content, 'data', str(path)):
        for paragraph, paragraph_at in _records(article, 'paragraphs', article_at):
            context = _get(paragraph, 'context', str, paragraph_at)
            for record, at in _records(paragraph, 'qas', paragraph_at):
                name = _get(record, 'id', str, at)
                at = f'{at} (id {name})'
                yield _question(record, name, context, at, first_version, summary)


def _get(record: Any, key: str, kind: type, where: str) -> Any:
    if not isinstance(record, dict):
        raise ValueError(f'{where} is {record!r:.60}; expected an object with {key!r}')
    if key not in record:
        raise ValueError(f'{where} has no {key!r}, only {sorted(record)}; is it of SQuAD?')
    value = record[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f'{where}: {key!r} is {value!r:.60}; expected {kind.__name__}')
    return examples.characters(value, key, where) if kind is str else value


def _records(record: Any, key: str, where: str) -> Iterator[tuple[Any, str]]:
    for i, found in enumerate(_get(record, key, list, where)):
        yield found, f'{where}: {key}[{i}]' if key == 'data' else f'{where}.{key}[{i}]'


def _question(
    record: Any, name: str, context: str, where: str, first_version: bool, summary: Summary
) -> Question:
    text = _get(record, 'question', str, where)
    if not context.strip():
        raise ValueError(f"{where}: 'context' is empty; give its text or remove the question")
    if not text.strip():
        summary.count('questions without a word', where)
    found = list(_records(record, 'answers', where)) if 'answers' in record else None
    impossible = found == [] and not first_version
    if 'is_impossible' in record:
        impossible = _get(record, 'is_impossible', bool, where)
    if impossible and found:
        raise ValueError(f"{where}: 'is_impossible' is true, but there are {len(found)} 'answers'")
    answers = [_answer(answer, context, at, summary) for answer, at in found or ()]
    return Question(name, text, context, answers, impossible, where)


def _answer(record: Any, context: str, where: str, summary: Summary) -> Answer:
    text, start = _get(record, 'text', str, where), _get(record, 'answer_start', int, where)
    if text.strip() and start >= 0 and context.startswith(text, start):
        return Answer(text, start, start + len(text))
    found = list(_pattern(text).finditer(context)) if text.strip() else []
    if not found:
        summary.count('answers that are not in their context', where)
        return Answer(text, -1, -1)
    nearest = min(found, key=lambda match: abs(match.start() - start))
    summary.count('answers not at their answer_start, found elsewhere', where)
    return Answer(text, *nearest.span())


def _pattern(text: str) -> re.Pattern[str]:
    """Matches the text with any white space, its accents composed or decomposed."""
    normal = unicodedata.normalize('NFC', text)
    forms = {c: {re.escape(c), re.escape(unicodedata.normalize('NFD', c))} for c in set(normal)}
    words = [''.join(f'(?:{"|".join(sorted(forms[c]))})' for c in w) for w in normal.split()]
    return re.compile(r'\s+'.join(words))

"""Questions on texts as SQuAD 1.1 and 2.0 ask them: their files."""

import dataclasses
import json
import pathlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from bert_jax.data.summary import Summary

SURROGATES = re.compile('[\ud800-\udfff]')


class Answer(NamedTuple):
    """text: as the file has it. start, end: its characters in the context, [start, end); start is
    -1 where it is not in it."""

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


def read(path: str | pathlib.Path, summary: Summary | None = None) -> list[Question]:
    """The questions of a SQuAD file, version 1.1 or 2.0; a test file may leave `answers` out.

    An answer that is not at its place is looked for in the rest of the context, with any white
    space between its words and its accents composed or not; `summary` counts those found and those
    not. Without `is_impossible` a question of 2.0 is impossible where its
    list of answers is empty. Raises ValueError, with the file, the place in it and the question's
    id, for what is broken, missing, of a wrong type or there twice.
    """
    path, summary = pathlib.Path(path).expanduser(), summary or Summary()
    questions: list[Question] = []
    seen: dict[str, str] = {}
    content = _json(path)
    first_version = isinstance(content, dict) and str(content.get('version')).startswith('1')
    for article, article_at in _records(content, 'data', str(path)):
        for paragraph, paragraph_at in _records(article, 'paragraphs', article_at):
            context = _get(paragraph, 'context', str, paragraph_at)
            if not context.strip():
                raise ValueError(f"{paragraph_at}: 'context' is empty; give its text or remove it")
            for record, at in _records(paragraph, 'qas', paragraph_at):
                question = _question(record, context, at, first_version, summary)
                if question.id in seen:
                    raise ValueError(
                        f"{question.where}: 'id' is that of {seen[question.id]} too; "
                        'every question needs its own'
                    )
                seen[question.id] = at
                questions.append(question)
    if not questions:
        raise ValueError(f'{path} has no questions: its lists data, paragraphs or qas are empty')
    summary.count('questions', number=len(questions))
    return questions


def references(questions: Sequence[Question]) -> dict[str, list[str]]:
    """The texts of the answers by id, as `squad_metrics.squad` takes them; none for impossible
    questions."""
    return {
        question.id: [] if question.is_impossible else [answer.text for answer in question.answers]
        for question in questions
    }


def _json(path: pathlib.Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        reason = error.strerror
        raise ValueError(f"{path} can't be read ({reason}); expected a SQuAD file") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is not JSON ({error}); is it whole?') from error


def _get(record: Any, key: str, kind: type, where: str) -> Any:
    if not isinstance(record, dict):
        raise ValueError(f'{where} is {record!r:.60}; expected an object with {key!r}')
    if key not in record:
        raise ValueError(f'{where} has no {key!r}, only {sorted(record)}; is it of SQuAD?')
    value = record[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f'{where}: {key!r} is {value!r:.60}; expected {kind.__name__}')
    if isinstance(value, str) and SURROGATES.search(value):
        raise ValueError(f'{where}: {key!r} has half a surrogate pair, which is no character')
    return value


def _records(record: Any, key: str, where: str) -> Iterator[tuple[Any, str]]:
    for i, found in enumerate(_get(record, key, list, where)):
        yield found, f'{where}: {key}[{i}]' if key == 'data' else f'{where}.{key}[{i}]'


def _question(
    record: Any, context: str, where: str, first_version: bool, summary: Summary
) -> Question:
    name = _get(record, 'id', str, where)
    where = f'{where} (id {name})'
    text = _get(record, 'question', str, where)
    found = list(_records(record, 'answers', where)) if 'answers' in record else None
    if not text.strip():
        summary.count('questions without a word', where)
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
    found = list(_alike(text).finditer(context)) if text.strip() else []
    if not found:
        summary.count('answers that are not in their context', where)
        return Answer(text, -1, -1)
    nearest = min(found, key=lambda match: abs(match.start() - start))
    summary.count('answers not at their answer_start, found elsewhere', where)
    return Answer(text, *nearest.span())


def _alike(text: str) -> re.Pattern[str]:
    """The text, whatever its white space and the normal form of its accents."""
    words = unicodedata.normalize('NFC', text).split()
    return re.compile(r'\s+'.join(''.join(map(_either_form, word)) for word in words))


def _either_form(character: str) -> str:
    composed, apart = re.escape(character), re.escape(unicodedata.normalize('NFD', character))
    return composed if composed == apart else f'(?:{composed}|{apart})'

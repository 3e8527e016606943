"""What a fine-tuned model says of new examples, a record each: labels, numbers, tags, answers."""

import collections
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from bert_jax.data.labelled import conll, examples, squad, squad_answers, squad_windows, tagging
from bert_jax.data.labelled.rows import EncodedExamples
from bert_jax.data.labelled.squad import Question
from bert_jax.data.summary import Summary
from bert_jax.inference.trained_model import WINDOW, Bert
from bert_jax.tasks.classification import ClassificationTask, RegressionTask
from bert_jax.tasks.question_answering import QuestionAnsweringTask
from bert_jax.tasks.tagging import TaggingTask

T = TypeVar('T')
Record = dict[str, Any]
QUESTIONS = 256  # of a window; each is several rows


def records(bert: Bert, path: pathlib.Path, summary: Summary | None = None) -> Iterator[Record]:
    """A record for each example of a file, in order. Of .csv, .tsv and .jsonl no more than a
    window is in memory; .conll and .json are read whole.

    By the head of the checkpoint: texts (.csv, .tsv, .jsonl) get `label` and `probabilities`, or
    `value`; sentences (.conll, or .jsonl with `words`) get `tags`; questions (SQuAD's .json, or
    .jsonl with `question` and `context`) get `answer` and `probability`. All are cut or windowed as
    they were in training; `summary` counts what was lost or odd. Raises ValueError for a checkpoint
    without such a head and for what is wrong in the file, with its line.
    """
    summary = summary or Summary()
    if 'classifier' in bert.heads:
        data = bert.data
        found = examples.iter_file(
            path, text=data.text_field, text_b=data.text_b_field, label=data.label_field
        )
        found = examples.alike(found, bert.pairs)
        return _windows(found, WINDOW, lambda some: _classified(bert, some, summary))
    if 'tagger' in bert.heads:
        return _windows(
            _sentences(path, summary), WINDOW, lambda some: _tagged(bert, some, summary)
        )
    if 'span' in bert.heads:
        return _windows(
            _questions(path, summary), QUESTIONS, lambda some: _answered(bert, some, summary)
        )
    raise ValueError(
        f'this checkpoint has no head of a task, only {", ".join(bert.heads) or "the encoder"}; '
        'fine-tune it first, or give --mode=fill_mask or embed'
    )


def _windows(
    items: Iterable[T], size: int, function: Callable[[list[T]], Iterable[Record]]
) -> Iterator[Record]:
    items = iter(items)
    while window := list(itertools.islice(items, size)):
        yield from function(window)


def _classified(bert: Bert, found: list[examples.Example], summary: Summary) -> Iterator[Record]:
    before, longest = bert.truncated, bert.data.max_seq_length
    rows = bert.encoder.encode([example.parts for example in found], longest)
    if cut := bert.truncated - before:
        summary.count(f'texts of more than {longest} tokens, cut as in training', number=cut)
    encoded = EncodedExamples.from_rows(rows, {}, bert.encoder.vocabulary.specials.pad)
    if not bert.labels:
        values = bert.predict(encoded, RegressionTask(bert.config))['values']
        yield from ({'value': float(value)} for value in values)
        return
    logits = bert.predict(encoded, ClassificationTask(bert.config, len(bert.labels)))['logits']
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    for row in shares:
        probabilities = dict(zip(bert.labels, map(float, row), strict=True))
        yield {'label': bert.labels[int(row.argmax())], 'probabilities': probabilities}


def _tagged(bert: Bert, sentences: list[conll.Sentence], summary: Summary) -> Iterator[Record]:
    shown = tagging.windows(
        sentences,
        bert.encoder.vocabulary,
        bert.labels,
        max_seq_length=bert.data.max_seq_length,
        summary=summary,
    )
    encoded = EncodedExamples.from_rows(shown.rows, {}, bert.encoder.vocabulary.specials.pad)
    outputs = list(bert.predict(encoded, TaggingTask(bert.config, len(bert.labels)))['tags'])
    for sentence, tags in zip(sentences, tagging.decode(sentences, shown, outputs), strict=True):
        yield {'words': sentence.words, 'tags': tags}


def _answered(bert: Bert, questions: list[Question], summary: Summary) -> Iterator[Record]:
    data, ids = bert.data, collections.Counter(question.id for question in questions)
    for question in questions:
        if ids[question.id] > 1:
            raise ValueError(f'{question.where}: the id {question.id} is there twice')
    shown = squad_windows.windows(
        questions,
        bert.encoder.vocabulary,
        max_seq_length=data.max_seq_length,
        doc_stride=data.doc_stride,
        max_query_length=data.max_query_length,
        training=False,
        summary=summary,
    )
    encoded = EncodedExamples.from_rows(shown, {}, bert.encoder.vocabulary.specials.pad)
    found = bert.predict(encoded, QuestionAnsweringTask(bert.config))
    starts, ends = found['start_logits'], found['end_logits']
    limits, version_2 = bert.eval, 'no_answer' in bert.labels
    found = squad_answers.decode(
        questions,
        shown,
        starts,
        ends,
        n_best=limits.n_best,
        max_answer_length=limits.max_answer_length,
        null_threshold=limits.null_threshold,
        version_2=version_2,
    )
    for question in questions:
        answer, best = found.predictions[question.id], found.nbest[question.id]
        share = next((n['probability'] for n in best if n['text'] == answer), None)
        yield {'id': question.id, 'answer': answer, 'probability': share, 'n_best': best[:3]}


def _sentences(path: pathlib.Path, summary: Summary) -> Iterator[conll.Sentence]:
    if '.jsonl' not in path.suffixes:
        yield from conll.read(path, tagged=False, summary=summary)
        return
    for record, where in examples.records(path, 'words'):
        words = record.get('words')
        if not isinstance(words, list) or not words:
            raise ValueError(f"{where}: 'words' is {words!r:.60}; expected a list of strings")
        words = [examples.characters(word, 'words', where) for word in words]
        if '' in words:
            raise ValueError(f"{where} has an empty word in 'words'; leave it away")
        yield conll.Sentence(words, None, where)


def _questions(path: pathlib.Path, summary: Summary) -> Iterator[Question]:
    if '.jsonl' not in path.suffixes:
        yield from squad.read(path, summary)
        return
    for record, where in examples.records(path, 'question'):
        asked, context = (
            examples.string(record.get(name), name, where) for name in ('question', 'context')
        )
        yield Question(str(record.get('id', where)), asked, context, [], False, where)

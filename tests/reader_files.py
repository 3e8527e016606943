"""A small right file for every reader, and what the reader makes of a file."""

import csv
import dataclasses
import io
import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import small_tasks

from bert_jax.config import Config, DataConfig
from bert_jax.data.labelled import glue, labels
from bert_jax.data.summary import Summary
from bert_jax.data.text import readers
from bert_jax.data.tokenizers import tokenizer
from bert_jax.finetuning.datasets import PROCESSORS
from bert_jax.finetuning.task_data import PREDICT, TRAIN, TaskFacts
from bert_jax.inference import text_files

VOCABULARY = tokenizer.WordPiece(small_tasks.PIECES, True)
DATA = DataConfig(max_seq_length=16, max_query_length=4, doc_stride=4)
FACTS = {
    'classifier': TaskFacts(('neg', 'pos'), pairs=False),
    'tagger': TaskFacts(('O', 'B-PER')),
    'span': TaskFacts(),
}


class Reader(NamedTuple):
    """name: of the file. good: its content. read: the values of its rows, from a file, and the
    counts. rows: the number of rows of a text, counted in another way; -1 if it is unknown."""

    name: str
    good: str
    read: Callable[[pathlib.Path, Summary], list[Any]]
    rows: Callable[[str], int]


def task(head: str, split: str) -> Callable[[pathlib.Path, Summary], list[Any]]:
    def read(path: pathlib.Path, summary: Summary) -> list[Any]:
        data = dataclasses.replace(DATA, train_file=str(path))
        config = Config(model=small_tasks.MODEL, data=data)
        processor = PROCESSORS[head](config, VOCABULARY, FACTS[head])
        rows = list(processor.read(str(path), summary, split))
        if split == TRAIN:
            processor.facts = processor.find_facts(rows, rows)
            alike = labels.alike(processor.facts.labels)
            summary.count('labels that are alike', number=len(alike))
        processor.encode(rows, summary, split)
        return list(map(values, rows))

    return read


def values(row: Any) -> Any:
    """Returns the content of a row without its place."""
    if hasattr(row, 'words'):
        return row.words, row.tags
    if hasattr(row, 'question'):
        return row.question, row.context, [answer.text for answer in row.answers], row.is_impossible
    return row.text, row.text_b, row.label


def corpus(path: pathlib.Path, summary: Summary) -> list[Any]:
    source = readers.source(DataConfig(corpus=f'text:{path}', documents='line'))
    return list(source.read(summary))


def lines(path: pathlib.Path, summary: Summary) -> list[Any]:
    return [example.parts for example in text_files.read(path, DATA)]


def official(path: pathlib.Path, summary: Summary) -> list[Any]:
    found = glue.read('rte', path.parent, 'train', summary)
    summary.counts.pop('examples missing from the official rte train', None)
    return list(map(values, found))


TEXTS = [f'the {word} film was a café {i}' for i, word in enumerate(('good', 'bad') * 6)]
LABELS = ['pos', 'neg'] * 6
WORDS = [
    (f'{name} went and {i} was good .'.split(), ['B-PER', *['O'] * 6])
    for i, name in enumerate(('anna', 'bert') * 6)
]
QUESTIONS = [
    {
        'id': f'q{i}',
        'question': 'who went ?',
        'context': f'the plot {i} was good . {name} went',
        'answers': [{'text': name, 'answer_start': len(f'the plot {i} was good . ')}],
    }
    for i, name in enumerate(('anna', 'bert') * 6)
]


def table(header: list[str], rows: list[list[str]], tabs: bool = False) -> str:
    if tabs:
        return ''.join('\t'.join(row) + '\n' for row in [header, *rows])
    file = io.StringIO()
    csv.writer(file, lineterminator='\n').writerows([header, *rows])
    return file.getvalue()


def objects(records: list[dict]) -> str:
    return ''.join(json.dumps(record, ensure_ascii=False) + '\n' for record in records)


def csv_rows(text: str) -> int:
    return sum(any(row) for row in csv.reader(io.StringIO(text.removeprefix('\ufeff')))) - 1


def line_rows(text: str) -> int:
    return sum(bool(line.strip()) for line in text.split('\n'))


def all_rows(text: str) -> int:
    return text.removesuffix('\n').count('\n') + 1


def unknown(text: str) -> int:
    return -1


texts = [{'text': t, 'label': x} for t, x in zip(TEXTS, LABELS, strict=True)]
words = [{'words': w, 'tags': t} for w, t in WORDS]
entities = [{'text': ' '.join(w), 'entities': [[0, len(w[0]), 'PER']]} for w, _ in WORDS]
paragraphs = [
    {'context': q['context'], 'qas': [{k: v for k, v in q.items() if k != 'context'}]}
    for q in QUESTIONS
]
nested = {'data': [{'paragraphs': paragraphs}]}
pairs = [[list(pair) for pair in zip(*sentence, strict=True)] for sentence in WORDS]
cells = [[*row.values()] for row in texts]
columns = '\n'.join(''.join(f'{word}\t{tag}\n' for word, tag in rows) for rows in pairs)
by_word = [[str(i), *pair] for i, rows in enumerate(pairs) for pair in rows]
by_sentence = [[' '.join(w), ' '.join(t)] for w, t in WORDS]
asked = [[*list(q.values())[:3], json.dumps(q['answers'])] for q in QUESTIONS]
entailment = [[str(i), text, text, 'entailment'] for i, text in enumerate(TEXTS)]
# name -> (the head of its task, its content, how its rows are counted)
FILES: dict[str, tuple[str, str, Callable[[str], int]]] = {
    'text.csv': ('classifier', table(['text', 'label'], cells), csv_rows),
    'text.tsv': ('classifier', table(['text', 'label'], cells, True), lambda t: line_rows(t) - 1),
    'text.jsonl': ('classifier', objects(texts), line_rows),
    'text.json': ('classifier', json.dumps(texts, ensure_ascii=False, indent=1), unknown),
    'words.conll': ('tagger', columns, unknown),
    'words.jsonl': ('tagger', objects(words), line_rows),
    'entities.jsonl': ('tagger', objects(entities), line_rows),
    'words.csv': ('tagger', table(['words', 'tags'], by_sentence), csv_rows),
    'word.csv': ('tagger', table(['sentence', 'word', 'tag'], by_word), unknown),
    'squad.json': ('span', json.dumps(nested), unknown),
    'squad.jsonl': ('span', objects(QUESTIONS), line_rows),
    'squad.csv': ('span', table(['id', 'question', 'context', 'answers'], asked), csv_rows),
}
text_lines = '\n'.join(TEXTS) + '\n'
glue_table = table(['index', 'sentence1', 'sentence2', 'label'], entailment, True)
READERS = {
    **{
        f'{verb} {name}': Reader(name, good, task(head, split), rows)
        for verb, split in (('train on', TRAIN), ('predict', PREDICT))
        for name, (head, good, rows) in FILES.items()
    },
    'embed lines.txt': Reader('lines.txt', text_lines, lines, all_rows),
    'pretrain on text.txt': Reader('text.txt', text_lines, corpus, line_rows),
    'pretrain on text.jsonl': Reader('text.jsonl', objects(texts), corpus, line_rows),
    'GLUE': Reader('train.tsv', glue_table, official, unknown),
}

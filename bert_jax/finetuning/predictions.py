"""Predictions of a fine-tuned model for a file: labels, numbers, tags or answers."""

import itertools
import json
import pathlib
import sys
from collections.abc import Iterator

from bert_jax.config import Config
from bert_jax.config.files import atomic_output
from bert_jax.data.files import lines
from bert_jax.data.progress import counted
from bert_jax.data.summary import Summary
from bert_jax.finetuning.datasets import processor_for
from bert_jax.finetuning.task_data import Record, TaskFacts
from bert_jax.inference.trained_model import Bert


def records(bert: Bert, path: pathlib.Path, summary: Summary | None = None) -> Iterator[Record]:
    """Yields a record for each example of a file, in order. Its format depends on the task:

    Texts (.csv, .tsv, .jsonl) get `label` and `probabilities`, or `value`; sentences (.conll, or
    .jsonl with `words`) get `tags`; questions (SQuAD's .json, or .jsonl with `question` and
    `context`) get `answer`, `probability` and `n_best`. Long texts are cut or split as in training;
    `summary` counts them and other unusual things. .conll and .json files are read as a whole,
    others a window at a time.

    Raises ValueError for a checkpoint without the head of a task, and, with the file and line, for
    mistakes in the file.
    """
    summary = summary or Summary()
    config = Config(model=bert.config, data=bert.data, eval=bert.eval)
    facts = TaskFacts(bert.labels, bert.pairs, bert.no_answer)
    processor = processor_for(bert.heads, config, bert.encoder.vocabulary, facts)
    examples = processor.read(str(path), summary)
    while window := list(itertools.islice(examples, processor.window)):
        split = processor.encode(window, summary)
        outputs = bert.predict(split.rows, processor.task)
        yield from processor.records(split, outputs)


def write_records(bert: Bert, source: pathlib.Path, output: pathlib.Path) -> int:
    """Writes a line of JSON per example; returns their number."""
    # In other files each line is an example, so their number is known.
    total = None if {'.json', '.conll'} & {*source.suffixes} else sum(1 for _ in lines(source))
    count, summary = 0, Summary()
    with atomic_output(output) as partial, partial.open('w', encoding='utf-8') as file:
        found = records(bert, source, summary)
        for record in counted(found, 'predicting', total):
            file.write(json.dumps(record, ensure_ascii=False) + '\n')
            count += 1
    for name, number in summary.lines().items():
        print(f'{name}: {number:,}', file=sys.stderr)
    return count

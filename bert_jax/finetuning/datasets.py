"""The data of fine-tuning tasks, and the processor of each task and of each head."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

from bert_jax.config import Config, DataConfig
from bert_jax.config.data import GLUE_TASKS
from bert_jax.data.labelled import file_lists, labels, splits
from bert_jax.data.summary import Summary
from bert_jax.data.text import staging
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.finetuning import glue
from bert_jax.finetuning.classification import ClassificationProcessor, MultiLabelProcessor
from bert_jax.finetuning.ner import TaggingProcessor
from bert_jax.finetuning.squad import QuestionAnsweringProcessor
from bert_jax.finetuning.task_data import (
    EVAL,
    TRAIN,
    Processor,
    TaskData,
    TaskFacts,
    make_task_data,
)
from bert_jax.finetuning.translation import TranslationProcessor

# The processor of each task that reads the user's files, and then that of each head.
KINDS: dict[str, type[Processor]] = {
    'text': ClassificationProcessor,
    'ner': TaggingProcessor,
    'squad': QuestionAnsweringProcessor,
    'translate': TranslationProcessor,
}
PROCESSORS = {kind.head: kind for kind in KINDS.values()}


def load_task_data(name: str, config: Config, tokenizer: Tokenizer) -> TaskData:
    """The data of the task `name`. Raises ValueError for mistakes in its files."""
    data = dataclasses.replace(staging.localized(config.data), task=name)
    config = dataclasses.replace(config, data=data)
    if name in GLUE_TASKS:
        loaded = glue.load(name, config, tokenizer)
    else:
        several = name == 'text' and data.multi_label
        loaded = _load(MultiLabelProcessor if several else KINDS[name], config, tokenizer)
    rows = {TRAIN: loaded.train, EVAL: loaded.eval.rows}
    for split, examples in (rows | {test.name: test.rows for test in loaded.tests}).items():
        if not len(examples):
            raise ValueError(f'{name} has no rows for the split {split}; {loaded.summary}')
    return loaded


def processor_for(
    heads: Collection[str], config: Config, tokenizer: Tokenizer, facts: TaskFacts
) -> Processor:
    """The processor of a trained model with these heads. Raises ValueError if none of them is the
    head of a task."""
    for head in heads:
        if head in PROCESSORS:
            kind = MultiLabelProcessor if facts.multi_label else PROCESSORS[head]
            return kind(config, tokenizer, facts)
    raise ValueError(
        f'this checkpoint has no task head, only {", ".join(heads) or "the encoder"}; '
        'fine-tune it first, or use --mode=fill_mask or --mode=embed'
    )


def check_files(data: DataConfig) -> None:
    """Raises ValueError if the training file or a file of GLUE is missing."""
    local = staging.localized(data) if data.tasks[0] in GLUE_TASKS else data
    for name in data.tasks:
        if name in GLUE_TASKS:
            glue.check_files(name, local)
        elif not data.train_file:
            raise ValueError(f'config.data.train_file is empty; the task {name!r} needs one')


def _load(kind: type[Processor], config: Config, tokenizer: Tokenizer) -> TaskData:
    """The data of the user's files. Without config.data.eval_file, a part of the training file is
    held out (see `splits.held_out`). Raises ValueError for mistakes in the files."""
    data, summary, note, tests = config.data, Summary(), '', dict[str, list[Any]]()
    processor = kind(config, tokenizer, TaskFacts())
    names = {key: getattr(data, key) for key in file_lists.KEYS}
    files = file_lists.of_settings(names, summary)
    of_train, of_eval, of_test = files.values()
    train = _read(processor, of_train, summary, TRAIN)
    file = file_lists.shown(of_train)
    held_out = _read(processor, of_eval, summary, EVAL)
    if file_lists.is_same(of_train, of_eval):
        note = 'from the file that is trained on, so scores say little about other texts'
    if data.split_field:
        train, held_out, tests = _split(processor, train)
        note = f'the column {data.split_field!r} of {file}'
    if not held_out:
        texts, found = zip(*map(processor.text_and_label, train), strict=True)
        chosen = splits.held_out(texts, found, data.train_file, data.eval_share)
        held_out = [example for example, out in zip(train, chosen, strict=True) if out]
        train = [example for example, out in zip(train, chosen, strict=True) if not out]
        share = 'a tenth' if data.eval_share == 0.1 else f'{data.eval_share:.0%}'
        rows = f'the rows to train on in {file}' if data.split_field else file
        note = f'{share} of {rows}; config.data.eval_file is empty'
    processor.facts = processor.find_facts(train, held_out)
    compared = [] if file_lists.is_same(of_train, of_eval) else held_out
    _count_repeated(processor, train, compared, summary)
    for doubt in labels.doubts(processor.facts.labels, processor.facts.multi_label):
        summary.count(doubt, data.train_file)
    if of_test:
        tests['test'] = _read(processor, of_test, summary, 'test')
    is_listed = any(file_lists.is_list(names[key], found) for key, found in files.items())
    listed = files if is_listed else {}
    return make_task_data(processor, summary, train, held_out, tests, note, listed)


def _read(processor: Processor, files: Sequence[str], summary: Summary, split: str) -> list[Any]:
    """The examples of all files, in order. Raises ValueError if the files do not fit together."""
    examples: list[Any] = []
    for number, file in enumerate(files, 1):
        examples += processor.read(file, summary, split)
        file_lists.check_columns(files[:number], summary)
    if len(files) > 1:
        summary.count(f'files ({split})', number=len(files))
        processor.check_together(examples)
    return examples


def _split(
    processor: Processor, examples: Sequence[Any]
) -> tuple[list[Any], list[Any], dict[str, list[Any]]]:
    """The examples to train on, those that are held out, and those to predict, if there are any.
    Raises ValueError as `splits.by_column` does, and if one to train on or to score has no label.
    """
    field = processor.config.data.split_field
    parts = splits.by_column(examples, field)
    for split in ('train', 'dev'):
        for example in parts[split]:
            if missing := processor.missing(example):
                raise ValueError(
                    f'{example.where} is for {split}, but it has no {missing}; add it, or write '
                    f"'test' in the column {field!r}: such rows are predicted and not scored"
                )
    return parts['train'], parts['dev'], {'test': parts['test']} if parts['test'] else {}


def _count_repeated(
    processor: Processor, train: Sequence[Any], held_out: Sequence[Any], summary: Summary
) -> None:
    """Counts training examples whose text occurs before with another label, and held-out texts that
    are also in the training examples."""
    first: dict[str, str] = {}
    for example in train:
        text, label = processor.text_and_label(example)
        if first.setdefault(text, label) != label:
            summary.count('texts that occur before with another label', example.where)
    again = [x.where for x in held_out if processor.text_and_label(x)[0] in first]
    if again:
        summary.count('texts to evaluate on that are also trained on', again[0], len(again))

"""Tags for words: CoNLL and jsonl files in, scores of entities and CoNLL files out."""

import dataclasses
import os
from collections.abc import Iterator, Sequence

import numpy as np
from etils import epath

from bert_jax.config import Config
from bert_jax.data.labelled import conll, tagging
from bert_jax.data.labelled.conll import Sentence
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.finetuning import official_scores, task_data
from bert_jax.finetuning.task_data import (
    EVAL,
    PREDICT,
    TRAIN,
    Predictions,
    Record,
    Split,
    TaskFacts,
)
from bert_jax.tasks.finetuning import TaggingTask

Tags = list[list[str]]  # of each sentence, one per word


class TaggingProcessor(task_data.Processor):
    """A tag that was not trained on is a wrong prediction; in TRAIN it is an error."""

    head = 'tagger'
    writes_eval = True

    @property
    def task(self) -> TaggingTask:
        return TaggingTask(self.config.model, len(self.facts.labels))

    def read(self, path: str | os.PathLike[str], summary: Summary) -> Iterator[Sentence]:
        return conll.iter_file(path, tagged=False, summary=summary)

    def encode(self, examples: Sequence[Sentence], summary: Summary, split: str = PREDICT) -> Split:
        windows = tagging.windows(
            examples,
            self.tokenizer,
            self.facts.labels,
            max_seq_length=self.config.data.max_seq_length,
            allow_unknown=split != TRAIN,
            summary=summary,
        )
        labels = np.concatenate([np.zeros(0, np.int32), *windows.labels])
        arrays = {'label_ids': np.maximum(labels, 0), 'label_weights': np.float32(labels >= 0)}
        rows = self.encoded(windows.rows, arrays)
        return Split(split, examples, rows, examples[0].tags is not None, windows)

    def decode(self, split: Split, outputs: Predictions) -> Tags:
        return tagging.decode(split.examples, split.windows, list(outputs.get('tags', ())))

    def records(self, split: Split, outputs: Predictions) -> Iterator[Record]:
        for sentence, tags in zip(split.examples, self.decode(split, outputs), strict=True):
            yield {'words': sentence.words, 'tags': tags}

    def score(self, split: Split, decoded: Tags) -> dict[str, float]:
        scores = official_scores.entities([sentence.tags for sentence in split.examples], decoded)
        return scores | {'score': scores.get('f1', scores['accuracy'])}

    def write(self, split: Split, decoded: Tags, folder: epath.Path) -> None:
        name = 'predictions' if split.name == EVAL else f'{split.name}_predictions'
        conll.write(split.examples, decoded, folder / f'{name}.conll')


def load(config: Config, tokenizer: Tokenizer) -> task_data.TaskData:
    """The user's files. Raises ValueError for what is wrong in them."""
    data, summary = config.data, Summary()
    files = task_data.train_and_eval_files(data)
    train, held_out = (conll.read(path, summary=summary) for path in files)
    labels = tuple(conll.label_names(train))
    if len(labels) == 1:
        raise ValueError(f'{data.train_file} has no tag but O; expected others to tell apart')
    scheme = conll.scheme([sentence.tags or [] for sentence in train]).name
    summary.count(f'sentences to train on, their tags read as {scheme}', number=len(train))
    tests = {'test': _read_test(data.test_file, labels, summary)} if data.test_file else {}
    processor = TaggingProcessor(config, tokenizer, TaskFacts(labels))
    return task_data.make_task_data(processor, summary, train, held_out, tests)


def _read_test(path: str, labels: Sequence[str], summary: Summary) -> list[Sentence]:
    """The sentences, without tags if none of them is a label: the last column is something else."""
    sentences = conll.read(path, tagged=None, summary=summary)
    tags = {tag for sentence in sentences for tag in sentence.tags or ()}
    if tags and not tags & set(labels[1:]):
        summary.count('test files without a tag to learn, not scored', path)
        return [dataclasses.replace(sentence, tags=None) for sentence in sentences]
    return sentences

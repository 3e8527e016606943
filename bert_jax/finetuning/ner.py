"""Tags for words: CoNLL and jsonl files in, scores of entities and CoNLL files out."""

import dataclasses
import os
from collections.abc import Iterator, Sequence

import numpy as np
from etils import epath

from bert_jax.config import Config
from bert_jax.data.labelled import conll, tagging
from bert_jax.data.labelled.conll import Sentence
from bert_jax.data.labelled.tagging import SentenceWindows
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.finetuning import official_scores
from bert_jax.finetuning.task_data import (
    EVAL,
    Encoded,
    Predictions,
    Processor,
    Record,
    TaskData,
    TaskFacts,
    make_task_data,
    subsample,
    train_and_eval_files,
)
from bert_jax.tasks.tagging import TaggingTask

Tags = list[list[str]]  # of each sentence, one per word


class TaggingProcessor(Processor[Sentence, SentenceWindows, Tags]):
    head = 'tagger'
    writes_eval = True

    @property
    def task(self) -> TaggingTask:
        return TaggingTask(self.config.model, len(self.facts.labels))

    def read(self, path: str | os.PathLike[str], summary: Summary) -> Iterator[Sentence]:
        return conll.iter_file(path, tagged=False, summary=summary)

    def encode(
        self,
        examples: Sequence[Sentence],
        summary: Summary,
        *,
        training: bool = False,
        labelled: bool = False,
    ) -> Encoded[Sentence, SentenceWindows]:
        """A tag that was not trained on is an error in training, and a wrong prediction
        otherwise."""
        windows = tagging.windows(
            examples,
            self.tokenizer,
            self.facts.labels,
            max_seq_length=self.config.data.max_seq_length,
            allow_unknown=not training,
            summary=summary,
        )
        labels = np.concatenate([np.zeros(0, np.int32), *windows.labels])
        arrays = {'label_ids': np.maximum(labels, 0), 'label_weights': np.float32(labels >= 0)}
        return self._encoded(examples, windows.rows, arrays, windows)

    def decode(self, encoded: Encoded[Sentence, SentenceWindows], outputs: Predictions) -> Tags:
        return tagging.decode(encoded.examples, encoded.windows, list(outputs.get('tags', ())))

    def records(
        self, encoded: Encoded[Sentence, SentenceWindows], outputs: Predictions
    ) -> Iterator[Record]:
        decoded = self.decode(encoded, outputs)
        for sentence, tags in zip(encoded.examples, decoded, strict=True):
            yield {'words': sentence.words, 'tags': tags}

    def can_score(self, examples: Sequence[Sentence]) -> bool:
        return examples[0].tags is not None

    def score(self, encoded: Encoded[Sentence, SentenceWindows], decoded: Tags) -> dict[str, float]:
        gold = [sentence.tags or [] for sentence in encoded.examples]
        scores = official_scores.entities(gold, decoded)
        return scores | {'score': scores.get('f1', scores['accuracy'])}

    def write(
        self,
        split: str,
        encoded: Encoded[Sentence, SentenceWindows],
        decoded: Tags,
        folder: epath.Path,
    ) -> None:
        name = 'predictions' if split == EVAL else f'{split}_predictions'
        conll.write(encoded.examples, decoded, folder / f'{name}.conll')


def load(config: Config, tokenizer: Tokenizer) -> TaskData:
    """The user's files. Raises ValueError for what is wrong in them."""
    data, summary = config.data, Summary()
    train, held_out = (conll.read(path, summary=summary) for path in train_and_eval_files(data))
    labels = tuple(conll.label_names(train))
    if len(labels) == 1:
        raise ValueError(f'{data.train_file} has no tag but O; expected others to tell apart')
    scheme = conll.scheme([sentence.tags or [] for sentence in train]).name
    summary.count(f'sentences to train on, their tags read as {scheme}', number=len(train))
    tests = {'test': _read_test(data.test_file, labels, summary)} if data.test_file else {}
    return make_task_data(
        TaggingProcessor(config, tokenizer, TaskFacts(labels)),
        summary,
        train=subsample(train, data),
        held_out=held_out,
        tests=tests,
    )


def _read_test(path: str, labels: Sequence[str], summary: Summary) -> list[Sentence]:
    """A file without any of the tags to learn has another column last, so it has no tags."""
    sentences = conll.read(path, tagged=None, summary=summary)
    tags = {tag for sentence in sentences for tag in sentence.tags or ()}
    if tags and not tags & set(labels[1:]):
        summary.count('test files without a tag to learn, not scored', path)
        return [dataclasses.replace(sentence, tags=None) for sentence in sentences]
    return sentences

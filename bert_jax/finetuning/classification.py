"""Labels, or numbers, for texts and pairs of texts: the user's own csv, tsv and jsonl files."""

import json
import os
from collections.abc import Iterator, Sequence

import numpy as np
from etils import epath

from bert_jax.config import Config
from bert_jax.data.labelled import examples as example_files
from bert_jax.data.labelled.examples import Example
from bert_jax.data.labelled.texts import TextEncoder
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
from bert_jax.tasks.finetuning import ClassificationTask, HeadTask, RegressionTask

METRICS = ('accuracy', 'macro_f1', 'matthews')


class ClassificationProcessor(task_data.Processor):
    """Predictions are label ids int[n], or values float[n] of a regression, which has no labels."""

    head = 'classifier'

    @property
    def task(self) -> HeadTask:
        labels, model = self.facts.labels, self.config.model
        return ClassificationTask(model, len(labels)) if labels else RegressionTask(model)

    def read(self, path: str | os.PathLike[str], summary: Summary) -> Iterator[Example]:
        data = self.config.data
        found = example_files.iter_file(
            path, text=data.text_field, text_b=data.text_b_field, label=data.label_field
        )
        return example_files.alike(found, self.facts.pairs)

    def encode(self, examples: Sequence[Example], summary: Summary, split: str = PREDICT) -> Split:
        longest = self.config.data.max_seq_length
        encoder = TextEncoder(self.tokenizer, longest, self.config.model.type_vocab_size)
        rows = encoder.encode([example.parts for example in examples])
        summary.count(f'texts of more than {longest} tokens, cut', number=encoder.truncated)
        labelled = any(example.label is not None for example in examples)
        is_scored = split in (TRAIN, EVAL) or (split != PREDICT and labelled)
        if self.facts.labels:
            truth = np.zeros(len(rows), np.int32)
            if is_scored:
                truth = example_files.label_ids(examples, self.facts.labels)
            return Split(split, examples, self.encoded(rows, {'label_ids': truth}), is_scored)
        values = np.zeros(len(rows), np.float32)
        if is_scored:
            values = example_files.label_values(examples)
        return Split(split, examples, self.encoded(rows, {'label_values': values}), is_scored)

    def decode(self, split: Split, outputs: Predictions) -> np.ndarray:
        return outputs['logits'].argmax(-1) if self.facts.labels else outputs['values']

    def records(self, split: Split, outputs: Predictions) -> Iterator[Record]:
        decoded, labels = self.decode(split, outputs), self.facts.labels
        if not labels:
            yield from self._records(decoded)
            return
        probabilities = np.exp(outputs['logits'] - outputs['logits'].max(-1, keepdims=True))
        probabilities /= probabilities.sum(-1, keepdims=True)
        for record, row in zip(self._records(decoded), probabilities.tolist(), strict=True):
            yield record | {'probabilities': dict(zip(labels, row, strict=True))}

    def _records(self, decoded: np.ndarray) -> list[Record]:
        labels, values = self.facts.labels, decoded.tolist()
        return [{'label': labels[i]} if labels else {'value': i} for i in values]

    def score(self, split: Split, decoded: np.ndarray) -> dict[str, float]:
        (truth,) = split.rows.labels.values()
        if self.facts.labels:
            scores = official_scores.classification(decoded, truth, METRICS)
            return scores | {'score': scores['accuracy']}
        scores = official_scores.regression(decoded, truth)
        return scores | {'score': scores['pearson']}

    def write(self, split: Split, decoded: np.ndarray, folder: epath.Path) -> None:
        lines = [json.dumps(record) + '\n' for record in self._records(decoded)]
        (folder / f'{split.name}_predictions.jsonl').write_text(''.join(lines))


def load(config: Config, tokenizer: Tokenizer) -> task_data.TaskData:
    """The user's own files. Raises ValueError for what is wrong in them."""
    data, summary = config.data, Summary()
    train_file, eval_file = task_data.train_and_eval_files(data)
    train = list(ClassificationProcessor(config, tokenizer, TaskFacts()).read(train_file, summary))
    labels = () if data.regression else tuple(example_files.label_names(train))
    if len(labels) == 1:
        raise ValueError(
            f'{train_file} has no label but {labels[0]!r}; expected two or more to tell apart'
        )
    facts = TaskFacts(labels, pairs=train[0].text_b is not None)
    processor = ClassificationProcessor(config, tokenizer, facts)
    held_out = list(processor.read(eval_file, summary))
    tests = {'test': list(processor.read(data.test_file, summary))} if data.test_file else {}
    return task_data.make_task_data(processor, summary, train, held_out, tests)

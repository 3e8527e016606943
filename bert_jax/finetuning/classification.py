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
from bert_jax.finetuning import official_scores
from bert_jax.finetuning.task_data import (
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
from bert_jax.tasks.classification import ClassificationTask, RegressionTask
from bert_jax.tasks.head import HeadTask

METRICS = ('accuracy', 'macro_f1', 'matthews')


class ClassificationProcessor(Processor[Example, None, np.ndarray]):
    """Predictions are label ids int[n], or values float[n] of a regression, which has no labels."""

    head = 'classifier'

    def __init__(self, config: Config, tokenizer: Tokenizer, facts: TaskFacts):
        super().__init__(config, tokenizer, facts)
        length, types = config.data.max_seq_length, config.model.type_vocab_size
        self._encoder = TextEncoder(tokenizer, length, types)

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

    def encode(
        self,
        examples: Sequence[Example],
        summary: Summary,
        *,
        training: bool = False,
        labelled: bool = False,
    ) -> Encoded[Example, None]:
        before, longest = self._encoder.truncated, self.config.data.max_seq_length
        rows = self._encoder.encode([example.parts for example in examples])
        cut = self._encoder.truncated - before
        summary.count(f'texts of more than {longest} tokens, cut', number=cut)
        labels = self._labels(examples, labelled)
        return self._encoded(examples, rows, labels, None)

    def _labels(self, examples: Sequence[Example], labelled: bool) -> dict[str, np.ndarray]:
        """Zeros if the examples are not labelled."""
        if self.facts.labels:
            ids = np.zeros(len(examples), np.int32)
            if labelled:
                ids = example_files.label_ids(examples, self.facts.labels)
            return {'label_ids': ids}
        values = np.zeros(len(examples), np.float32)
        return {'label_values': example_files.label_values(examples) if labelled else values}

    def decode(self, encoded: Encoded[Example, None], outputs: Predictions) -> np.ndarray:
        return outputs['logits'].argmax(-1) if self.facts.labels else outputs['values']

    def records(self, encoded: Encoded[Example, None], outputs: Predictions) -> Iterator[Record]:
        predicted, labels = self.decode(encoded, outputs).tolist(), self.facts.labels
        if not labels:
            yield from ({'value': value} for value in predicted)
            return
        logits = outputs['logits']
        probabilities = np.exp(logits - logits.max(-1, keepdims=True))
        probabilities /= probabilities.sum(-1, keepdims=True)
        for i, row in zip(predicted, probabilities.tolist(), strict=True):
            yield {'label': labels[i], 'probabilities': dict(zip(labels, row, strict=True))}

    def can_score(self, examples: Sequence[Example]) -> bool:
        return any(example.label is not None for example in examples)

    def score(self, encoded: Encoded[Example, None], decoded: np.ndarray) -> dict[str, float]:
        (truth,) = encoded.rows.labels.values()
        if self.facts.labels:
            scores = official_scores.classification(decoded, truth, METRICS)
            return scores | {'score': scores['accuracy']}
        scores = official_scores.regression(decoded, truth)
        return scores | {'score': scores['pearson']}

    def write(
        self,
        split: str,
        encoded: Encoded[Example, None],
        decoded: np.ndarray,
        folder: epath.Path,
    ) -> None:
        labels, values = self.facts.labels, decoded.tolist()
        records = [{'label': labels[i]} if labels else {'value': i} for i in values]
        lines = [json.dumps(record) + '\n' for record in records]
        (folder / f'{split}_predictions.jsonl').write_text(''.join(lines))


def load(config: Config, tokenizer: Tokenizer) -> TaskData:
    """The user's own files. Raises ValueError for what is wrong in them."""
    data, summary = config.data, Summary()
    train_file, eval_file = train_and_eval_files(data)
    processor = ClassificationProcessor(config, tokenizer, TaskFacts())
    train = list(processor.read(train_file, summary))
    labels = () if data.regression else tuple(example_files.label_names(train))
    if len(labels) == 1:
        raise ValueError(
            f'{train_file} has no label but {labels[0]!r}; expected two or more to tell apart'
        )
    facts = TaskFacts(labels, pairs=train[0].text_b is not None)
    processor = ClassificationProcessor(config, tokenizer, facts)
    held_out = list(processor.read(eval_file, summary))
    tests = {'test': list(processor.read(data.test_file, summary))} if data.test_file else {}
    return make_task_data(
        processor, summary, train=subsample(train, data), held_out=held_out, tests=tests
    )

"""Several labels, or none, for texts and pairs of texts."""

import pathlib
from collections.abc import Sequence

import numpy as np

from bert_jax.data.files import kind
from bert_jax.data.labelled import class_weights, label_sets
from bert_jax.data.labelled import examples as example_files
from bert_jax.data.labelled.examples import Example
from bert_jax.data.labelled.rows import EncodedExamples
from bert_jax.data.summary import Summary
from bert_jax.finetuning import class_report, official_scores, task_data
from bert_jax.finetuning.classification import ClassificationProcessor
from bert_jax.finetuning.task_data import TRAIN, Predictions, Split, TaskFacts
from bert_jax.tasks.finetuning import MultiLabelTask


class MultiLabelProcessor(ClassificationProcessor):
    """Predictions are the probabilities of all labels, float[n, labels]. Labels with a probability
    above config.eval.threshold are predicted.

    positive_weights: the weights of `MultiLabelTask`, which `targets` computes from the training
    examples.
    """

    metric = 'micro_f1'
    positive_weights: tuple[float, ...] = ()

    @property
    def task(self) -> MultiLabelTask:
        return MultiLabelTask(self.config.model, len(self.facts.labels), self.positive_weights)

    def label_parser(self, path: str) -> label_sets.Parser:
        has_lists = kind(pathlib.PurePath(path))[0] in ('.jsonl', '.json')
        return label_sets.parser(None if has_lists else self.config.data.label_separator)

    def find_facts(self, train: list[Example], held_out: list[Example]) -> TaskFacts:
        example_files.check_pairs(train)
        labels = tuple(label_sets.names(train))
        return TaskFacts(labels, pairs=train[0].text_b is not None, multi_label=True)

    def text_and_label(self, example: Example) -> tuple[str, str]:
        text, _ = super().text_and_label(example)
        return text, '\n'.join(sorted(example.labels or ()))

    def first_unknown(self, examples: Sequence[Example]) -> str:
        return label_sets.first_unknown(examples, self.facts.labels)

    def targets(
        self, examples: Sequence[Example], summary: Summary, split: str, is_scored: bool
    ) -> dict[str, np.ndarray]:
        names, setting = self.facts.labels, self.config.data.class_weights
        targets = np.zeros((len(examples), len(names)), np.int32)
        if is_scored:
            targets = label_sets.targets(examples, names)
            without = int((targets.sum(axis=1) == 0).sum())
            summary.count(f'texts without labels ({split})', number=without)
        if split == TRAIN and setting:
            weights = class_weights.of_label_sets(setting, names, targets)
            self.positive_weights = tuple(weights.tolist())
        return {'label_targets': targets}

    def probabilities(self, outputs: Predictions) -> np.ndarray:
        return 1 / (1 + np.exp(-outputs['logits'].astype(np.float64)))

    def decode(self, split: Split, outputs: Predictions) -> np.ndarray:
        return self.probabilities(outputs)

    def _records(self, decoded: np.ndarray) -> list[task_data.Record]:
        labels = self.facts.labels
        chosen = decoded > self.config.eval.threshold
        return [{'labels': [labels[i] for i in np.flatnonzero(row)]} for row in chosen]

    def baseline(self, train: EncodedExamples, split: Split) -> tuple[str, np.ndarray]:
        shares = train.labels['label_targets'].mean(axis=0)
        chosen = shares > 0.5
        meaning = 'if every text has the labels that most texts have'
        if not chosen.any():
            chosen[shares.argmax()] = True
            meaning = f'if every text has the label {self.facts.labels[int(shares.argmax())]} alone'
        return meaning, np.tile(np.float64(chosen), (len(split.rows), 1))

    def score(self, split: Split, decoded: np.ndarray) -> dict[str, float]:
        truth, threshold = split.rows.labels['label_targets'], self.config.eval.threshold
        scores = official_scores.label_sets(decoded, truth, threshold)
        return scores | self.score_of_class(split, decoded) | {'score': scores['micro_f1']}

    def report(self, split: Split, decoded: np.ndarray) -> task_data.Report:
        predicted = decoded > self.config.eval.threshold
        truth = split.rows.labels['label_targets'] > 0
        return class_report.of_label_sets(predicted, truth, self.facts.labels)

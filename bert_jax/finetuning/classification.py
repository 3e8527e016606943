"""A label, several labels or a number for texts and pairs of texts."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath

from bert_jax.data.labelled import class_weights
from bert_jax.data.labelled import examples as example_files
from bert_jax.data.labelled import labels as label_columns
from bert_jax.data.labelled.bad_rows import OnError, each
from bert_jax.data.labelled.examples import Example
from bert_jax.data.labelled.rows import EncodedExamples
from bert_jax.data.summary import Summary
from bert_jax.finetuning import class_report, official_scores, task_data
from bert_jax.finetuning.task_data import EVAL, PREDICT, TRAIN, Predictions, Split, TaskFacts
from bert_jax.tasks.finetuning import (
    ClassificationTask,
    HeadTask,
    MultiLabelTask,
    RegressionTask,
)

METRICS = ('accuracy', 'macro_f1', 'matthews')


class ClassificationProcessor(task_data.Processor):
    """Predictions are label ids int[n] or, for a regression, which has no labels, float[n]."""

    head = 'classifier'

    @property
    def task(self) -> HeadTask:
        labels, model = self.facts.labels, self.config.model
        return ClassificationTask(model, len(labels)) if labels else RegressionTask(model)

    @property
    def has_classes(self) -> bool:
        return bool(self.facts.labels)

    @property
    def metric(self) -> str:
        return 'accuracy' if self.facts.labels else 'pearson'

    def read(
        self, path: str, summary: Summary, split: str = PREDICT, on_error: OnError | None = None
    ) -> Iterator[Example]:
        data, predicts, has_labels = self.config.data, split == PREDICT, split in (TRAIN, EVAL)
        examples = example_files.iter_file(
            path,
            text=data.text_field,
            text_b=data.text_b_field,
            label=data.label_field,
            columns=not has_labels or bool(data.split_field),
            on_error=on_error,
            summary=summary,
            separator=data.label_separator if data.multi_label else None,
            predicts=predicts,
        )
        if not predicts:
            names = label_columns.numbered_names(data.label_names)
            return (_named(example, names, has_labels) for example in examples)
        pairs = self.facts.pairs
        advice = example_files.predict_advice([data.text_field, data.text_b_field])

        def checked(example: Example) -> Example:
            nonlocal pairs
            example_files.check_pairs([example], pairs, advice)
            pairs = example.text_b is not None
            return example

        return each(examples, checked, on_error)

    def from_texts(self, texts: Sequence[Any]) -> list[Example]:
        """The examples of texts and pairs of texts. Raises ValueError for anything else, and if the
        model was trained on pairs and these are not pairs, or the reverse."""
        for i, text in enumerate(texts):
            pair = isinstance(text, tuple | list) and len(text) == 2
            if not isinstance(text, str) and not (pair and all(isinstance(t, str) for t in text)):
                raise ValueError(f'text {i} is {text!r:.60}; expected a string, or a pair of them')
        pairs = [(text, None) if isinstance(text, str) else text for text in texts]
        if self.facts.pairs is not None and {b is not None for _, b in pairs} - {self.facts.pairs}:
            expected = 'pairs of texts' if self.facts.pairs else 'single texts'
            raise ValueError(f'the texts do not fit: this model was trained on {expected}')
        return [Example(a, b, None, f'text {i}') for i, (a, b) in enumerate(pairs)]

    def find_facts(self, train: list[Example], held_out: list[Example]) -> TaskFacts:
        data = self.config.data
        example_files.check_pairs(train)
        labels = () if data.regression else tuple(label_columns.label_names(train))
        if len(labels) == 1:
            raise ValueError(
                f'{data.train_file} has no label but {labels[0]!r}; expected two labels or more'
            )
        if labels:
            label_columns.check_column(train, data.train_file)
        return TaskFacts(labels, pairs=train[0].text_b is not None)

    def text_and_label(self, example: Example) -> tuple[str, str]:
        text = example.text if example.text_b is None else f'{example.text}\n{example.text_b}'
        return text, '' if self.config.data.regression else str(example.label)

    def encode(self, examples: Sequence[Example], summary: Summary, split: str = PREDICT) -> Split:
        longest = self.config.data.max_seq_length
        example_files.check_pairs(examples, self.facts.pairs)
        encoder = self.text_encoder(longest)
        rows = encoder.encode([example.parts for example in examples])
        summary.count(f'texts of more than {longest} tokens, cut', number=encoder.truncated)
        for name, indices in encoder.odd.items():
            summary.count(name, examples[indices[0]].where, len(indices))
        is_scored = split in (TRAIN, EVAL)
        if not is_scored and split != PREDICT:
            unknown = label_columns.first_unknown(examples, self.facts.labels)
            is_scored = not unknown
            if unknown and any(example.all_labels is not None for example in examples):
                what = 'a known label' if self.facts.labels else 'a number'
                summary.count(f'test files with rows without {what}, not scored', unknown)
        labels = self.targets(examples, summary, split, is_scored)
        return Split(split, examples, self.encoded(rows, labels), is_scored)

    def targets(
        self, examples: Sequence[Example], summary: Summary, split: str, is_scored: bool
    ) -> dict[str, np.ndarray]:
        """The labels and the weights of examples, by their names in a batch; labels of 0 if
        `is_scored` is false. Raises ValueError for a label that is missing or unknown."""
        names = self.facts.labels
        truth = np.zeros(len(examples), np.int32 if names else np.float32)
        if is_scored and names:
            truth = label_columns.label_ids(examples, names)
        elif is_scored:
            truth = label_columns.label_values(examples)
        labels = {'label_ids' if names else 'label_values': truth}
        if split == TRAIN and (setting := self.config.data.class_weights):
            labels['example_weights'] = class_weights.of_classes(setting, names, truth)[truth]
        return labels

    def decode(self, split: Split, outputs: Predictions) -> np.ndarray:
        return outputs['logits'].argmax(-1) if self.facts.labels else outputs['values']

    def records(self, split: Split, outputs: Predictions) -> Iterator[task_data.Record]:
        records, labels = self._records(self.decode(split, outputs)), self.facts.labels
        if not labels:
            yield from records
            return
        for record, row in zip(records, self.probabilities(outputs).tolist(), strict=True):
            yield record | {'probabilities': dict(zip(labels, row, strict=True))}

    def probabilities(self, outputs: Predictions) -> np.ndarray:
        """The probability of each label, float[n, labels]."""
        exponentials = np.exp(outputs['logits'] - outputs['logits'].max(-1, keepdims=True))
        return exponentials / exponentials.sum(-1, keepdims=True)

    def _records(self, decoded: np.ndarray) -> list[task_data.Record]:
        labels, values = self.facts.labels, decoded.tolist()
        return [{'label': labels[i]} if labels else {'value': i} for i in values]

    def baseline(self, train: EncodedExamples, split: Split) -> tuple[str, np.ndarray]:
        truth, count = next(iter(train.labels.values())), len(split.rows)
        if not self.facts.labels:
            mean = truth.mean()
            return f'if every prediction is {mean:.3g}, the mean', np.full(count, mean)
        most = int(np.bincount(truth).argmax())
        meaning = f'if every label is {self.facts.labels[most]}, the most frequent'
        return meaning, np.full(count, most)

    def score(self, split: Split, decoded: np.ndarray) -> dict[str, float]:
        (truth,) = split.rows.labels.values()
        if self.facts.labels:
            scores = official_scores.classification(decoded, truth, METRICS)
            return scores | self.score_of_class(split, decoded) | {'score': scores['accuracy']}
        scores = official_scores.regression(decoded, truth)
        return scores | {'score': scores['pearson']}

    def score_of_class(self, split: Split, decoded: np.ndarray) -> dict[str, float]:
        """The F1 of a class, `f1/LABEL`, if it is the main score."""
        name = self.main_score
        if not name.startswith('f1/') or name[3:] not in self.facts.labels:
            return {}
        return {name: self.report(split, decoded)['classes'][name[3:]]['f1']}

    def report(self, split: Split, decoded: np.ndarray) -> task_data.Report:
        (truth,) = split.rows.labels.values()
        return class_report.of_classes(decoded, truth, self.facts.labels)

    def write(self, split: Split, decoded: np.ndarray, folder: epath.Path) -> None:
        columns = [example.columns or {} for example in split.examples]
        ids = [{'id': found['id']} if 'id' in found else {} for found in columns]
        records = zip(ids, self._records(decoded), strict=True)
        lines = [json.dumps(known | record) + '\n' for known, record in records]
        (folder / f'{split.name}_predictions.jsonl').write_text(''.join(lines))


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

    def find_facts(self, train: list[Example], held_out: list[Example]) -> TaskFacts:
        example_files.check_pairs(train)
        labels = tuple(label_columns.label_set_names(train))
        return TaskFacts(labels, pairs=train[0].text_b is not None, multi_label=True)

    def text_and_label(self, example: Example) -> tuple[str, str]:
        text, _ = super().text_and_label(example)
        return text, '\n'.join(sorted(example.labels or ()))

    def targets(
        self, examples: Sequence[Example], summary: Summary, split: str, is_scored: bool
    ) -> dict[str, np.ndarray]:
        names, setting = self.facts.labels, self.config.data.class_weights
        targets = np.zeros((len(examples), len(names)), np.int32)
        if is_scored:
            targets = label_columns.targets(examples, names)
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


def _named(example: Example, names: Sequence[str], strict: bool) -> Example:
    """The example with the names of labels that are numbers."""

    def name_of(label: str) -> str:
        return label_columns.name_of(label, names, example.where, strict)

    label = example.label and name_of(example.label)
    labels = example.labels and tuple(map(name_of, example.labels))
    return example._replace(label=label, labels=labels)

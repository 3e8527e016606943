"""Labelled texts as rows, and a model's outputs as their labels: what GLUE and own texts share."""

from collections.abc import Callable, Mapping

import numpy as np
from etils import epath

from bert_jax.config import Config
from bert_jax.data import examples
from bert_jax.data.examples import Example
from bert_jax.data.readers import Summary
from bert_jax.data.rows import Rows, make_rows
from bert_jax.data.texts import Encoder
from bert_jax.data.tokenizer import Tokenizer
from bert_jax.jobs.job import Job, Predictions, Write, some
from bert_jax.tasks.classification import ClassificationTask, RegressionTask

# Label ids int[n], or values float[n] of a regression: predicted and true; predicted, into a folder
Score = Callable[[np.ndarray, np.ndarray], dict[str, float]]
WriteLabels = Callable[[np.ndarray, epath.Path], None]


def job(
    config: Config,
    vocabulary: Tokenizer,
    *,
    train: list[Example],
    held_out: list[Example],
    labels: tuple[str, ...],
    score: Score,
    summary: Summary,
    tests: Mapping[str, tuple[list[Example], WriteLabels]],
) -> Job:
    """No labels: a regression."""
    encoder = Encoder(vocabulary, config.data.max_seq_length, config.model.type_vocab_size)

    def rows(found: list[Example], labelled: bool = True) -> Rows:
        before = encoder.truncated
        encoded = encoder.encode([example.parts for example in found])
        summary.count('texts cut at max_seq_length', number=encoder.truncated - before)
        if labels:
            ids = examples.label_ids(found, labels) if labelled else np.zeros(len(found), np.int32)
            return make_rows(encoded, {'label_ids': ids}, vocabulary.pad_id)
        values = examples.label_values(found) if labelled else np.zeros(len(found), np.float32)
        return make_rows(encoded, {'label_values': values}, vocabulary.pad_id)

    def predicted(predictions: Predictions) -> np.ndarray:
        return predictions['logits'].argmax(-1) if labels else predictions['values']

    def writer(write: WriteLabels) -> Write:
        return lambda predictions, folder: write(predicted(predictions), folder)

    evaluation = rows(held_out)
    truth = evaluation.labels['label_ids' if labels else 'label_values']
    model = config.model
    return Job(
        task=ClassificationTask(model, len(labels)) if labels else RegressionTask(model),
        train=rows(some(train, config.data)),
        held_out=evaluation,
        score=lambda predictions: score(predicted(predictions), truth),
        main_score='score',
        labels=labels,
        summary=summary,
        tests={name: (rows(found, False), writer(write)) for name, (found, write) in tests.items()},
    )

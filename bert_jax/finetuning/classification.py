"""Labelled texts as rows, and a model's outputs as their labels: what GLUE and own texts share."""

from collections.abc import Callable, Mapping

import numpy as np
from etils import epath

from bert_jax.config import Config
from bert_jax.data.labelled import examples
from bert_jax.data.labelled.examples import Example
from bert_jax.data.labelled.rows import EncodedExamples
from bert_jax.data.labelled.texts import TextEncoder
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.finetuning.task_data import Job, Predictions, Split, some
from bert_jax.tasks.classification import ClassificationTask, RegressionTask

# Label ids int[n], or values float[n] of a regression: predicted and true; predicted, into a folder
ScoreLabels = Callable[[np.ndarray, np.ndarray], dict[str, float]]
WriteLabels = Callable[[np.ndarray, epath.Path], None]


def job(
    config: Config,
    vocabulary: Tokenizer,
    *,
    train: list[Example],
    held_out: list[Example],
    labels: tuple[str, ...],
    score: ScoreLabels,
    summary: Summary,
    tests: Mapping[str, tuple[list[Example], WriteLabels]],
) -> Job:
    """No labels: a regression."""
    encoder = TextEncoder(vocabulary, config.data.max_seq_length, config.model.type_vocab_size)

    def split(found: list[Example], write: WriteLabels | None = None, test: bool = False) -> Split:
        before = encoder.truncated
        encoded = encoder.encode([example.parts for example in found])
        summary.count('texts cut at max_seq_length', number=encoder.truncated - before)
        labelled = not test or any(example.label is not None for example in found)
        if labels:
            name, read = 'label_ids', lambda: examples.label_ids(found, labels)
        else:
            name, read = 'label_values', lambda: examples.label_values(found)
        truth = read() if labelled else np.zeros(len(found), np.int32 if labels else np.float32)

        def decode(predictions: Predictions) -> np.ndarray:
            return predictions['logits'].argmax(-1) if labels else predictions['values']

        return Split(
            EncodedExamples.from_rows(encoded, {name: truth}, vocabulary.pad_id),
            decode,
            (lambda predicted: score(predicted, truth)) if labelled else None,
            write,
        )

    model = config.model
    return Job(
        task=ClassificationTask(model, len(labels)) if labels else RegressionTask(model),
        train=split(some(train, config.data)).rows,
        held_out=split(held_out),
        main_score='score',
        labels=labels,
        summary=summary,
        pairs=train[0].text_b is not None,
        tests={name: split(found, write, test=True) for name, (found, write) in tests.items()},
    )

"""The user's own labelled texts, or texts with numbers: csv, tsv and jsonl."""

import json

import numpy as np
from etils import epath

from bert_jax.config import Config, DataConfig
from bert_jax.data.labelled import examples
from bert_jax.data.labelled.examples import Example
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.finetuning import classification, official_scores
from bert_jax.finetuning.task_data import Job, files


def job(config: Config, vocabulary: Tokenizer) -> Job:
    data = config.data
    train = _read(files(data)[0], data)
    pairs = train[0].text_b is not None
    held_out = _read(files(data)[1], data, pairs)
    labels = () if data.regression else tuple(examples.label_names(train))
    if len(labels) == 1:
        raise ValueError(
            f'{data.train_file} has no label but {labels[0]!r}; expected two or more to tell apart'
        )

    def score(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        if data.regression:
            found = official_scores.regression(predicted, truth)
            return found | {'score': found['pearson']}
        metrics = ('accuracy', 'macro_f1', 'matthews')
        found = official_scores.classification(predicted, truth, metrics)
        return found | {'score': found['accuracy']}

    def write(predicted: np.ndarray, folder: epath.Path) -> None:
        names = predicted.tolist() if data.regression else [labels[i] for i in predicted]
        key = 'value' if data.regression else 'label'  # as predict has it
        lines = [json.dumps({key: name}) + '\n' for name in names]
        (folder / 'test_predictions.jsonl').write_text(''.join(lines))

    return classification.job(
        config,
        vocabulary,
        train=train,
        held_out=held_out,
        labels=labels,
        score=score,
        summary=Summary(),
        tests={'test': (_read(data.test_file, data, pairs), write)} if data.test_file else {},
    )


def _read(path: str, data: DataConfig, pairs: bool | None = None) -> list[Example]:
    found = examples.iter_file(
        path, text=data.text_field, text_b=data.text_b_field, label=data.label_field
    )
    return list(examples.alike(found, pairs))

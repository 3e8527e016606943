"""Tags of words: CoNLL files in and out."""

import numpy as np
from etils import epath

from bert_jax import host_metrics
from bert_jax.config import Config
from bert_jax.data import conll, tagging
from bert_jax.data.readers import Summary
from bert_jax.data.rows import Rows, make_rows
from bert_jax.data.tokenizer import Tokenizer
from bert_jax.jobs.job import Job, Predictions, Write, files, some
from bert_jax.tasks.tagging import TaggingTask


def job(config: Config, vocabulary: Tokenizer) -> Job:
    data, summary = config.data, Summary()
    train, held_out = (conll.read(path, summary=summary) for path in files(data))
    names = conll.label_names(train)

    def rows(sentences: list[conll.Sentence], unknown: bool) -> tuple[tagging.Windows, Rows]:
        found = tagging.windows(
            sentences,
            vocabulary,
            names,
            max_seq_length=data.max_seq_length,
            allow_unknown=unknown,
            summary=summary,
        )
        labels = np.concatenate([np.zeros(0, np.int32), *found.labels])
        arrays = {'label_ids': np.maximum(labels, 0), 'label_weights': np.float32(labels >= 0)}
        return found, make_rows(found.rows, arrays, vocabulary.pad_id)

    shown, evaluation = rows(held_out, True)

    def score(predictions: Predictions) -> dict[str, float]:
        tags = tagging.decode(held_out, shown, list(predictions['tags']))
        gold = [sentence.tags or [] for sentence in held_out]
        found = host_metrics.entities(gold, tags)
        return found | {'score': found.get('f1', found['accuracy'])}

    def writer(sentences: list[conll.Sentence], of: tagging.Windows, name: str) -> Write:
        def write(predictions: Predictions, folder: epath.Path) -> None:
            conll.write(
                sentences, tagging.decode(sentences, of, list(predictions['tags'])), folder / name
            )

        return write

    tests = {}
    if data.test_file:
        test = conll.read(data.test_file, tagged=False, summary=summary)
        of, found = rows(test, True)
        tests['test'] = (found, writer(test, of, 'test_predictions.conll'))
    return Job(
        task=TaggingTask(config.model, len(names)),
        train=rows(some(train, data), False)[1],
        held_out=evaluation,
        score=score,
        main_score='score',
        labels=tuple(names),
        summary=summary,
        write=writer(held_out, shown, 'predictions.conll'),
        tests=tests,
    )

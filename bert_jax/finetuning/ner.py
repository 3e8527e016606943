"""Tags of words: CoNLL files in and out."""

import dataclasses

import numpy as np
from etils import epath

from bert_jax.config import Config
from bert_jax.data.labelled import conll, tagging
from bert_jax.data.labelled.rows import EncodedExamples
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.finetuning import official_scores
from bert_jax.finetuning.task_data import Job, Predictions, Split, files, some
from bert_jax.tasks.tagging import TaggingTask


def job(config: Config, vocabulary: Tokenizer) -> Job:
    data, summary = config.data, Summary()
    train, held_out = (conll.read(path, summary=summary) for path in files(data))
    names = conll.label_names(train)
    if len(names) == 1:
        raise ValueError(f'{data.train_file} has no tag but O; expected others to tell apart')
    tags = conll.scheme([sentence.tags or [] for sentence in train]).name
    summary.count(f'sentences to train on, their tags read as {tags}', number=len(train))

    def split(sentences: list[conll.Sentence], name: str, unknown: bool = True) -> Split:
        shown = tagging.windows(
            sentences,
            vocabulary,
            names,
            max_seq_length=data.max_seq_length,
            allow_unknown=unknown,
            summary=summary,
        )
        labels = np.concatenate([np.zeros(0, np.int32), *shown.labels])
        arrays = {'label_ids': np.maximum(labels, 0), 'label_weights': np.float32(labels >= 0)}

        def decode(predictions: Predictions) -> list[list[str]]:
            return tagging.decode(sentences, shown, list(predictions['tags']))

        def score(tags: list[list[str]]) -> dict[str, float]:
            gold = [sentence.tags or [] for sentence in sentences]
            found = official_scores.entities(gold, tags)
            return found | {'score': found.get('f1', found['accuracy'])}

        def write(tags: list[list[str]], folder: epath.Path) -> None:
            conll.write(sentences, tags, folder / name)

        rows = EncodedExamples.from_rows(shown.rows, arrays, vocabulary.pad_id)
        return Split(rows, decode, score if sentences[0].tags else None, write)

    test = _read_test(data.test_file, names, summary) if data.test_file else []
    return Job(
        task=TaggingTask(config.model, len(names)),
        train=split(some(train, data), '', unknown=False).rows,
        held_out=split(held_out, 'predictions.conll'),
        main_score='score',
        labels=tuple(names),
        summary=summary,
        tests={'test': split(test, 'test_predictions.conll')} if test else {},
    )


def _read_test(path: str, names: list[str], summary: Summary) -> list[conll.Sentence]:
    """Without tags where none is of those to learn: another column is the last then."""
    sentences = conll.read(path, tagged=None, summary=summary)
    tags = {tag for sentence in sentences for tag in sentence.tags or ()}
    if tags and not tags & set(names[1:]):
        summary.count('test files without a tag to learn, not scored', path)
        return [dataclasses.replace(sentence, tags=None) for sentence in sentences]
    return sentences

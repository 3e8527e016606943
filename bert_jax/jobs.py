"""What there is to fine-tune on: a task's files as rows, its model's head, its official scores."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bert_jax import host_metrics, squad_metrics
from bert_jax.config import Config, DataConfig
from bert_jax.data import conll, examples, glue, squad, squad_answers, squad_windows, tagging
from bert_jax.data.examples import Example
from bert_jax.data.readers import Summary
from bert_jax.data.rows import Rows, make_rows, permutation
from bert_jax.data.texts import Encoder
from bert_jax.data.tokenizer import Tokenizer
from bert_jax.tasks.classification import ClassificationTask, RegressionTask
from bert_jax.tasks.head import HeadTask
from bert_jax.tasks.qa import QuestionAnsweringTask
from bert_jax.tasks.tagging import TaggingTask

Predictions = Mapping[str, np.ndarray]
Write = Callable[[Predictions, pathlib.Path], None]  # into a folder


@dataclasses.dataclass(frozen=True)
class Job:
    """main_score: which of the scores counts. labels: their names by id. write: what the held-out
    rows' predictions leave in a workdir. tests: rows without labels, by their name."""

    task: HeadTask
    train: Rows
    held_out: Rows
    score: Callable[[Predictions], dict[str, float]]
    main_score: str
    labels: tuple[str, ...]
    summary: Summary
    write: Write | None = None
    tests: Mapping[str, tuple[Rows, Write]] = dataclasses.field(default_factory=dict)


def make_job(name: str, config: Config, vocabulary: Tokenizer) -> Job:
    """name: one task of config.data.task. Raises ValueError for what is wrong with its files."""
    if name in glue.TASKS:
        return _glue(name, config, vocabulary)
    return {'text': _text, 'squad': _squad, 'ner': _ner}[name](config, vocabulary)


def task_names(task: str) -> list[str]:
    """config.data.task as a list. Raises ValueError for a name that is no task."""
    scored = [name for name in glue.TASKS if name != 'ax']
    names = scored if task == 'all' else task.split(',')
    for name in names:
        if name not in (*scored, 'text', 'squad', 'ner'):
            raise ValueError(
                f'config.data.task is {task!r}; expected pretrain, text, squad, ner, all, or some '
                f'of {",".join(scored)}'
            )
    return names


def _glue(name: str, config: Config, vocabulary: Tokenizer) -> Job:
    task, data, summary = glue.TASKS[name], config.data, Summary()
    if not data.dir:
        raise ValueError(
            f"config.data.dir is empty; give the folder of {name} or of all tasks, or 'tfds'"
        )

    def read(split: str) -> list[Example]:
        if data.dir == 'tfds':
            return glue.read_tfds(name, split, data.data_dir)
        return glue.read(name, data.dir, split, summary)

    splits = [split for split in task.splits if split.startswith('dev')]
    held_out = [read(split) for split in splits]
    parts = np.repeat(np.arange(len(splits)), [len(found) for found in held_out])

    def score(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        found: dict[str, float] = {}
        for i, split in enumerate(splits):
            of = parts == i
            scores = (
                host_metrics.regression(predicted[of], truth[of])
                if task.regression
                else host_metrics.classification(predicted[of], truth[of], task.metrics)
            )
            suffix = split.removeprefix('dev')
            found |= {f'{metric}{suffix}': value for metric, value in scores.items()}
            found[f'score{suffix}'] = host_metrics.main_score(name, scores)
        if len(splits) > 1:
            names = [f'score{split.removeprefix("dev")}' for split in splits]
            found['score'] = float(np.mean([found[name] for name in names]))
        return found

    wanted = [(name, split) for split in task.submissions]
    if name == 'mnli':
        wanted.append(('ax', 'test'))  # scored with MNLI's model
    tests = {
        f'{of} {split}': (glue.read(of, data.dir, split, summary), _submission(of, split))
        for of, split in wanted
        if data.dir != 'tfds' and glue.has(of, data.dir, split)
    }
    return _classification(
        config,
        vocabulary,
        read('train'),
        [example for found in held_out for example in found],
        task.labels,
        score,
        summary,
        tests,
    )


def _submission(name: str, split: str) -> Callable[[np.ndarray, pathlib.Path], None]:
    def write(predicted: np.ndarray, folder: pathlib.Path) -> None:
        glue.write_submission(name, predicted, folder / 'submission', split)

    return write


def _text(config: Config, vocabulary: Tokenizer) -> Job:
    data, summary = config.data, Summary()
    train, held_out = (_read_text(path, data) for path in _files(data))
    labels = () if data.regression else tuple(examples.label_names(train))

    def score(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        if data.regression:
            found = host_metrics.regression(predicted, truth)
            return found | {'score': found['pearson']}
        metrics = ('accuracy', 'macro_f1', 'matthews')
        found = host_metrics.classification(predicted, truth, metrics)
        return found | {'score': found['accuracy']}

    tests = {}
    if data.test_file:

        def write(predicted: np.ndarray, folder: pathlib.Path) -> None:
            names = predicted.tolist() if data.regression else [labels[i] for i in predicted]
            lines = [json.dumps({'label': name}) + '\n' for name in names]
            (folder / 'test_predictions.jsonl').write_text(''.join(lines))

        tests['test'] = (_read_text(data.test_file, data), write)
    return _classification(config, vocabulary, train, held_out, labels, score, summary, tests)


def _read_text(path: str, data: DataConfig) -> list[Example]:
    return examples.read_file(
        path, text=data.text_field, text_b=data.text_b_field, label=data.label_field
    )


def _files(data: DataConfig) -> tuple[str, str]:
    for name in ('train_file', 'eval_file'):
        if not getattr(data, name):
            raise ValueError(f'config.data.{name} is empty; the task {data.task!r} needs one')
    return data.train_file, data.eval_file


def _some(items: Sequence, data: DataConfig) -> list:
    """config.data.max_train_examples of them, the same for all seeds."""
    count = data.max_train_examples or len(items)
    return [items[i] for i in sorted(permutation(len(items), 0)[:count].tolist())]


def _classification(
    config: Config,
    vocabulary: Tokenizer,
    train: list[Example],
    held_out: list[Example],
    labels: tuple[str, ...],
    score: Callable[[np.ndarray, np.ndarray], dict[str, float]],
    summary: Summary,
    tests: Mapping[str, tuple[list[Example], Callable[[np.ndarray, pathlib.Path], None]]],
) -> Job:
    """No labels: a regression."""
    encoder = Encoder(vocabulary, config.data.max_seq_length, config.model.type_vocab_size)

    def rows(found: list[Example], labelled: bool = True) -> Rows:
        before = encoder.truncated
        texts = [e.text if e.text_b is None else (e.text, e.text_b) for e in found]
        encoded = encoder.encode(texts)
        summary.count('texts cut at max_seq_length', number=encoder.truncated - before)
        if labels:
            ids = examples.label_ids(found, labels) if labelled else np.zeros(len(found), np.int32)
            return make_rows(encoded, {'label_ids': ids}, vocabulary.pad_id)
        values = examples.label_values(found) if labelled else np.zeros(len(found), np.float32)
        return make_rows(encoded, {'label_values': values}, vocabulary.pad_id)

    def predicted(predictions: Predictions) -> np.ndarray:
        return predictions['logits'].argmax(-1) if labels else predictions['values']

    evaluation = rows(held_out)
    truth = evaluation.labels['label_ids' if labels else 'label_values']

    def to_writer(write: Callable[[np.ndarray, pathlib.Path], None]) -> Write:
        return lambda predictions, folder: write(predicted(predictions), folder)

    model = config.model
    return Job(
        ClassificationTask(model, len(labels)) if labels else RegressionTask(model),
        rows(_some(train, config.data)),
        evaluation,
        lambda predictions: score(predicted(predictions), truth),
        'score',
        labels,
        summary,
        tests={
            name: (rows(found, False), to_writer(write)) for name, (found, write) in tests.items()
        },
    )


def _squad(config: Config, vocabulary: Tokenizer) -> Job:
    data, limits, summary = config.data, config.eval, Summary()
    train_file, eval_file = _files(data)
    train = _some(squad.read(train_file, summary), data)
    held_out = squad.read(eval_file, summary)
    version_2 = any(question.is_impossible for question in (*train, *held_out))

    def windows(questions: list[squad.Question], training: bool) -> squad_windows.Windows:
        return squad_windows.windows(
            questions,
            vocabulary,
            max_seq_length=data.max_seq_length,
            doc_stride=data.doc_stride,
            max_query_length=data.max_query_length,
            training=training,
            summary=summary,
        )

    def rows(found: squad_windows.Windows) -> Rows:
        names = ('start_positions', 'end_positions')
        return make_rows(found, {name: getattr(found, name) for name in names}, vocabulary.pad_id)

    shown = windows(held_out, False)

    def answers(predictions: Predictions) -> squad_answers.Answers:
        return squad_answers.decode(
            held_out,
            shown,
            predictions['start_logits'],
            predictions['end_logits'],
            n_best=limits.n_best,
            max_answer_length=limits.max_answer_length,
            null_threshold=limits.null_threshold,
            version_2=version_2,
        )

    def score(predictions: Predictions) -> dict[str, float]:
        found = answers(predictions)
        return squad_metrics.squad(
            squad.references(held_out),
            found.predictions,
            version_2=version_2,
            null_odds=found.null_odds if version_2 else None,
            best=found.best if version_2 else None,
        )

    return Job(
        QuestionAnsweringTask(config.model),
        rows(windows(train, True)),
        rows(shown),
        score,
        'f1',
        ('no_answer',) if version_2 else (),
        summary,
        lambda predictions, folder: squad_answers.write(answers(predictions), folder),
    )


def _ner(config: Config, vocabulary: Tokenizer) -> Job:
    data, summary = config.data, Summary()
    train, held_out = (conll.read(path, summary=summary) for path in _files(data))
    names = conll.label_names(train)

    def rows(sentences: list[conll.Sentence], unknown: bool) -> tuple[tagging.Windows, Rows]:
        found = tagging.windows(
            sentences,
            vocabulary,
            names,
            max_seq_length=data.max_seq_length,
            allow_unknown=unknown,
        )
        labels = np.concatenate(found.labels)
        arrays = {'label_ids': np.maximum(labels, 0), 'label_weights': np.float32(labels >= 0)}
        return found, make_rows(found.rows, arrays, vocabulary.pad_id)

    shown, evaluation = rows(held_out, True)

    def score(predictions: Predictions) -> dict[str, float]:
        tags = tagging.decode(held_out, shown, list(predictions['tags']))
        gold = [sentence.tags or [] for sentence in held_out]
        found = host_metrics.entities(gold, tags)
        return found | {'score': found.get('f1', found['accuracy'])}

    def writer(sentences: list[conll.Sentence], of: tagging.Windows, name: str) -> Write:
        def write(predictions: Predictions, folder: pathlib.Path) -> None:
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
        TaggingTask(config.model, len(names)),
        rows(_some(train, data), False)[1],
        evaluation,
        score,
        'score',
        tuple(names),
        summary,
        writer(held_out, shown, 'predictions.conll'),
        tests,
    )

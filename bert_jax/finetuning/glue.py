"""GLUE's tasks: the benchmark's folders in, its scores and submissions out."""

import numpy as np
from etils import epath

from bert_jax.config import Config, DataConfig
from bert_jax.data.labelled import glue
from bert_jax.data.labelled.examples import Example
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.finetuning import classification, official_scores
from bert_jax.finetuning.task_data import Job


def job(name: str, config: Config, vocabulary: Tokenizer) -> Job:
    task, data, summary = glue.TASKS[name], config.data, Summary()

    def read(of: str, split: str) -> list[Example]:
        if data.dir == 'tfds':
            return glue.read_tfds(of, split, data.data_dir, summary)
        return glue.read(of, data.dir, split, summary)

    held_out = {split: read(name, split) for split in task.splits if split.startswith('dev')}
    wanted = [(name, split) for split in task.submissions]
    if name == 'mnli':
        wanted.append(('ax', 'test'))  # scored with MNLI's model
    tests = {}
    for of, split in wanted:
        if data.dir != 'tfds' and not glue.has(of, data.dir, split):
            summary.count(f'files that are not there, so no predictions for {of} {split}')
            continue
        examples = read(of, split)
        glue.check_number(of, len(examples), split)
        tests[f'{of} {split}'] = (examples, _submission(of, split))
    return classification.job(
        config,
        vocabulary,
        train=read(name, 'train'),
        held_out=[example for found in held_out.values() for example in found],
        labels=task.labels,
        score=_score(task, {split: len(found) for split, found in held_out.items()}),
        summary=summary,
        tests=tests,
    )


def check_files(name: str, data: DataConfig) -> None:
    """Raises ValueError where there is no file of a split that training needs."""
    if not data.dir:
        raise ValueError(
            f"config.data.dir is empty; give the folder of {name} or of all tasks, or 'tfds'"
        )
    for split in glue.TASKS[name].splits if data.dir != 'tfds' else ():
        if not split.startswith('test'):
            glue.find(name, data.dir, split)


def _score(task: glue.GlueTask, sizes: dict[str, int]) -> classification.ScoreLabels:
    """Of predictions for the splits one after the other, sizes[split] each: the scores of a split
    end in its name's end, as accuracy_matched, and `score` is the mean of theirs."""
    bounds = np.cumsum(list(sizes.values()))[:-1]

    def score(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        found: dict[str, float] = {}
        mains = []
        parts = np.split(predicted, bounds), np.split(truth, bounds)
        for split, ours, right in zip(sizes, *parts, strict=True):
            if task.regression:
                scores = official_scores.regression(ours, right)
            else:
                scores = official_scores.classification(ours, right, task.metrics)
            mains.append(official_scores.main_score(task.name, scores))
            suffix = split.removeprefix('dev')
            found |= {f'{metric}{suffix}': value for metric, value in scores.items()}
            found[f'score{suffix}'] = mains[-1]
        return found | {'score': float(np.mean(mains))}

    return score


def _submission(name: str, split: str) -> classification.WriteLabels:
    def write(predicted: np.ndarray, folder: epath.Path) -> None:
        glue.write_submission(name, predicted, folder / 'submission', split)

    return write

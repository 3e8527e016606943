"""The tasks of GLUE: reads their folders, computes GLUE's scores and writes submissions."""

import numpy as np
from etils import epath

from bert_jax.config import Config, DataConfig
from bert_jax.data.labelled import glue
from bert_jax.data.labelled.examples import Example
from bert_jax.data.summary import Summary
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.finetuning import official_scores
from bert_jax.finetuning.classification import ClassificationProcessor
from bert_jax.finetuning.task_data import Split, TaskData, TaskFacts, make_task_data


class GlueProcessor(ClassificationProcessor):
    """The processor of a task of GLUE.

    glue_task: its entry in the table. eval_sizes: the number of examples of each dev split, in the
    order in which EVAL has them.
    """

    has_classes = False  # GLUE's scores are the official ones alone
    glue_task: glue.GlueTask
    eval_sizes: dict[str, int]

    @property
    def metric(self) -> str:
        metrics = self.glue_task.metrics
        return metrics[0] if len(metrics) == 1 and len(self.eval_sizes) == 1 else 'score'

    def score(self, split: Split, decoded: np.ndarray) -> dict[str, float]:
        """The scores of each dev split; `score` is the mean of the main scores. For MNLI the names
        of the scores end in that of the split, as in accuracy_matched."""
        (truth,) = split.rows.labels.values()
        bounds = np.cumsum(list(self.eval_sizes.values()))[:-1]
        parts = np.split(decoded, bounds), np.split(truth, bounds)
        scores: dict[str, float] = {}
        main_scores = []
        for name, predicted, labels in zip(self.eval_sizes, *parts, strict=True):
            if self.glue_task.labels:
                found = official_scores.classification(predicted, labels, self.glue_task.metrics)
            else:
                found = official_scores.regression(predicted, labels)
            main_scores.append(self.glue_task.main_score(found))
            found['score'] = main_scores[-1]
            suffix = name.removeprefix('dev')
            scores |= {f'{metric}{suffix}': value for metric, value in found.items()}
        return scores | {'score': float(np.mean(main_scores))}

    def write(self, split: Split, decoded: np.ndarray, folder: epath.Path) -> None:
        task, test = split.name.split()
        glue.write_submission(task, decoded, folder / 'submission', test)


def load(name: str, config: Config, tokenizer: Tokenizer) -> TaskData:
    """The data of one task. Raises ValueError for mistakes in its files."""
    task, data, summary = glue.TASKS[name], config.data, Summary()

    def read(task_name: str, split: str) -> list[Example]:
        if data.dir == 'tfds':
            return glue.read_tfds(task_name, split, data.data_dir, summary)
        return glue.read(task_name, data.dir, split, summary)

    dev = {split: read(name, split) for split in task.splits if split.startswith('dev')}
    test_splits = [(name, split) for split in task.test_splits]
    if name == 'mnli':
        test_splits.append(('ax', 'test'))  # the diagnostic set is for models trained on MNLI
    tests = {}
    for test_name, split in test_splits:
        try:
            examples = read(test_name, split)
        except glue.MissingFile:
            summary.count(f'test files that are missing: {test_name} {split} gets no predictions')
            continue
        glue.check_number(test_name, len(examples), split)
        tests[f'{test_name} {split}'] = examples
    facts = TaskFacts(task.labels, pairs=len(task.texts) == 2)
    processor = GlueProcessor(config, tokenizer, facts)
    processor.glue_task = task
    processor.eval_sizes = {split: len(examples) for split, examples in dev.items()}
    evaluated = [example for examples in dev.values() for example in examples]
    return make_task_data(processor, summary, read(name, 'train'), evaluated, tests)


def check_files(name: str, data: DataConfig) -> None:
    """Raises ValueError if a file that training needs is missing."""
    if not data.dir:
        raise ValueError(
            f"config.data.dir is empty; give the folder of {name} or of all tasks, or 'tfds'"
        )
    for split in glue.TASKS[name].splits if data.dir != 'tfds' else ():
        if not split.startswith('test'):
            glue.find(name, data.dir, split)

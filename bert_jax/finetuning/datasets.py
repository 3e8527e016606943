"""What there is to fine-tune on: a task's files as rows, its model's head, its official scores."""

import dataclasses
import difflib

from bert_jax.config import Config, DataConfig
from bert_jax.data.labelled.glue_tasks import TASKS
from bert_jax.data.text import staging
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.finetuning import glue, ner, squad, text
from bert_jax.finetuning.task_data import Job as Job
from bert_jax.finetuning.task_data import Predictions as Predictions
from bert_jax.finetuning.task_data import Split as Split

GLUE = tuple(name for name in TASKS if name != 'ax')  # which has no training set
OTHERS = {'text': text.job, 'squad': squad.job, 'ner': ner.job}


def make_job(name: str, config: Config, vocabulary: Tokenizer) -> Job:
    """name: one task of config.data.task. Raises ValueError for what is wrong with its files."""
    config = dataclasses.replace(config, data=staging.localized(config.data))
    job = OTHERS[name](config, vocabulary) if name in OTHERS else glue.job(name, config, vocabulary)
    predicted = {name: split.rows for name, split in job.tests.items()}
    for what, rows in {'train on': job.train, 'evaluate': job.held_out.rows, **predicted}.items():
        if not len(rows):
            raise ValueError(f'{name} has nothing to {what}; {job.summary}')
    return job


def task_names(data: DataConfig) -> list[str]:
    """config.data.task as a list. Raises ValueError for a name that is no task, for settings that
    its tasks do not have, and where a file is missing of one of several."""
    if data.task in OTHERS:
        _refuse(data, 'dir', *['regression'] * (data.task != 'text'))
        return [data.task]
    names = list(GLUE) if data.task == 'all' else data.task.split(',')
    for name in names:
        if name not in GLUE or names.count(name) > 1:
            alone = (*OTHERS, 'all', 'pretrain')
            near = difflib.get_close_matches(name, (*GLUE, *alone), n=1)
            wrong = 'can not be one of several' if name in alone else 'is no task'
            wrong = 'stands twice' if name in GLUE else wrong
            raise ValueError(
                f'config.data.task is {data.task!r}'
                + (f', where {name!r} {wrong}' if len(names) > 1 else '')
                + '; expected pretrain, text, squad, ner, all, or some of '
                + ','.join(GLUE)
                + (f'. Did you mean {near[0]}?' if near and near[0] != name else '')
            )
    here = staging.localized(data)
    for name in names:
        glue.check_files(name, here)
    _refuse(data, 'train_file', 'eval_file', 'test_file', 'regression')
    return names


def _refuse(data: DataConfig, *settings: str) -> None:
    for name in settings:
        if value := getattr(data, name):
            raise ValueError(
                f'config.data.{name} is {value!r}, but the task {data.task!r} does not read it; '
                'leave it away'
            )

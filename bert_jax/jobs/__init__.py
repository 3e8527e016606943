"""What there is to fine-tune on: a task's files as rows, its model's head, its official scores."""

from bert_jax.config import Config
from bert_jax.data.glue_tasks import TASKS
from bert_jax.data.tokenizer import Tokenizer
from bert_jax.jobs import glue, ner, squad, text
from bert_jax.jobs.job import Job as Job
from bert_jax.jobs.job import Predictions as Predictions

GLUE = tuple(name for name in TASKS if name != 'ax')  # which has no training set
OTHERS = {'text': text.job, 'squad': squad.job, 'ner': ner.job}


def make_job(name: str, config: Config, vocabulary: Tokenizer) -> Job:
    """name: one task of config.data.task. Raises ValueError for what is wrong with its files."""
    job = OTHERS[name](config, vocabulary) if name in OTHERS else glue.job(name, config, vocabulary)
    for what, rows in (('train on', job.train), ('evaluate', job.held_out)):
        if not len(rows):
            raise ValueError(f'{name} has nothing to {what}; its files have {job.summary.lines()}')
    return job


def task_names(task: str) -> list[str]:
    """config.data.task as a list. Raises ValueError for a name that is no task."""
    names = list(GLUE) if task == 'all' else task.split(',')
    for name in names:
        if name not in (*GLUE, *OTHERS):
            raise ValueError(
                f'config.data.task is {task!r}; expected pretrain, text, squad, ner, all, or some '
                f'of {",".join(GLUE)}'
            )
    return names

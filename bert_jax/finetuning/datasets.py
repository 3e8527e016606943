"""The table of fine-tuning tasks: each task's data, and the processor of each head."""

import dataclasses
import difflib
import functools
from collections.abc import Callable, Collection

from bert_jax.config import Config, DataConfig
from bert_jax.data.labelled.glue_tasks import TASKS as GLUE_TASKS
from bert_jax.data.text import staging
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.finetuning import classification, glue, ner, squad
from bert_jax.finetuning.task_data import EVAL, TRAIN, Processor, TaskData, TaskFacts


@dataclasses.dataclass(frozen=True)
class TaskEntry:
    """load: reads a task's files; raises ValueError for what is wrong in them. settings: the keys
    of config.data, out of SETTINGS, that it reads."""

    load: Callable[[Config, Tokenizer], TaskData]
    settings: tuple[str, ...]


FILES = ('train_file', 'eval_file', 'test_file')
SETTINGS = ('dir', *FILES, 'regression')
GLUE = tuple(name for name in GLUE_TASKS if name != 'ax')  # which has no training set
TASKS = {
    **{name: TaskEntry(functools.partial(glue.load, name), ('dir',)) for name in GLUE},
    'text': TaskEntry(classification.load, (*FILES, 'regression')),
    'squad': TaskEntry(squad.load, FILES),
    'ner': TaskEntry(ner.load, FILES),
}
PROCESSORS: dict[str, type[Processor]] = {
    processor.head: processor
    for processor in (
        classification.ClassificationProcessor,
        ner.TaggingProcessor,
        squad.QuestionAnsweringProcessor,
    )
}


def load_task_data(name: str, config: Config, tokenizer: Tokenizer) -> TaskData:
    """name: one task of config.data.task. Raises ValueError for what is wrong with its files."""
    config = dataclasses.replace(config, data=staging.localized(config.data))
    made = TASKS[name].load(config, tokenizer)
    rows = {TRAIN: made.train, EVAL: made.eval.rows} | {test.name: test.rows for test in made.tests}
    for split in rows:
        if not len(rows[split]):
            raise ValueError(f'{name} has no rows for the split {split}; {made.summary}')
    return made


def processor_for(
    heads: Collection[str], config: Config, tokenizer: Tokenizer, facts: TaskFacts
) -> Processor:
    """The processor of a trained model. heads: the names of the heads that the model has. Raises
    ValueError if none of them is a task's."""
    for head in heads:
        if head in PROCESSORS:
            return PROCESSORS[head](config, tokenizer, facts)
    raise ValueError(
        f'this checkpoint has no head of a task, only {", ".join(heads) or "the encoder"}; '
        'fine-tune it first, or give --mode=fill_mask or embed'
    )


def task_names(data: DataConfig) -> list[str]:
    """config.data.task as a list. Raises ValueError for a name that is not a task, for settings
    that its tasks do not read, and for a missing file of one of several tasks."""
    if data.task in TASKS and data.task not in GLUE:
        _refuse_settings(data, TASKS[data.task])
        return [data.task]
    names = list(GLUE) if data.task == 'all' else data.task.split(',')
    for name in names:
        if name not in GLUE or names.count(name) > 1:
            raise ValueError(_not_a_task(name, data.task))
    local = staging.localized(data)
    for name in names:
        glue.check_files(name, local)
        _refuse_settings(data, TASKS[name])
    return names


def _not_a_task(name: str, task: str) -> str:
    """The message for the first name of config.data.task that can't be one of several tasks."""
    alone = (*(name for name in TASKS if name not in GLUE), 'all', 'pretrain')
    message = f'config.data.task is {task!r}'
    if name != task:
        wrong = 'can not be one of several' if name in alone else 'is no task'
        message += f', where {name!r} ' + ('stands twice' if name in GLUE else wrong)
    message += f'; expected pretrain, text, squad, ner, all, or some of {",".join(GLUE)}'
    near = difflib.get_close_matches(name, (*GLUE, *alone), n=1)
    return message + (f'. Did you mean {near[0]}?' if near and near[0] != name else '')


def _refuse_settings(data: DataConfig, entry: TaskEntry) -> None:
    for name in SETTINGS:
        value = getattr(data, name)
        if value and name not in entry.settings:
            raise ValueError(
                f'config.data.{name} is {value!r}, but the task {data.task!r} does not read it; '
                'remove it'
            )

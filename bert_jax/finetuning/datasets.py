"""The table of fine-tuning tasks, and the processor of each head."""

import dataclasses
import difflib
import functools
from collections.abc import Callable, Collection

from bert_jax.config import Config, DataConfig
from bert_jax.data.labelled.file_lists import KEYS as FILES
from bert_jax.data.text import staging
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.finetuning import glue, run_folders
from bert_jax.finetuning.classification import ClassificationProcessor
from bert_jax.finetuning.multi_label import MultiLabelProcessor
from bert_jax.finetuning.ner import TaggingProcessor
from bert_jax.finetuning.run_folders import GLUE
from bert_jax.finetuning.squad import QuestionAnsweringProcessor
from bert_jax.finetuning.task_data import EVAL, TRAIN, Processor, TaskData, TaskFacts, load
from bert_jax.finetuning.translation import TranslationProcessor


@dataclasses.dataclass(frozen=True)
class TaskEntry:
    """An entry of `TASKS`.

    load: reads the data of a task; raises ValueError for mistakes in its files. settings: the keys
    of config.data, among those in SETTINGS, that the task reads.
    """

    load: Callable[[Config, Tokenizer], TaskData]
    settings: tuple[str, ...]


def _load_texts(config: Config, tokenizer: Tokenizer) -> TaskData:
    several = config.data.multi_label
    return load(MultiLabelProcessor if several else ClassificationProcessor, config, tokenizer)


SPLIT = 'split_field'
LABELS = ('class_weights', 'label_names')
SETTINGS = ('dir', *FILES, 'regression', 'multi_label', *LABELS, SPLIT)
TASKS = {
    **{
        name: TaskEntry(functools.partial(glue.load, name), ('dir', 'class_weights'))
        for name in GLUE
    },
    'text': TaskEntry(_load_texts, SETTINGS[1:]),
    'squad': TaskEntry(functools.partial(load, QuestionAnsweringProcessor), (*FILES, SPLIT)),
    'ner': TaskEntry(functools.partial(load, TaggingProcessor), (*FILES, *LABELS, SPLIT)),
    'translate': TaskEntry(functools.partial(load, TranslationProcessor), (*FILES, SPLIT)),
}
PROCESSORS: dict[str, type[Processor]] = {
    kind.head: kind
    for kind in (
        ClassificationProcessor,
        TaggingProcessor,
        QuestionAnsweringProcessor,
        TranslationProcessor,
    )
}


def load_task_data(name: str, config: Config, tokenizer: Tokenizer) -> TaskData:
    """The data of the task `name`. Raises ValueError for mistakes in its files."""
    data = dataclasses.replace(staging.localized(config.data), task=name)
    loaded = TASKS[name].load(dataclasses.replace(config, data=data), tokenizer)
    rows = {TRAIN: loaded.train, EVAL: loaded.eval.rows}
    for split, examples in (rows | {test.name: test.rows for test in loaded.tests}).items():
        if not len(examples):
            raise ValueError(f'{name} has no rows for the split {split}; {loaded.summary}')
    return loaded


def processor_for(
    heads: Collection[str], config: Config, tokenizer: Tokenizer, facts: TaskFacts
) -> Processor:
    """The processor of a trained model with these heads. Raises ValueError if none of them is the
    head of a task."""
    for head in heads:
        if head in PROCESSORS:
            if facts.multi_label:
                return MultiLabelProcessor(config, tokenizer, facts)
            return PROCESSORS[head](config, tokenizer, facts)
    raise ValueError(
        f'this checkpoint has no task head, only {", ".join(heads) or "the encoder"}; '
        'fine-tune it first, or use --mode=fill_mask or --mode=embed'
    )


def task_names(data: DataConfig) -> list[str]:
    """The tasks of config.data.task. Raises ValueError for an unknown task, for settings that a
    task does not read, and if the training file or a file of GLUE is missing."""
    names = run_folders.task_names(data)
    for name in names:
        if data.task not in TASKS and (name not in GLUE or names.count(name) > 1):
            raise ValueError(_not_a_task(name, data.task))
    local = staging.localized(data) if names[0] in GLUE else data
    for name in names:
        if name in GLUE:
            glue.check_files(name, local)
        for key in SETTINGS:
            value = getattr(data, key)
            if value and key not in TASKS[name].settings:
                raise ValueError(
                    f'config.data.{key} is {value!r}, but the task {data.task!r} does not read it; '
                    'remove it'
                )
        if 'train_file' in TASKS[name].settings and not data.train_file:
            raise ValueError(f'config.data.train_file is empty; the task {name!r} needs one')
    return names


def _not_a_task(name: str, task: str) -> str:
    """The message for `name`, which is not allowed among the tasks in `task`."""
    alone = (*(name for name in TASKS if name not in GLUE), 'all', 'pretrain')
    message = f'config.data.task is {task!r}'
    if name != task:
        wrong = 'cannot be one of several' if name in alone else 'is not a task'
        message += f', but {name!r} ' + ('occurs twice' if name in GLUE else wrong)
    message += f'; expected pretrain, text, squad, ner, translate, all, or some of {",".join(GLUE)}'
    near = difflib.get_close_matches(name, (*GLUE, *alone), n=1)
    return message + (f'. Did you mean {near[0]}?' if near and near[0] != name else '')

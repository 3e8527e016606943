"""The table of fine-tuning tasks, and the processor of each head."""

import dataclasses
from collections.abc import Collection

from bert_jax.config import Config, DataConfig
from bert_jax.config.data import GLUE_TASKS
from bert_jax.data.text import staging
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.finetuning import glue
from bert_jax.finetuning.classification import ClassificationProcessor
from bert_jax.finetuning.multi_label import MultiLabelProcessor
from bert_jax.finetuning.ner import TaggingProcessor
from bert_jax.finetuning.squad import QuestionAnsweringProcessor
from bert_jax.finetuning.task_data import EVAL, TRAIN, Processor, TaskData, TaskFacts, load
from bert_jax.finetuning.translation import TranslationProcessor

# The processor of each task that reads the user's files, and of each head.
KINDS: dict[str, type[Processor]] = {
    'text': ClassificationProcessor,
    'ner': TaggingProcessor,
    'squad': QuestionAnsweringProcessor,
    'translate': TranslationProcessor,
}
PROCESSORS = {kind.head: kind for kind in KINDS.values()}


def load_task_data(name: str, config: Config, tokenizer: Tokenizer) -> TaskData:
    """The data of the task `name`. Raises ValueError for mistakes in its files."""
    data = dataclasses.replace(staging.localized(config.data), task=name)
    config = dataclasses.replace(config, data=data)
    if name in GLUE_TASKS:
        loaded = glue.load(name, config, tokenizer)
    else:
        several = name == 'text' and data.multi_label
        loaded = load(MultiLabelProcessor if several else KINDS[name], config, tokenizer)
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
            kind = MultiLabelProcessor if facts.multi_label else PROCESSORS[head]
            return kind(config, tokenizer, facts)
    raise ValueError(
        f'this checkpoint has no task head, only {", ".join(heads) or "the encoder"}; '
        'fine-tune it first, or use --mode=fill_mask or --mode=embed'
    )


def check_files(data: DataConfig) -> None:
    """Raises ValueError if the training file or a file of GLUE is missing."""
    local = staging.localized(data) if data.tasks[0] in GLUE_TASKS else data
    for name in data.tasks:
        if name in GLUE_TASKS:
            glue.check_files(name, local)
        elif not data.train_file:
            raise ValueError(f'config.data.train_file is empty; the task {name!r} needs one')

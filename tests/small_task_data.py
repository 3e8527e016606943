"""The data of small tasks, as a run of fine-tuning loads it."""

import csv
import json
import pathlib
from typing import Any

import small_tasks

from bert_jax.config import Config, DataConfig, TrainConfig
from bert_jax.data.tokenizers import tokenizer
from bert_jax.finetuning.datasets import load_task_data
from bert_jax.finetuning.task_data import TaskData

VOCABULARY = tokenizer.WordPiece(small_tasks.PIECES, True)


def make(task: str, train: dict[str, Any] | None = None, **data: Any) -> TaskData:
    options = {'max_seq_length': 16, 'max_query_length': 4, 'doc_stride': 8}
    config = Config(
        model=small_tasks.MODEL,
        data=DataConfig(task=task, **options | data),
        train=TrainConfig(**train or {}),
    )
    return load_task_data(task, config, VOCABULARY)


def written(path: pathlib.Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def write_rows(path: pathlib.Path, rows: list[dict[str, Any]]) -> str:
    """Writes the rows to a .jsonl or .csv file."""
    with path.open('w', newline='') as file:
        if path.suffix == '.jsonl':
            file.writelines(json.dumps(row) + '\n' for row in rows)
        else:
            table = csv.DictWriter(file, [*rows[0]])
            table.writeheader()
            table.writerows(rows)
    return str(path)

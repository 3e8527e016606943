"""Fixtures of fine-tuning: folders of models with random parameters."""

import pathlib
from typing import Any

import pytest
import small_tasks
from fine_tuned import KINDS


@pytest.fixture(scope='session')
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    there = tmp_path_factory.mktemp('models')
    made = {
        name: small_tasks.fine_tuned_folder(there / name.replace(' ', '_'), heads, labels, **facts)
        for name, (heads, labels, facts) in KINDS.items()
    }
    return made | {'pretrained': small_tasks.pretrained_folder(there / 'pretrained')}


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return small_tasks.pretrained_folder(tmp_path_factory.mktemp('source') / 'tiny')


@pytest.fixture
def texts(tmp_path: pathlib.Path) -> dict[str, Any]:
    train = small_tasks.write_texts(tmp_path / 'train.jsonl', 200, 0)
    held_out = small_tasks.write_texts(tmp_path / 'dev.jsonl', 50, 1)
    return {'train_file': str(train), 'eval_file': str(held_out)}

"""Fixtures of fine-tuning: folders of models with random parameters."""

import pathlib

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

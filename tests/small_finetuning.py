"""Fine-tuning runs of a tiny model, and their results."""

import json
import pathlib
from typing import Any

from etils import epath

from bert_jax.config import Config
from bert_jax.finetuning import predictions
from bert_jax.inference.trained_model import Bert
from bert_jax.preflight.resolve import resolve


def fine_tune(config: Config, workdir: epath.Path) -> None:
    resolve(config, workdir).run()


def results(workdir: pathlib.Path) -> dict[str, Any]:
    return json.loads((workdir / 'results.json').read_text())


def said(workdir: pathlib.Path, file: pathlib.Path) -> list[dict[str, Any]]:
    return list(predictions.records(Bert.load(workdir), [file]))

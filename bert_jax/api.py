"""Functions for Python programs that use several parts of the package; see `bert_jax`."""

import json
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from etils import epath

from bert_jax.finetuning import from_lists
from bert_jax.finetuning.model import Model
from bert_jax.preflight import paths, start


def finetune(
    texts: Iterable[Any],
    labels: Iterable[Any],
    init_from: str | os.PathLike[str],
    workdir: str | os.PathLike[str],
    eval_texts: Iterable[Any] | None = None,
    eval_labels: Iterable[Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Model:
    """See `bert_jax.finetune`."""
    if (eval_texts is None) != (eval_labels is None):
        raise ValueError('give both eval_texts and eval_labels, or none of them')
    held_out = None if eval_texts is None or eval_labels is None else (eval_texts, eval_labels)
    folder = pathlib.Path(workdir).expanduser()
    given = dict(settings or {}) | {'init_from': os.fspath(init_from)}
    config = from_lists.configure(texts, labels, folder, held_out, given)
    paths.check(config, epath.Path(folder))
    start.run(config, epath.Path(folder), typed=given)
    best = json.loads((folder / 'results.json').read_text())['best_seed']
    return Model.load(folder if config.train.seeds == 1 else folder / f'seed_{best}')

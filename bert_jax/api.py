"""Functions for Python programs that use several parts of the package; see `bert_jax`."""

import json
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from etils import epath

from bert_jax.config import Config, finetuning, from_dict, needs, refuse_unread
from bert_jax.finetuning.model import Model
from bert_jax.preflight import paths, start
from bert_jax.training.run_folders import saved_steps

TRAIN, EVAL = 'train.jsonl', 'eval.jsonl'


def finetune(
    texts: Iterable[Any],
    labels: Iterable[Any],
    workdir: str | os.PathLike[str],
    held_out: tuple[Any, Any],
    settings: Mapping[str, Any],
) -> Model:
    """Fine-tunes as `bert_jax.finetune` does.

    held_out: eval_texts and eval_labels, which are both None if a part of the texts is held out.
    settings: values of the configuration by key, with init_from. Raises ValueError as `configure`
    does, and if only one of eval_texts and eval_labels is given.
    """
    if (held_out[0] is None) != (held_out[1] is None):
        raise ValueError('give both eval_texts and eval_labels, or none of them')
    folder = pathlib.Path(workdir).expanduser()
    given = None if held_out[0] is None else held_out
    config = configure(texts, labels, folder, given, settings)
    paths.check(config, epath.Path(folder))
    start.run(config, epath.Path(folder), typed=settings)
    best = json.loads((folder / 'results.json').read_text())['best_seed']
    return Model.load(folder if config.train.seeds == 1 else folder / f'seed_{best}')


def configure(
    texts: Iterable[Any],
    labels: Iterable[Any],
    workdir: pathlib.Path,
    held_out: tuple[Iterable[Any], Iterable[Any]] | None,
    settings: Mapping[str, Any],
) -> Config:
    """Writes the examples to files in the workdir, and returns the configuration of their run.

    See `bert_jax.finetune` for the arguments; held_out: the texts and labels to evaluate on. Raises
    ValueError for examples that are not alike, for an unknown setting, and if the workdir holds a
    run on other examples.
    """
    for key in settings:
        if key.startswith('config.'):
            name = key.removeprefix('config.')
            raise ValueError(f"settings has the key {key!r}; write it without 'config.': {name!r}")
    files = {TRAIN: _records(texts, labels, 'texts')}
    data: dict[str, Any] = {'data.train_file': str(workdir / TRAIN)}
    first = files[TRAIN][0]
    if held_out is not None:
        files[EVAL] = _records(*held_out, 'eval_texts', first)
        data['data.eval_file'] = str(workdir / EVAL)
    for key, kind in {'multi_label': list, 'regression': float}.items():
        if all(isinstance(record.get('label'), kind) for record in files[TRAIN]):
            data[f'data.{key}'] = True
    values: dict[str, Any] = finetuning('ner' if 'words' in first else 'text').to_dict()
    for key, value in (data | {**settings}).items():
        *sections, name = key.split('.')
        part = values
        for section in sections:
            part = part.setdefault(section, {})
        part[name] = value
    config = from_dict(values)
    refuse_unread(config, settings)
    needs.check(config, settings)
    for name, records in files.items():
        _write(workdir, name, records)
    return config


def _records(
    texts: Iterable[Any], labels: Iterable[Any], name: str, first: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The JSON objects of a file of examples.

    name: the name of `texts` in messages. first: the first training example, which all examples
    have to be like; by default the first one of this file. Raises ValueError if the texts or labels
    are not lists of the same length, and for an example that is wrong or not like the first one.
    """
    if isinstance(texts, str) or isinstance(labels, str):
        raise ValueError(f'expected lists of {name} and labels, not one string')
    texts, labels = [*texts], [_plain(label) for label in labels]
    if len(texts) != len(labels) or not texts:
        raise ValueError(
            f'there are {len(texts)} {name} and {len(labels)} labels; expected the same '
            'number of both, and at least one'
        )
    records = list[dict[str, Any]]()
    for i, (text, label) in enumerate(zip(texts, labels, strict=True)):
        where = f'{name}[{i}]'
        _check_label(label, where.replace('texts', 'labels'))
        records.append(_record(text, label, where))
        if _kind(records[-1]) != _kind(first or records[0]):
            raise ValueError(
                f'{where} is {text!r:.60}, and the labels of {where} are {label!r:.60}; give lists '
                'for all texts or for none'
            )
    return records


def _kind(record: Mapping[str, Any]) -> tuple[bool, bool]:
    """Returns whether an example has words, and whether its label is a list."""
    return 'words' in record, isinstance(record.get('label'), list)


def _record(text: Any, label: Any, where: str) -> dict[str, Any]:
    """The JSON object of an example. Raises ValueError if `text` is not a text, a pair of texts or
    a list of words."""
    if isinstance(text, list):
        if wrong := [word for word in text if not isinstance(word, str) or not word]:
            raise ValueError(f'{where} has the word {wrong[0]!r:.60}; expected a string')
        if not isinstance(label, list):
            raise ValueError(f'{where} is a list of words, so it needs a list of tags')
        return {'words': text, 'tags': label}
    parts = text if isinstance(text, tuple) and len(text) == 2 else (text,)
    if not all(isinstance(part, str) and part.strip() for part in parts):
        raise ValueError(f'{where} is {text!r:.60}; expected a string that is not empty, or a pair')
    return dict(zip(('text', 'text_b'), parts, strict=False)) | {'label': label}


def _check_label(label: Any, where: str) -> None:
    """Raises ValueError if `label` is neither a label nor a list of labels."""
    several = isinstance(label, list)
    kinds = (str, int) if several else (str, int, float)
    for one in label if several else [label]:
        # NaN, which pandas writes for a missing value, is not equal to itself.
        if not isinstance(one, kinds) or one != one or not str(one).strip():
            expected = 'strings or whole numbers' if several else 'a string or a number'
            raise ValueError(f'{where} is {label!r:.60}; expected {expected}')


def _plain(label: Any) -> Any:
    """The label as JSON has it: NumPy's numbers become Python's; sets and tuples become lists."""
    if isinstance(label, set | frozenset):
        label = sorted(label)
    if isinstance(label, list | tuple):
        return [_plain(part) for part in label]
    return label.tolist() if hasattr(label, 'tolist') else label


def _write(workdir: pathlib.Path, name: str, records: list[dict[str, Any]]) -> None:
    """Writes a file of examples into the workdir. Raises ValueError if the workdir holds a run on
    other examples."""
    path = workdir / name
    content = ''.join(json.dumps(record, ensure_ascii=False) + '\n' for record in records)
    if path.exists() and path.read_text(encoding='utf-8') != content and saved_steps(workdir):
        raise ValueError(
            f'{workdir} holds a run on other examples ({path}); use another workdir, or remove it'
        )
    workdir.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding='utf-8')

"""Texts and labels in memory as the training file of a run (see `bert_jax.finetune`)."""

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from bert_jax.config import Config, finetuning, from_dict, needs, refuse_unread
from bert_jax.training.run_folders import saved_steps

TRAIN, EVAL = 'train.jsonl', 'eval.jsonl'


def configure(
    texts: Iterable[Any],
    labels: Iterable[Any],
    workdir: pathlib.Path,
    held_out: tuple[Iterable[Any], Iterable[Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Config:
    """Writes the examples to files in the workdir, and returns the configuration of their run.

    See `bert_jax.finetune` for the arguments; held_out: the texts and labels to evaluate on. Raises
    ValueError for examples that are not alike, for an unknown setting, and if the workdir holds a
    run on other examples.
    """
    for key in settings or {}:
        if key.startswith('config.'):
            name = key.removeprefix('config.')
            raise ValueError(f"settings has the key {key!r}; write it without 'config.': {name!r}")
    task, data, records = _records(texts, labels, 'texts')
    files = {TRAIN: records}
    if held_out is not None:
        other, _, files[EVAL] = _records(*held_out, 'eval_texts', data)
        if other != task:
            raise ValueError('texts are texts and eval_texts are lists of words, or the reverse')
    data |= {'train_file': str(workdir / TRAIN)}
    data |= {'eval_file': str(workdir / EVAL)} if held_out is not None else {}
    values: dict[str, Any] = finetuning(task).to_dict()
    for key, value in [*((f'data.{k}', v) for k, v in data.items()), *(settings or {}).items()]:
        *sections, name = key.split('.')
        part = values
        for section in sections:
            part = part.setdefault(section, {})
        part[name] = value
    config = from_dict(values)
    refuse_unread(config, settings or {})
    needs.check(config, settings or {})
    for name, content in files.items():
        _write(workdir, name, content)
    return config


def _records(
    texts: Iterable[Any], labels: Iterable[Any], name: str, data: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    """The task of the examples, the settings that tell how their labels are read, and the objects
    of the file. data: the settings of the training examples."""
    if isinstance(texts, str) or isinstance(labels, str):
        raise ValueError(f'expected lists of {name} and labels, not one string')
    texts, labels = [*texts], [_plain(label) for label in labels]
    if len(texts) != len(labels) or not texts:
        raise ValueError(
            f'there are {len(texts)} {name} and {len(labels)} labels; expected the same '
            'number of both, and at least one'
        )
    for i, label in enumerate(labels):
        _check_label(label, f'{name.replace("texts", "labels")}[{i}]')
    if isinstance(texts[0], list):
        records = [
            {'words': words, 'tags': tags} for words, tags in zip(texts, labels, strict=True)
        ]
        for i, found in enumerate(records):
            if not isinstance(found['words'], list) or not isinstance(found['tags'], list):
                raise ValueError(f'example {i} of {name}: expected a list of words and one of tags')
            if wrong := [word for word in found['words'] if not isinstance(word, str) or not word]:
                raise ValueError(f'{name}[{i}] has the word {wrong[0]!r:.60}; expected a string')
        return 'ner', {}, records
    kinds = {'multi_label': list, 'regression': float}
    read = {k: all(isinstance(label, kind) for label in labels) for k, kind in kinds.items()}
    if data is not None:
        read = {key: bool(data.get(key)) for key in kinds}
    records = []
    for i, (text, label) in enumerate(zip(texts, labels, strict=True)):
        pair = isinstance(text, tuple) and len(text) == 2
        both = text if pair else (text,)
        if not all(isinstance(part, str) and part.strip() for part in both):
            raise ValueError(
                f'{name}[{i}] is {text!r:.60}; expected a string that is not empty, or a pair'
            )
        if isinstance(label, list) != read['multi_label']:
            raise ValueError(
                f'the labels of {name}[{i}] are {label!r:.60}; give lists for all texts or for none'
            )
        parts = {'text': text[0], 'text_b': text[1]} if pair else {'text': text}
        records.append(parts | {'label': label})
    return 'text', {key: True for key, holds in read.items() if holds}, records


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
    path = workdir / name
    content = ''.join(json.dumps(record, ensure_ascii=False) + '\n' for record in records)
    if path.exists() and path.read_text(encoding='utf-8') != content and saved_steps(workdir):
        raise ValueError(
            f'{workdir} holds a run on other examples ({path}); use another workdir, or remove it'
        )
    workdir.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding='utf-8')

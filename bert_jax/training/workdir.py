"""What lies in a workdir beside checkpoints and metrics: whose run it is."""

import json
from collections.abc import Collection, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from bert_jax.config import Config, free_on_resume, from_saved, keys
from bert_jax.config.files import write_atomically
from bert_jax.training.checkpoint import BEST, saved_steps


def same_on_all_hosts(fingerprint: str) -> None:
    """Raises ValueError where the processes of a run have prepared different data."""
    mine = np.frombuffer(fingerprint.encode(), np.uint8)
    all_of_them = multihost_utils.process_allgather(mine).reshape(-1, len(mine))
    if (all_of_them != mine).any():
        names = sorted({bytes(row).decode() for row in all_of_them})
        raise ValueError(
            f'the hosts have different data ({", ".join(names)}): give all of them the same '
            'files and packages, or one store (config.data.corpus=tokens:DIR)'
        )


def check(
    workdir: epath.Path, config: Config, data: Mapping[str, Any], unknown: Collection[str] = ()
) -> None:
    """Raises ValueError where the workdir belongs to another run; writes nothing.

    data: a `fingerprint`, '' where that is not known yet, and a `name` of what it is of. unknown:
    keys of the configuration that are not known yet.
    """
    path, corpus = workdir / 'config.json', workdir / 'corpus.json'
    if not saved_steps(workdir):
        return  # nothing has come of what was there
    for needed in (path, corpus):
        if not needed.exists():
            raise ValueError(
                f'{workdir} has checkpoints but no {needed.name} to tell whose they are; put '
                'it back, or use another --workdir'
            )
    saved, wrong = _read(path), []
    for key in keys.KEYS:
        there, here = keys.get(saved, key), keys.get(config, key)
        if there != here and not free_on_resume(key, config.kind) and key not in unknown:
            wrong.append(f'config.{key} is {there} there, {here} here')
    was = _corpus(corpus)
    if data['fingerprint'] and was['fingerprint'] != data['fingerprint']:
        wrong.append(
            f'the data are {was["fingerprint"]} there ({was.get("name")}), '
            f'{data["fingerprint"]} here ({data["name"]})'
        )
    if wrong:
        raise ValueError(
            f'{workdir} holds another run: '
            + '; '.join(wrong)
            + '. Use another --workdir, or the same configuration'
        )


def claim(
    workdir: epath.Path, config: Config, data: Mapping[str, Any], vocabulary: Mapping[str, bytes]
) -> None:
    """Writes what the run is into a new workdir; refuses one that belongs to another run.

    data: what corpus.json holds, as `check` wants it. vocabulary: files.
    """
    check(workdir, config, data)
    path, corpus = workdir / 'config.json', workdir / 'corpus.json'
    if jax.process_index() == 0:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f'--workdir={workdir} can not be made: {error}') from error
        if not saved_steps(workdir):
            (workdir / BEST).unlink(missing_ok=True)  # of a run that did not live to save
        for name, content in vocabulary.items():
            (workdir / name).write_bytes(content)
        write_atomically(path, config.to_json())
        write_atomically(corpus, json.dumps(data, indent=2) + '\n')


def _read(path: epath.Path) -> Config:
    try:
        return from_saved(json.loads(path.read_text()), path)
    except ValueError as error:
        raise ValueError(f'{path} can not be read: {error}') from error


def _corpus(path: epath.Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
        return {'fingerprint': str(values['fingerprint']), 'name': values.get('name')}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f'{path} can not be read ({error!r}); put it back, or use another --workdir'
        ) from error

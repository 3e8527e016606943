"""The files of a workdir that describe its run, and the paths of its checkpoints."""

import contextlib
import dataclasses
import json
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from bert_jax.config import Config, free_on_resume, from_saved, keys
from bert_jax.config.files import write_atomically

LOG = logging.getLogger('bert_jax.training.workdir')
CONFIG = 'config.json'
DATA = 'corpus.json'
BEST = 'best.json'


def absolute(path: epath.PathLike) -> epath.Path:
    """The absolute path that Orbax needs. `resolve` would put gs:// under the current folder."""
    path = epath.Path(path)
    return path if '://' in str(path) else path.expanduser().resolve()


def saved_steps(workdir: epath.PathLike) -> list[int]:
    """The steps of the workdir's checkpoints, ascending; empty if there is no workdir."""
    directory = absolute(workdir) / 'checkpoints'
    names = [path.name for path in directory.iterdir()] if directory.exists() else []
    return sorted(int(name) for name in names if name.isdigit())


def newest_checkpoint(source: epath.PathLike) -> epath.Path:
    """The checkpoint to load a model from. Raises ValueError if there is none.

    It is `source` itself if this is a checkpoint, otherwise the best or else the newest checkpoint
    of the workdir `source`.
    """
    source = absolute(source)
    if (source / 'state').exists():
        return source
    if (source / BEST).exists():
        return source / f'best-{json.loads((source / BEST).read_text())["step"]}'
    steps = saved_steps(source)
    if not steps:
        raise ValueError(f'{source} has no checkpoint (no {source}/checkpoints/STEP)')
    return source / 'checkpoints' / str(steps[-1])


def read_config(workdir: epath.Path) -> Config:
    """The configuration of a run. Raises ValueError if it cannot be read."""
    path = workdir / CONFIG
    try:
        values = json.loads(path.read_text())
        if not isinstance(values, dict) or 'model' not in values:
            raise ValueError('it is not a configuration of bert_jax')
        return from_saved(values, path)
    except ValueError as error:
        raise ValueError(f'{path} cannot be read: {error}') from error


def read_data(workdir: epath.Path) -> dict[str, Any]:
    """The description of a run's data, with its `fingerprint`. Raises ValueError if the file cannot
    be read."""
    path = workdir / DATA
    try:
        values = json.loads(path.read_text())
        return values | {'fingerprint': str(values['fingerprint'])}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f'{path} cannot be read ({error!r}); put it back, or use another --workdir'
        ) from error


def labels_in(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels in a description of data.

    The label 'no_answer' alone is not a label: it marks SQuAD 2.0 in older workdirs.
    """
    labels = tuple(data.get('labels') or ())
    return () if labels == ('no_answer',) else labels


def same_labels(workdir: epath.PathLike, other: epath.PathLike) -> bool:
    """Returns whether two runs predict the same labels.

    The result is True if one of them has no corpus.json.
    """
    files = [absolute(folder) / DATA for folder in (workdir, other)]
    labels = {labels_in(json.loads(file.read_text())) for file in files if file.exists()}
    return len(labels) < 2


def same_on_all_hosts(fingerprint: str) -> None:
    """Raises ValueError if the processes of a run have prepared different data."""
    own = np.frombuffer(fingerprint.encode(), np.uint8)
    fingerprints = multihost_utils.process_allgather(own).reshape(-1, len(own))
    if (fingerprints != own).any():
        names = sorted({bytes(row).decode() for row in fingerprints})
        raise ValueError(
            f'the hosts have different data ({", ".join(names)}): give all of them the same '
            'files and packages, or one store (config.data.corpus=tokens:DIR)'
        )


def check(
    workdir: epath.Path, config: Config, data: Mapping[str, Any], unknown: Collection[str] = ()
) -> Config | None:
    """Returns the saved configuration, or None if the workdir has no checkpoints; writes nothing.

    data: the `name` of the data and its `fingerprint`, which is '' if it is not known yet. unknown:
    keys of the configuration whose values are not known yet. Raises ValueError if the checkpoints
    belong to another run.
    """
    if not saved_steps(workdir):
        return None
    for name in (CONFIG, DATA):
        if not (workdir / name).exists():
            raise ValueError(
                f'{workdir} has checkpoints but no {name} to tell which run they belong to; put '
                'it back, or use another --workdir'
            )
    saved, wrong = read_config(workdir), []
    if saved.kind != config.kind:
        names = {'pretraining': 'pretraining', 'finetuning': 'fine-tuning'}
        raise ValueError(
            f'{workdir} is the workdir of a {names[saved.kind]} run, but this is a '
            f'{names[config.kind]} run; use another --workdir'
        )
    for key in keys.KEYS:
        before, now = keys.get(saved, key), keys.get(config, key)
        if before != now and not free_on_resume(key, config.kind) and key not in unknown:
            wrong.append(f'config.{key} is {now}, but the run has {before}')
    saved_data = read_data(workdir)
    if data['fingerprint'] and saved_data['fingerprint'] != data['fingerprint']:
        wrong.append(
            f'the data is {data["fingerprint"]} ({data["name"]}), but the run has '
            f'{saved_data["fingerprint"]} ({saved_data.get("name")})'
        )
    if saved_data.get('teacher') != data.get('teacher'):
        wrong.append(
            f'the teacher has the parameters {data.get("teacher")}, but that of the run had '
            f'{saved_data.get("teacher")}'
        )
    if wrong:
        raise ValueError(
            f'{workdir} holds another run: {"; ".join(wrong)}. Use another --workdir, or the same '
            'configuration'
        )
    return saved


def claim(
    workdir: epath.Path, config: Config, data: Mapping[str, Any], vocabulary: Mapping[str, bytes]
) -> None:
    """Writes the description of a run to its workdir.

    data: the content of corpus.json, see `check`. vocabulary: its files by name. A resumed run does
    not read config.init_from and config.reinit_layers, so config.json keeps their first values.
    Raises ValueError if the workdir belongs to another run or cannot be written to.
    """
    saved = check(workdir, config, data)
    if saved is not None:
        if (began := saved.init_from) != config.init_from:
            LOG.warning('config.init_from is not read: the run began from %s', began or 'nothing')
        config = dataclasses.replace(config, init_from=began, reinit_layers=saved.reinit_layers)
    if jax.process_index() == 0:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f'--workdir={workdir} cannot be made: {error}') from error
        if saved is None:
            (workdir / BEST).unlink(missing_ok=True)  # left by a run that saved no checkpoint
        with explain_full_disk(workdir):
            for name, content in vocabulary.items():
                (workdir / name).write_bytes(content)
            write_atomically(workdir / CONFIG, config.to_json())
            write_atomically(workdir / DATA, json.dumps(data, indent=2) + '\n')


@contextlib.contextmanager
def explain_full_disk(workdir: epath.PathLike) -> Iterator[None]:
    """Turns the errors of a full disk, which have many types, into ValueError."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause and not re.search('No space left on device|quota exceeded', str(cause)):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        steps = saved_steps(workdir)
        kept = (
            f'the checkpoints up to step {steps[-1]} are complete' if steps else 'nothing is saved'
        )
        raise ValueError(
            f'no space is left for {workdir}; {kept}. Make room, or lower config.train.keep, and '
            'run the same command again'
        ) from error

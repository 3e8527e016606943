"""The files of a workdir that describe its run, and the paths of its checkpoints."""

import importlib
import json
import logging
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from bert_jax.config import Config, disk, free_on_resume, from_saved, keys
from bert_jax.config.files import MARKER, is_remote, write_atomically
from bert_jax.training import running
from bert_jax.training.run_folders import absolute, saved_steps

LOG = logging.getLogger('bert_jax.training.workdir')
CONFIG = 'config.json'
DATA = 'corpus.json'
BEST = 'best.json'
METRICS = 'metrics.jsonl'


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

    data: the content of corpus.json: the `name` of the data, its `fingerprint`, which is '' if it
    is not known yet, and `start`, the fingerprint of the parameters of config.init_from. unknown:
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
        raise ValueError(
            f'{workdir} is the workdir of a {keys.KINDS[saved.kind]} run, but this is a '
            f'{keys.KINDS[config.kind]} run; use another --workdir'
        )
    for key in keys.KEYS:
        before, now = keys.get(saved, key), keys.get(config, key)
        if before != now and not free_on_resume(key, config.kind) and key not in unknown:
            wrong.append(f'config.{key} is {_shown(now)}, but the run has {_shown(before)}')
    saved_data = read_data(workdir)
    if data['fingerprint'] and saved_data['fingerprint'] != data['fingerprint']:
        wrong.append(
            f'the data is {data["fingerprint"]} ({data["name"]}), but the run has '
            f'{saved_data["fingerprint"]} ({saved_data.get("name")})'
        )
    elif (labels := labels_in(data)) != (known := labels_in(saved_data)):
        now, before = ([*map(str, found)] for found in (labels, known))
        wrong.append(f'the labels are {now}, but the run has {before}')
    wrong += _other_start(saved, saved_data, config, data)
    if saved_data.get('teacher') != data.get('teacher'):
        wrong.append(
            f'the teacher has the parameters {data.get("teacher")}, but that of the run had '
            f'{saved_data.get("teacher")}'
        )
    if wrong:
        raise ValueError(
            f'{workdir} holds another run: {"; ".join(wrong)}. Use the same configuration, another '
            '--workdir, or --start_over, which keeps the files of the earlier run under another '
            f'name. To train its parameters further: --config.init_from={workdir} --workdir=NEW'
        )
    return saved


def _other_start(
    saved: Config, saved_data: Mapping[str, Any], config: Config, data: Mapping[str, Any]
) -> list[str]:
    """Returns the differences if a run began from other parameters than those of config.init_from.

    The parameters are compared, because a folder may move, or its content may change. If they are
    not known, the names of the folders are compared.
    """
    before, now = saved_data.get('start'), data.get('start')
    if before and now:
        same = before == now
    else:
        same, now = _same_folder(saved.init_from, config.init_from), ''
    if same:
        return []
    parameters = f' (parameters {now})' if now else ''
    began = f'{saved.init_from} (parameters {before})' if now else saved.init_from
    return [
        f'config.init_from is {config.init_from or "empty"}{parameters}, but the run began from '
        f'{began or "random parameters"}'
    ]


def _shown(value: Any) -> str:
    """The value of a key in a message, in which an empty string is visible."""
    return "''" if value == '' else str(value)


def _same_folder(one: str, other: str) -> bool:
    return one == other or bool(one and other and absolute(one) == absolute(other))


def claim(
    workdir: epath.Path, config: Config, data: Mapping[str, Any], vocabulary: Mapping[str, bytes]
) -> None:
    """Writes the description of a run to its workdir.

    data: the content of corpus.json, see `check`. vocabulary: its files by name. Nothing is written
    if the run is complete. Raises ValueError if the workdir belongs to another run, if that run has
    another vocabulary, or if the workdir cannot be written to.
    """
    saved = check(workdir, config, data)
    if saved is not None:
        _check_vocabulary(workdir, vocabulary)
    if saved is not None and saved_steps(workdir)[-1] >= config.num_steps:
        return
    if saved is not None and not data.get('start'):  # the checkpoint that it began from is gone
        data = {**data, 'start': read_data(workdir).get('start', '')}
    if jax.process_index() == 0:
        with explain_disk(workdir):
            workdir.mkdir(parents=True, exist_ok=True)
            if saved is None:
                (workdir / BEST).unlink(missing_ok=True)  # left by a run that saved no checkpoint
            for name, content in vocabulary.items():
                if saved is None or not (workdir / name).exists():  # other processes may read it
                    (workdir / name).write_bytes(content)
            write_atomically(workdir / CONFIG, config.to_json())
            write_atomically(workdir / DATA, json.dumps(data, indent=2) + '\n')


def check_storage(workdir: epath.PathLike) -> None:
    """Raises ValueError if the workdir is on Cloud Storage and the libraries for it are missing."""
    if str(workdir).startswith('gs://'):
        try:
            for name in ('storage', 'storage_control_v2'):
                importlib.import_module(f'google.cloud.{name}')
        except ImportError as error:
            raise ValueError(
                f"{workdir} needs Google's libraries: pip install '.[data,gcs]' ({error})"
            ) from error


def _check_vocabulary(workdir: epath.Path, vocabulary: Mapping[str, bytes]) -> None:
    """Raises ValueError if the run in the workdir has another vocabulary. White space may differ.
    The file of settings is not compared, because the configuration has these settings, too."""
    for name, content in vocabulary.items():
        path = workdir / name
        if name != MARKER and path.exists() and path.read_bytes().split() != content.split():
            raise ValueError(
                f'{workdir} holds another run: its {name} differs from that of config.init_from or '
                'config.data.vocab_file. Use that vocabulary, another --workdir, or --start_over'
            )


def explain_disk(workdir: epath.PathLike) -> AbstractContextManager[None]:
    """Turns the errors of a disk, such as a full one, into ValueError."""

    def kept() -> str:
        steps = saved_steps(workdir)
        complete = f'the checkpoints up to step {steps[-1]} are complete' if steps else ''
        return complete or 'there is no complete checkpoint to continue from'

    return disk.explained(workdir, kept, ', or lower config.train.keep')


def set_aside(workdir: epath.Path) -> None:
    """Renames the workdir, if there is one, so that another run can begin there.

    Process 0 does so. All processes raise ValueError if a run is training there, or if the folder
    cannot be renamed.
    """

    def rename() -> None:
        if not workdir.exists() or not any(workdir.iterdir()):
            return
        running.refuse_second(workdir)
        aside = name_aside(workdir)
        try:
            workdir.rename(aside)
        except OSError as error:
            raise ValueError(f'{workdir} cannot be renamed ({error})') from error
        LOG.info('%s is now %s', workdir, aside)

    running.by_process_0(rename)


def name_aside(workdir: epath.Path) -> epath.Path:
    """Returns the path that `set_aside` gives to the workdir: WORKDIR.1, or the next free number.
    Raises ValueError for an object store, which cannot rename a folder."""
    if is_remote(workdir):
        raise ValueError(
            f'--start_over: {workdir} is not on a disk, so it cannot be renamed; use another '
            '--workdir'
        )
    folder = absolute(workdir)
    taken = (folder.with_name(f'{folder.name}.{i}') for i in range(1, 10_000))
    return next(path for path in taken if not path.exists())

"""Looks at a job before it starts: whatever its run would stumble over; nothing stays written.

    python -m bert_jax.main --config=configs/large.py --workdir=gs://bucket/run --check

Every process of a job looks for itself, and none waits for another, which may have failed.
"""

import dataclasses
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import jax
from etils import epath

from bert_jax.config import Config
from bert_jax.data.text import readers, staging
from bert_jax.parallel import sharding
from bert_jax.parallel.chips import GIB, needed_memory
from bert_jax.preflight import resolve
from bert_jax.preflight.resolve import Outline, Skipped
from bert_jax.training import optimizer, random_streams
from bert_jax.training.checkpoint import check_storage, first_line, saved_steps
from bert_jax.training.train_step import make_train_step
from bert_jax.training.workdir import check as check_workdir

# What helps where a step does not fit.
LESS = (
    'Take a smaller batch_size, a larger config.train.accum_steps or config.mesh.fsdp, or '
    'config.model.remat=full; in an evaluation, a smaller config.eval.batch_size'
)


def check(config: Config, workdir: epath.Path) -> int:
    """Prints a line for each look, in all processes but the first for what is wrong there. The exit
    code: 0, or 2 where something is wrong here."""
    process, code = jax.process_index(), 0
    with tempfile.TemporaryDirectory() as copies:  # of small files behind a URL
        data = dataclasses.replace(config.data, cache_dir=copies)
        cache = staging.cache_of(config.data)
        job = Outline(dataclasses.replace(config, data=data), workdir, cache)
        for name, look in LOOKS.items():
            try:
                mark, seen = 'ok', look(job)
            except (Skipped, readers.NotFetched) as reason:
                mark, seen = 'skip', str(reason)
            except (ValueError, OSError) as error:
                mark, seen = 'FAIL', str(error)
            except Exception as error:  # file systems and compilers have their own
                mark, seen = 'FAIL', f'{type(error).__name__}: {first_line(error)}'
            code = 2 if mark == 'FAIL' else code
            if mark == 'FAIL' or process == 0:
                who = f'process {process}: ' if process else ''
                print(f'{mark:<6}{name:<12}{who}{" ".join(seen.split())}', flush=True)
    return code


def _devices(job: Outline) -> str:
    devices, mesh = jax.devices(), sharding.make_mesh(job.config.mesh)
    sharding.host_slice(mesh)
    job.mesh = mesh
    axes = ', '.join(f'{name} {size}' for name, size in mesh.shape.items())
    kind = devices[0].device_kind
    return f'{len(devices)} x {kind}, {jax.process_count()} processes; mesh: {axes}'


def _batch(job: Outline) -> str:
    if job.mesh is None:
        raise Skipped('config.mesh does not fit')
    config, parts = job.config, sharding.batch_parts(job.mesh)
    accum = config.train.accum_steps
    rows = [('train.batch_size', config.train.batch_size, parts * accum)]
    if config.data.task == 'pretrain':
        phases = enumerate(config.train.phases)
        rows = [(f'train.phases[{i}]', phase.batch_size, parts * accum) for i, phase in phases]
    if config.eval.batch_size:
        rows.append(('eval.batch_size', config.eval.batch_size, parts))
    wrong = [f'config.{key}: {n} is not a multiple of {of}' for key, n, of in rows if n % of]
    if wrong:
        raise ValueError(
            f'{"; ".join(wrong)}. The mesh divides a batch by {parts}, config.train.accum_steps '
            f'one of training by {accum} more'
        )
    job.divides = True
    return ', '.join(f'{n} sequences, {n // of} at once on a device' for _, n, of in rows)


def _workdir(job: Outline) -> str:
    place = job.workdir if staging.is_remote(job.workdir) else _existing(job.workdir)
    probe = place / f'.check-{jax.process_index()}-{os.getpid()}'
    try:
        probe.write_text('')
        probe.unlink()
    except Exception as error:  # each file system has its own
        raise ValueError(
            f'--workdir={job.workdir} can not be written to ({first_line(error)}); choose another'
            + (', or see to the network and the rights here' if place == job.workdir else '')
        ) from error
    check_storage(job.workdir)
    if job.config.data.task == 'pretrain':
        data = {'fingerprint': job.fingerprint, 'name': job.config.data.corpus}
        job.runs = [(job.workdir, job.config, data)]
    found = []
    for folder, config, data in job.runs:
        check_workdir(folder, config, data, job.unknown)
        step, last = max(saved_steps(folder), default=0), config.num_steps
        goes_on = f'goes on from step {step} of {last}' if step < last else f'done, at step {step}'
        found.append(f'{folder}: {goes_on if step else "a new run"}')
    return '; '.join(found) or f'{job.workdir} can be written to'


def _disk(job: Outline) -> str:
    needs: list[tuple[pathlib.Path, int, str]] = []
    found, wrong = list[str](), list[str]()
    if job.to_cache:
        needs.append((job.cache, job.to_cache, 'preparing the corpus'))
    elif job.to_cache is None:
        found.append(f'what preparing the corpus writes to {job.cache} is not known')
    if staging.is_remote(job.workdir):
        found.append(f'{job.workdir} is elsewhere')
    else:
        saved = sum(len(saved_steps(folder)) for folder, *_ in job.runs)
        count = max(job.config.train.keep * max(len(job.runs), 1) + 1 - saved, 1)
        size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(job.state()[-1]))
        needs.append((pathlib.Path(job.workdir), count * size, f'{count} checkpoints'))
    disks: dict[int, list[tuple[pathlib.Path, int, str]]] = {}
    for place, size, what in needs:
        existing = _existing(place)
        disks.setdefault(os.stat(existing).st_dev, []).append((existing, size, what))
    for wanted in disks.values():
        free = shutil.disk_usage(wanted[0][0]).free
        line = ' and '.join(f'{_gib(size)} for {what}' for _, size, what in wanted)
        line += f'; {wanted[0][0]} has {_gib(free)}'
        (wrong if sum(size for _, size, _ in wanted) > free else found).append(line)
    if wrong:
        raise ValueError('; '.join(wrong) + '. Make room, or choose another place for them')
    return '; '.join(found)


def _fits(job: Outline) -> str:
    task, tx, mesh, state = job.state()
    if not job.divides:
        raise Skipped('the batch does not divide')
    config, limit = job.config, _memory()
    schedule, accum_steps = optimizer.make_schedule(config), config.train.accum_steps
    step: Any = make_train_step(task, tx, mesh, schedule=schedule, accum_steps=accum_steps)
    key = jax.eval_shape(lambda: random_streams.root(config.train.seed, config.train.prng_impl))
    found, wrong = list[str](), list[str]()
    # Else the processes of a job share the work of tuning, and wait for each other.
    options = {'xla_gpu_shard_autotuning': False} if jax.default_backend() == 'gpu' else None
    for phase in dict.fromkeys(phase._replace(steps=1) for phase in config.train.phases):
        batch = sharding.abstract_batch(task.batch_spec(phase), mesh, accum_steps)
        line = f'{phase.batch_size} x {phase.max_seq_length}: '
        try:
            compiled = step.lower(state, batch, key).compile(options)
        except jax.errors.JaxRuntimeError as error:
            if 'RESOURCE_EXHAUSTED' not in str(error):
                raise
            wrong.append(line + first_line(error))
            continue
        needed = needed_memory(compiled)
        line += f'{_gib(needed)} of {_gib(limit)} on a device'
        (wrong if needed > limit else found).append(line)
    if wrong:
        raise ValueError(f'{"; ".join(wrong)}. {LESS}')
    return '; '.join(found)


def _memory() -> int:
    """Bytes that a device here may use."""
    devices = jax.local_devices()
    if limit := (devices[0].memory_stats() or {}).get('bytes_limit'):
        return int(limit)
    try:
        text = pathlib.Path('/proc/meminfo').read_text()
        return int(re.findall(r'MemAvailable:\s+(\d+) kB', text)[0]) * 1024 // len(devices)
    except (OSError, IndexError) as error:
        raise Skipped('nobody tells how much memory there is') from error


def _existing(path: Any) -> Any:
    """It, or the nearest folder above it that exists."""
    return next(place for place in (path, *path.parents) if place.exists())


def _gib(size: int) -> str:
    return f'{size / GIB:,.2f} GiB'


LOOKS: dict[str, Callable[[Outline], str]] = {
    'devices': _devices,
    'batch': _batch,
    'vocabulary': resolve.vocabulary,
    'corpus': resolve.corpus,
    'init_from': resolve.init_from,
    'workdir': _workdir,
    'disk': _disk,
    'fits': _fits,
}

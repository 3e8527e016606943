"""Checks of a configuration before its run starts. `--check` prints them all and writes nothing.

    python -m bert_jax.main --config=configs/large.py --workdir=gs://bucket/run --check

Each process checks for itself and waits for no other, because another may have failed.
"""

import contextlib
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

from bert_jax.config import Config, refuse_unread
from bert_jax.config.errors import OUT_OF_MEMORY_HINT, first_line, is_out_of_memory
from bert_jax.data.text import readers, staging
from bert_jax.parallel.chips import GIB, needed_memory
from bert_jax.preflight.resolve import resolve
from bert_jax.training import initialization
from bert_jax.training.checkpoint import check_storage
from bert_jax.training.run import NotKnown, Resolver
from bert_jax.training.workdir import check as check_workdir
from bert_jax.training.workdir import saved_steps


def check(config: Config, workdir: epath.Path) -> int:
    """Prints a line for each check and returns the exit code: 0, or 2 if a check failed here.

    Process 0 prints all lines, the other processes print their failures.
    """
    process, code = jax.process_index(), 0
    with tempfile.TemporaryDirectory() as copies:  # of small files behind a URL
        data = dataclasses.replace(config.data, cache_dir=copies)
        cache = staging.cache_of(config.data)
        resolver = resolve(dataclasses.replace(config, data=data), workdir, cache)
        for name, look in CHECKS.items():
            try:
                mark, line = 'ok', look(resolver)
            except (NotKnown, readers.NotFetched) as reason:
                mark, line = 'skip', str(reason)
            except (ValueError, OSError) as error:
                mark, line = 'FAIL', str(error)
            except Exception as error:  # file systems and compilers raise errors of their own types
                mark, line = 'FAIL', f'{type(error).__name__}: {first_line(error)}'
            code = 2 if mark == 'FAIL' else code
            if mark == 'FAIL' or process == 0:
                who = f'process {process}: ' if process else ''
                print(f'{mark:<6}{name:<12}{who}{" ".join(line.split())}', flush=True)
    return code


def check_early(resolver: Resolver) -> None:
    """Raises the first error that a run would raise after its data are prepared, which may take
    hours, if it can be found before that, in seconds."""
    for name in EARLY:
        with contextlib.suppress(NotKnown, readers.NotFetched):
            CHECKS[name](resolver)


def _config(resolver: Resolver) -> str:
    refuse_unread(resolver.config)
    return f'{resolver.config.kind} reads every key that is set'


def _devices(resolver: Resolver) -> str:
    devices = jax.devices()
    axes = ', '.join(f'{name} {size}' for name, size in resolver.mesh.shape.items())
    kind = devices[0].device_kind
    return f'{len(devices)} x {kind}, {jax.process_count()} processes; mesh: {axes}'


def _batch(resolver: Resolver) -> str:
    return ', '.join(
        f'{rows} sequences, {few} at once on a device' for rows, few in resolver.batches
    )


def _init_from(resolver: Resolver) -> str:
    config = resolver.run_config
    if not config.init_from:
        return 'none: fresh parameters'
    if steps := saved_steps(resolver.workdir):
        return f'not read: the run goes on from step {steps[-1]}'
    step = resolver.step
    initialization.check(config.init_from, step.abstract.params, step.info)
    return f'{config.init_from} fits'


def _model(resolver: Resolver) -> str:
    leaves = jax.tree.leaves(resolver.step.abstract.params)
    return f'{sum(leaf.size for leaf in leaves):,} parameters'


def _workdir(resolver: Resolver) -> str:
    path = resolver.workdir
    probed = path if staging.is_remote(path) else _existing(path)
    probe = probed / f'.check-{jax.process_index()}-{os.getpid()}'
    try:
        probe.write_text('')
        probe.unlink()
    except Exception as error:  # each file system raises errors of its own types
        raise ValueError(
            f'--workdir={path} can not be written to ({first_line(error)}); choose another'
            + (', or see to the network and the rights here' if probed == path else '')
        ) from error
    check_storage(path)
    lines = []
    for run in resolver.runs():
        unknown = () if run.data_info['fingerprint'] else ('model.vocab_size',)
        check_workdir(run.workdir, run.config, run.data_info, unknown)
        step, last = max(saved_steps(run.workdir), default=0), run.config.num_steps
        goes_on = f'goes on from step {step} of {last}' if step < last else f'done, at step {step}'
        lines.append(f'{run.workdir}: {goes_on if step else "a new run"}')
    return '; '.join(lines)


def _disk(resolver: Resolver) -> str:
    needs: list[tuple[pathlib.Path, int, str]] = []
    fine, wrong = list[str](), list[str]()
    with contextlib.suppress(NotKnown):
        if to_cache := resolver.bytes_to_cache():
            needs.append((resolver.cache, to_cache, 'preparing the corpus'))
        elif to_cache is None:
            fine.append(f'what preparing the corpus writes to {resolver.cache} is not known')
    if staging.is_remote(resolver.workdir):
        fine.append(f'{resolver.workdir} is elsewhere')
    else:
        runs = resolver.runs()
        saved = sum(len(saved_steps(run.workdir)) for run in runs)
        count = max(resolver.config.train.keep * len(runs) + 1 - saved, 1)
        leaves = jax.tree.leaves(resolver.step.abstract)
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
        needs.append((pathlib.Path(resolver.workdir), count * size, f'{count} checkpoints'))
    disks: dict[int, list[tuple[pathlib.Path, int, str]]] = {}
    for path, size, what in needs:
        existing = _existing(path)
        disks.setdefault(os.stat(existing).st_dev, []).append((existing, size, what))
    for writes in disks.values():
        free = shutil.disk_usage(writes[0][0]).free
        line = ' and '.join(f'{_gib(size)} for {what}' for _, size, what in writes)
        line += f'; {writes[0][0]} has {_gib(free)}'
        (wrong if sum(size for _, size, _ in writes) > free else fine).append(line)
    if wrong:
        raise ValueError('; '.join(wrong) + '. Make room, or choose another place for them')
    return '; '.join(fine)


def _fits(resolver: Resolver) -> str:
    """Compiles the training step of each phase."""
    step, limit = resolver.step, _memory()
    resolver.batches  # noqa: B018  (raises if a batch does not divide)
    fine, wrong = list[str](), list[str]()
    # Otherwise the processes share the work of autotuning and wait for each other.
    options = {'xla_gpu_shard_autotuning': False} if jax.default_backend() == 'gpu' else None
    for phase in dict.fromkeys(phase._replace(steps=1) for phase in step.config.train.phases):
        line = f'{phase.batch_size} x {phase.max_seq_length}: '
        try:
            compiled = step.lower(phase).compile(options)
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error):
                raise
            wrong.append(line + first_line(error))
            continue
        needed = needed_memory(compiled)
        line += f'{_gib(needed)} of {_gib(limit)} on a device'
        (wrong if needed > limit else fine).append(line)
    if wrong:
        raise ValueError(f'{"; ".join(wrong)}. {OUT_OF_MEMORY_HINT}')
    return '; '.join(fine)


def _memory() -> int:
    """Bytes that a device here may use. Raises NotKnown if neither JAX nor Linux tells."""
    devices = jax.local_devices()
    if limit := (devices[0].memory_stats() or {}).get('bytes_limit'):
        return int(limit)
    try:
        text = pathlib.Path('/proc/meminfo').read_text()
        return int(re.findall(r'MemAvailable:\s+(\d+) kB', text)[0]) * 1024 // len(devices)
    except (OSError, IndexError) as error:
        raise NotKnown('the size of the memory is not known') from error


def _existing(path: Any) -> Any:
    """`path`, or the nearest folder above it that exists."""
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _gib(size: int) -> str:
    return f'{size / GIB:,.2f} GiB'


CHECKS: dict[str, Callable[[Resolver], str]] = {
    'config': _config,
    'devices': _devices,
    'batch': _batch,
    'vocabulary': lambda resolver: resolver.describe_vocabulary(),
    'corpus': lambda resolver: resolver.describe_data(),
    'init_from': _init_from,
    'model': _model,
    'workdir': _workdir,
    'disk': _disk,
    'fits': _fits,
}
EARLY = ('config', 'devices', 'batch', 'vocabulary', 'corpus', 'init_from', 'model', 'workdir')

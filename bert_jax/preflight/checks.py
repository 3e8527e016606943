"""Checks of a configuration before a run starts. `--check` prints all of them and writes nothing.

    bert_jax train --config=large --workdir=gs://bucket/run --check

Each process runs all checks and does not wait for the others, because they may have failed.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Collection
from typing import Any

import jax
from etils import epath

from bert_jax.config import Config, refuse_unread
from bert_jax.config.console import plural, readable_bytes, working
from bert_jax.config.errors import (
    OUT_OF_MEMORY_HINT,
    first_line,
    is_out_of_memory,
    unknown_url,
)
from bert_jax.data.text import staging
from bert_jax.data.text.source import NotFetched
from bert_jax.parallel.chips import needed_memory, usable_memory
from bert_jax.preflight.paths import print_check
from bert_jax.preflight.resolve import refuse_replaced, resolve
from bert_jax.training import run_folders, running, warm_start
from bert_jax.training.run import Resolver, UnknownValue, describe_devices, describe_rates
from bert_jax.training.run_folders import saved_steps
from bert_jax.training.workdir import check as check_workdir
from bert_jax.training.workdir import check_storage, name_aside


def check(
    config: Config,
    workdir: epath.Path,
    given: Config | None = None,
    start_over: bool = False,
    typed: Collection[str] = (),
) -> int:
    """Prints a line for each check and returns the exit code: 0, or 2 if a check failed here.

    Process 0 prints all lines, the other processes only those of failures. given: see `Run`.
    typed: see `refuse_replaced`.
    """
    process, code = jax.process_index(), 0
    with tempfile.TemporaryDirectory() as copies:  # copies of small files behind a URL
        data = dataclasses.replace(config.data, cache_dir=copies)
        cache = staging.cache_of(config.data)
        config = dataclasses.replace(config, data=data)
        resolver = resolve(config, workdir, cache, given)
        wrong_corpus, names = '', order(config)
        resolver.start_over, resolver.typed = start_over, typed
        for name in names:
            try:
                if name == 'corpus' and wrong_corpus:
                    raise ValueError(wrong_corpus)
                with working(f'checking: {name}', in_files=False):
                    mark, line = 'ok', CHECKS[name](resolver)
            except (UnknownValue, NotFetched) as reason:
                mark, line = 'skip', str(reason)
            except (ValueError, OSError) as error:
                mark, line = 'FAIL', str(error)
                earlier = name in names[: names.index('corpus')]
                if earlier and resolver.failed & CORPUS:  # its part was needed here already
                    mark, line, wrong_corpus = 'skip', 'not known without the corpus', line
            except Exception as error:  # file systems and compilers raise errors of their own types
                known = unknown_url(error)
                mark, line = 'FAIL', known or f'{type(error).__name__}: {first_line(error)}'
            code = 2 if mark == 'FAIL' else code
            if mark == 'FAIL' or process == 0:
                who = f'process {process}: ' if process else ''
                print_check(mark, name, f'{who}{line}')
    return code


def check_early(resolver: Resolver) -> None:
    """Runs the checks that take only seconds. Raises the first error.

    They come before the preparation of the data, which may take hours.
    """
    for name in order(resolver.config):
        if name in LATE:
            continue
        with contextlib.suppress(UnknownValue, NotFetched):
            CHECKS[name](resolver)


def _config(resolver: Resolver) -> str:
    refuse_unread(resolver.config)
    return f'{resolver.config.kind} reads every key that is set'


def _devices(resolver: Resolver) -> str:
    axes = ', '.join(f'{name} {size}' for name, size in resolver.mesh.shape.items())
    return f'{describe_devices()}; mesh: {axes}'


def _batch(resolver: Resolver) -> str:
    return ', '.join(
        f'{plural(rows, "sequence")}, {n:,} at once on a device' for rows, n in resolver.batches
    )


def _init_from(resolver: Resolver) -> str:
    if not resolver.config.init_from:
        return 'none: fresh parameters'
    config = resolver.run_config
    refuse_replaced(resolver.given, config, resolver.typed)
    runs = resolver.given, resolver.workdir
    if not resolver.start_over and not run_folders.not_begun(*runs):
        steps = [str(saved_steps(folder)[-1]) for folder in run_folders.of_runs(*runs)]
        return f'not needed: the run continues from step {", ".join(steps)}'
    step = resolver.step
    optional_heads = step.task.optional_heads
    warm_start.check(config, step.abstract.params, step.info, optional_heads)
    return f'{resolver.given.init_from} fits; {describe_rates(config.model)}'


def _model(resolver: Resolver) -> str:
    leaves = jax.tree.leaves(resolver.step.abstract.params)
    line, teacher = f'{sum(leaf.size for leaf in leaves):,} parameters', resolver.describe_teacher()
    return f'{line}; the teacher is {teacher}' if teacher else line


def _workdir(resolver: Resolver) -> str:
    path = resolver.workdir
    probe = path if staging.is_remote(path) else _existing(path)
    probe /= f'.check-{jax.process_index()}-{os.getpid()}'
    try:
        probe.write_text('')
        probe.unlink()
    except Exception as error:  # each file system raises errors of its own types
        raise ValueError(
            f'--workdir={path} cannot be written to ({first_line(error)}); choose another, or '
            'check the network and the permissions'
        ) from error
    check_storage(path)
    if resolver.start_over and path.exists():
        return f'{path}: a new run; the files there will be kept as {name_aside(path)}'
    if jax.process_index() == 0:
        running.refuse_second(path)
    lines = []
    for run in resolver.runs():
        unknown = () if run.data_info['fingerprint'] else ('model.vocab_size',)
        check_workdir(run.workdir, *run.recorded, unknown)
        step, last = max(saved_steps(run.workdir), default=0), run.config.num_steps
        state = f'continues from step {step} of {last}' if step else 'a new run'
        lines.append(f'{run.workdir}: {state if step < last else f"complete at step {step}"}')
    return '; '.join(lines)


def _disk(resolver: Resolver) -> str:
    """Compares what the run will write with the free space, for each disk."""
    writes: list[tuple[pathlib.Path, int, str]] = []
    fine, wrong = list[str](), list[str]()
    with contextlib.suppress(UnknownValue):
        size = resolver.bytes_to_cache()
        if size != 0 and not os.access(_existing(resolver.cache), os.W_OK):
            raise ValueError(
                f'the prepared corpus cannot be written to {resolver.cache}; set '
                'config.data.cache_dir to another folder, or change the permissions of this one'
            )
        if size is None:
            fine.append(f'the size of the prepared corpus in {resolver.cache} is not known')
        elif size:
            writes.append((_existing(resolver.cache), size, 'preparing the corpus'))
    if staging.is_remote(resolver.workdir):
        fine.append(f'{resolver.workdir} is not on a disk')
    else:
        runs = resolver.runs()
        saved = sum(len(saved_steps(run.workdir)) for run in runs)
        count = max(resolver.config.train.keep * len(runs) + 1 - saved, 1)
        leaves = jax.tree.leaves(resolver.step.abstract)
        size = count * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
        folder = _existing(pathlib.Path(resolver.workdir))
        writes.append((folder, size, plural(count, 'checkpoint')))
    for device in dict.fromkeys(os.stat(folder).st_dev for folder, *_ in writes):
        on_device = [write for write in writes if os.stat(write[0]).st_dev == device]
        free = shutil.disk_usage(on_device[0][0]).free
        line = ' and '.join(f'{readable_bytes(size)} for {what}' for _, size, what in on_device)
        line += f'; {on_device[0][0]} has {readable_bytes(free)}'
        (wrong if sum(size for _, size, _ in on_device) > free else fine).append(line)
    if wrong:
        raise ValueError(f'{"; ".join(wrong)}. Free some space, or choose another folder')
    return '; '.join(fine)


def _fits(resolver: Resolver) -> str:
    """Compiles the training step of each phase."""
    step, limit = resolver.step, usable_memory()
    if limit is None:
        raise UnknownValue('the size of the memory is not known')
    resolver.batches  # noqa: B018  (raises if a batch does not divide)
    fine, wrong = list[str](), list[str]()
    # By default the processes share the work of autotuning and wait for each other.
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
        line += f'{readable_bytes(needed)} of {readable_bytes(limit)} on a device'
        (wrong if needed > limit else fine).append(line)
    if wrong:
        raise ValueError(f'{"; ".join(wrong)}. {OUT_OF_MEMORY_HINT}')
    return '; '.join(fine)


def _existing(path: Any) -> Any:
    """`path` or, if it does not exist, the nearest parent folder that does."""
    return next(parent for parent in (path, *path.parents) if parent.exists())


CHECKS: dict[str, Callable[[Resolver], str]] = {
    'config': _config,
    'devices': _devices,
    'batch': _batch,
    'vocabulary': lambda resolver: resolver.describe_vocabulary(),
    'init_from': _init_from,
    'model': _model,
    'workdir': _workdir,
    'corpus': lambda resolver: resolver.describe_data(),
    'disk': _disk,
    'fits': _fits,
}
CORPUS = {'source', 'eval_source', 'store', 'named_languages'}  # parts that read the corpus
LATE = ('disk', 'fits')  # only --check makes these checks


def order(config: Config) -> list[str]:
    """Returns the names of the checks, the fast ones first. In fine-tuning, the data come before
    init_from, because the labels decide which parameters are needed."""
    names = list(CHECKS)
    if config.kind == 'finetuning':
        names.remove('corpus')
        names.insert(names.index('init_from'), 'corpus')
    return names

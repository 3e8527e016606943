"""A run of `python -m bert_jax.main` that takes seconds: its corpus, its flags, its files."""

import json
import os
import pathlib
import random
import subprocess
import sys
from importlib import metadata
from typing import Any

import numpy as np

QUICK = 'QUICK' in os.environ  # for CI: fewer cases of one kind
ROOT = pathlib.Path(__file__).resolve().parent.parent
PACE = (
    'sequences_per_second',
    'tokens_per_second',
    'mfu',
    'input_wait_fraction',
)
FLAGS = {
    'model.hidden_size': 32,
    'model.num_hidden_layers': 2,
    'model.scan_unroll': 1,
    'model.num_attention_heads': 2,
    'model.intermediate_size': 64,
    'model.max_position_embeddings': 48,
    'model.hidden_dropout_prob': 0.1,
    'model.attention_probs_dropout_prob': 0.1,
    'data.holdout': 0.1,
    'data.sentences': 'line',
    'optim.warmup_steps': 5,
    'train.log_every': 1,
}


def write_corpus(folder: pathlib.Path) -> pathlib.Path:
    """Writes 120 documents of random words, with a sentence on each line, and a vocabulary."""
    rng = random.Random(0)
    words = [''.join(rng.choices('abcdefgh', k=rng.randint(2, 7))) for _ in range(300)]
    documents = [
        '\n'.join(' '.join(rng.choices(words, k=rng.randint(4, 12))) for _ in range(12))
        for _ in range(120)
    ]
    pieces = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *'abcdefgh']
    vocabulary = [*pieces, *(f'##{letter}' for letter in 'abcdefgh')]
    (folder / 'vocab.txt').write_text('\n'.join(vocabulary) + '\n')
    path = folder / 'corpus.txt'
    path.write_text('\n\n'.join(documents) + '\n')
    return path


def command(folder: pathlib.Path, workdir: pathlib.Path | str, **flags: Any) -> list[str]:
    """Returns the command line of `main`. flags: config keys, with `__` for the dot."""
    values = FLAGS | {
        'data.corpus': f'text:{folder / "corpus.txt"}',
        'data.vocab_file': folder / 'vocab.txt',
        'data.cache_dir': folder / 'cache',
    }
    values |= {key.replace('__', '.'): value for key, value in flags.items()}
    overrides = [f'--config.{key}={value}' for key, value in values.items()]
    config = f'--config={ROOT / "configs/tiny.py"}'
    return [sys.executable, '-m', 'bert_jax.main', config, f'--workdir={workdir}', *overrides]


def xla_flags(devices: int) -> str:
    """Returns XLA_FLAGS for tests. XLA's older emitters compile kernels in half of the time that
    the newer ones need; since version 0.11, jaxlib has only the newer ones."""
    flags = f'--xla_force_host_platform_device_count={devices}'
    has_older = metadata.version('jaxlib') < '0.11'
    return f'{flags} --xla_cpu_use_fusion_emitters=false' if has_older else flags


def environment(devices: int = 1) -> dict[str, str]:
    """The environment of a command. One device is what a user's CPU has."""
    return os.environ | {
        'PYTHONPATH': str(ROOT),
        'PYTHONUNBUFFERED': '1',
        'XLA_FLAGS': xla_flags(devices),
    }


def ended(
    *arguments: str, folder: pathlib.Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs `python ARGUMENTS` in a folder to its end. variables: more of its environment."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment() | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def start(
    folder: pathlib.Path, workdir: pathlib.Path, stdout: int = subprocess.PIPE, **flags: Any
) -> subprocess.Popen:
    return subprocess.Popen(
        command(folder, workdir, **flags),
        env=environment(),
        cwd=folder,
        text=True,
        stdout=stdout,
        stderr=subprocess.STDOUT,
    )


def finish(folder: pathlib.Path, workdir: pathlib.Path, **flags: Any) -> tuple[int, str]:
    """Returns the exit code and the output."""
    process = start(folder, workdir, **flags)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def metrics(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl that are whole."""
    path = workdir / 'metrics.jsonl'
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith('\n')]


def numbers(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the lines of `metrics` without the values that depend on the clock."""
    return [
        {key: value for key, value in line.items() if key not in PACE} for line in metrics(workdir)
    ]


def saved_steps(workdir: pathlib.Path) -> list[int]:
    folder = workdir / 'checkpoints'
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return sorted(int(name) for name in names if name.isdigit())


def saved_arrays(workdir: pathlib.Path, step: int) -> dict[str, Any]:
    """Returns all arrays of a checkpoint, read by Orbax alone."""
    import jax
    import orbax.checkpoint as ocp

    folder = workdir.resolve() / 'checkpoints' / str(step) / 'state'
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        numpy = jax.tree.map(  # whatever devices they were on
            lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
            reader.metadata(folder).item_metadata.tree,
        )
        tree = reader.restore(folder, args=ocp.args.PyTreeRestore(restore_args=numpy))
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): value for path, value in leaves}


def same_bits(killed: pathlib.Path, whole: pathlib.Path, step: int) -> int:
    """Raises AssertionError where two workdirs have other numbers or other bits in their last
    checkpoint, of `step`; the number of its arrays."""
    assert numbers(killed) == numbers(whole)
    there, here = (saved_arrays(workdir, step) for workdir in (killed, whole))
    assert sorted(there) == sorted(here) and len(here) > 30
    for name, value in here.items():
        np.testing.assert_array_equal(
            np.atleast_1d(value).view(np.uint32), np.atleast_1d(there[name]).view(np.uint32), name
        )
    return len(here)

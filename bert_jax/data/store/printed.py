"""Prints a summary of a prepared store."""

import dataclasses
import pathlib

import rich.table

from bert_jax.config.console import say
from bert_jax.data import progress
from bert_jax.data.store import baselines, format


def print_summary(directory: pathlib.Path, meta: format.StoreMeta, sizes: bool) -> None:
    """Prints where the store is, and what was read and left out. sizes: whether to print the sizes
    of the splits and the baselines, which a training run prints itself."""
    say(f'The prepared corpus is in {directory}')
    if sizes:
        table = rich.table.Table('split', 'documents', 'sentences', 'tokens')
        for split, counts in meta.counts.items():
            table.add_row(split, *(f'{n:,}' for n in dataclasses.astuple(counts)))
        progress.console().print(table)
        say(f'vocabulary: {meta.vocab_size:,} tokens; fingerprint {meta.fingerprint}')
        say(f'unigram entropy: {meta.unigram_entropy:.3f} nats; the masked-LM loss should be lower')
    if sizes and meta.baselines:
        shares = ', '.join(f'{meta.baselines[name]:.1%} {name}' for name in baselines.NAMES)
        say(f'accuracy by counting: {shares}')
    for what, count in meta.summary.items():
        say(progress.shortened(f'{what}: {count:,}'))
